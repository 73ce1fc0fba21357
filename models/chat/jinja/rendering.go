package jinja

import (
	"context"
	"errors"
	"unicode/utf8"
)

// A rendering is what one call of Render keeps.
type rendering struct {
	meter
	line      int // of what runs
	variables map[string]Value
	blocks    map[string]*block
	spans     []Span // of generation blocks, in characters
	root      *buffer
}

func newRendering(ctx context.Context, variables map[string]Value, l Limits) *rendering {
	r := &rendering{variables: variables, root: &buffer{}}
	r.meter = meter{ctx: ctx, limits: l.withDefaults()}
	return r
}

// catch, deferred, gives err what was thrown, with its line.
func (r *rendering) catch(err *error) {
	p := recover()
	if p == nil {
		return
	}
	*err = caught(p)
	var e *RuntimeError
	if errors.As(*err, &e) && e.Line == 0 {
		e.Line = r.line
	}
}

// A buffer is what a template, a macro or a block writes to.
type buffer struct {
	b []byte
	// writes counts them at the root, of which Jinja joins a rendering.
	writes int
	// notText is the class of something written that is no string, which fails
	// as the output is joined.
	notText string
	// runes is the number of characters in the first counted bytes.
	runes, counted int
}

// text joins what was written.
func (b *buffer) text() string {
	if b.notText != "" {
		raise("TypeError", "expected str instance, %s found", b.notText)
	}
	return string(b.b)
}

func (b *buffer) runeCount() int {
	b.runes += utf8.RuneCount(b.b[b.counted:])
	b.counted = len(b.b)
	return b.runes
}

// write adds text to the output of a.
func (a *activation) write(s string) {
	out := a.out
	if out == a.r.root {
		a.r.produce(len(s))
		out.writes++
	} else {
		a.r.hold(len(s))
	}
	out.b = append(out.b, s...)
}

// writeText adds a value to the output, which must be a string.
func (a *activation) writeText(v Value) {
	s, ok := Text(v)
	if !ok {
		a.out.notText = v.typeName()
	}
	a.write(s)
}

// An environment is the variables by name that a template or a block of it
// starts from (jinja2.runtime.Context).
type environment struct {
	vars  map[string]Value
	outer *environment
}

// lookup returns the value of a name, or nil.
func (a *activation) lookup(name string) Value {
	for e := a.env; e != nil; e = e.outer {
		if v, ok := e.vars[name]; ok {
			return v
		}
	}
	if v, ok := a.r.variables[name]; ok {
		return v
	}
	return globals[name]
}

// An activation is a call of a function of the compiled template: of the
// template itself, a macro, a recursive loop, a loop's condition or a block.
type activation struct {
	r     *rendering
	slots []Value // nil where unset
	outer *activation
	env   *environment
	out   *buffer
}

// up is the activation so many functions further out.
func (a *activation) up(hops int) *activation {
	for range hops {
		a = a.outer
	}
	return a
}

// capture runs body with its output in a buffer of its own.
func (a *activation) capture(body executor) (text string, s signal) {
	saved := a.out
	a.out = &buffer{}
	s = body(a)
	if s == signalNone {
		text = a.out.text()
	}
	a.out = saved
	return text, s
}

// generated records what a generation block wrote. Like transformers'
// AssistantTracker it is idle until something was written at the root.
func (r *rendering) generated(text string) {
	if r.root.writes == 0 && len(r.spans) == 0 {
		return
	}
	start := r.root.runeCount()
	r.spans = append(r.spans, Span{start, start + utf8.RuneCountInString(text)})
}

// byteSpans gives the spans in bytes of the text, as far as it reaches.
func byteSpans(text string, spans []Span) []Span {
	if len(spans) == 0 {
		return nil
	}
	if utf8.RuneCountInString(text) == len(text) {
		for i, s := range spans {
			spans[i] = Span{min(s.Start, len(text)), min(s.End, len(text))}
		}
		return spans
	}
	offsets := make([]int, 0, len(text)+1)
	for i := range text {
		offsets = append(offsets, i)
	}
	offsets = append(offsets, len(text))
	last := len(offsets) - 1
	for i, s := range spans {
		spans[i] = Span{offsets[min(s.Start, last)], offsets[min(s.End, last)]}
	}
	return spans
}

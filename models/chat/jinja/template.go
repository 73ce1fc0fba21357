package jinja

import (
	"context"
	"slices"
)

// A Template is a compiled template. It is not changed by rendering.
type Template struct {
	source     string
	names      []string
	attributes []string
	run        executor
	function   *fn
	blocks     map[string]*block
}

// Compile compiles a template. Its error is a *SyntaxError, or a *LimitError if
// the source nests too deeply.
func Compile(source string) (t *Template, err error) {
	defer catch(&err)
	body := parse(source)
	t = &Template{source: source, attributes: attributes(body)}
	newCompiler().template(t, body)
	return t, nil
}

// Source is what the template was compiled from.
func (t *Template) Source() string { return t.source }

// Names lists the variables that the template reads and does not define itself,
// sorted (jinja2.meta.find_undeclared_variables).
func (t *Template) Names() []string { return slices.Clone(t.names) }

// Attributes lists every constant name that the template looks up in some value:
// x.name, x['name'], x.get('name'), 'name' in x, selectattr('name') and its
// like, sorted.
func (t *Template) Attributes() []string { return slices.Clone(t.attributes) }

// An Output is a rendering.
type Output struct {
	Text      string
	Generated []Span // what {% generation %} blocks wrote, in order
}

// A Span is a part of Output.Text in bytes, without its end.
type Span struct{ Start, End int }

// Render renders the template. Its error is a *RuntimeError, a *LimitError, the
// cause of the context's end, or the error that a Function returned.
func (t *Template) Render(ctx context.Context, variables map[string]Value, l Limits) (out Output, err error) {
	r := newRendering(ctx, variables, l)
	r.blocks = t.blocks
	defer r.catch(&err)
	a := t.function.activate(r, nil, &environment{vars: map[string]Value{}}, r.root)
	t.run(a)
	text := r.root.text()
	return Output{text, byteSpans(text, r.spans)}, nil
}

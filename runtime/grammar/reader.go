package grammar

import "fmt"

// frame is what is on a thread's stack: where the rule that was called goes on.
// Frames that are alike are one.
type frame struct {
	to int32
	up *frame // nil: the end
}

// bottom stands for a stack that is not known.
var bottom = &frame{to: -1}

// thread is one way of having read a text. A text that can be read in several
// ways has several.
type thread struct {
	at    int32
	span  // of characters that are still needed and possible, where they are counted
	stack *frame
}

// first is the thread that has read nothing.
func (g *Grammar) first() thread { return thread{0, g.rules[0].span, nil} }

// after is a thread that has read one byte more.
func (g *Grammar) after(t thread, c byte) (next thread, ok bool) {
	s := &g.states[t.at]
	if t.at, ok = s.next(c); !ok || t.span == anySpan {
		return t, ok
	}
	if s.counts && c != '"' {
		if t.most == 0 {
			return t, false
		}
		t.least, t.most = max(t.least-1, 0), max(t.most-1, -1)
	}
	t.span, ok = t.toward(g.states[t.at].ahead)
	return t, ok
}

// stacks keeps frames that are alike together.
type stacks map[frame]*frame

func (s stacks) push(to int32, up *frame) *frame {
	f := frame{to, up}
	if known := s[f]; known != nil {
		return known
	}
	s[f] = &f
	return &f
}

// maxThreads is how many ways of reading a text are followed at once. Each may want
// a look through the vocabulary of its own, within a step.
const maxThreads = 32

// errWays is of a grammar of which a text can be read in more.
var errWays = fmt.Errorf("%w: it can be read in more than %d ways at once", ErrTooLarge, maxThreads)

// reader follows threads through a grammar.
type reader struct {
	*Grammar
	stacks  stacks
	threads []thread
	next    []thread
	ended   bool // the text may end here
	popped  bool // a thread has come to the bottom
	over    bool // there are more threads than are followed
}

func newReader(g *Grammar) *reader { return &reader{Grammar: g, stacks: stacks{}} }

// begin puts one thread at a state.
func (r *reader) begin(t thread, stack *frame) {
	r.next = r.next[:0]
	r.ended, r.popped, r.over = false, false, false
	t.stack = stack
	r.add(t)
	r.threads, r.next = r.next, r.threads
}

// add adds a thread and those that it becomes without a byte, to next.
func (r *reader) add(t thread) {
	s := &r.states[t.at]
	if len(s.bytes) == 0 && len(s.calls) == 0 && s.final {
		r.leave(t.stack) // as if it had not been called
		return
	}
	for _, known := range r.next {
		if known == t {
			return
		}
	}
	if len(r.next) == maxThreads {
		r.over = true
	}
	if r.over {
		return
	}
	r.next = append(r.next, t)
	if s.final {
		r.leave(t.stack)
	}
	for _, c := range s.calls {
		stack := t.stack
		if to := &r.states[c.to]; !to.final || len(to.bytes) > 0 || len(to.calls) > 0 {
			stack = r.stacks.push(c.to, stack)
		}
		e := r.rules[c.rule]
		r.add(thread{e.start, e.span, stack})
	}
}

func (r *reader) leave(stack *frame) {
	switch stack {
	case nil:
		r.ended = true
	case bottom:
		r.popped = true
	default:
		r.add(thread{stack.to, anySpan, stack.up})
	}
}

// step reads a byte, and reports whether the text is still one of the grammar's,
// or the beginning of one. It is not known where there are more threads than are
// followed.
func (r *reader) step(c byte) bool {
	r.next, r.ended, r.popped, r.over = r.next[:0], false, false, false
	for _, t := range r.threads {
		if t, ok := r.after(t, c); ok {
			r.add(t)
		}
	}
	r.threads, r.next = r.next, r.threads
	return !r.over && (len(r.threads) > 0 || r.ended || r.popped)
}

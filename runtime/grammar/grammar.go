package grammar

import (
	"errors"
	"slices"
	"sync"
)

// A Grammar is a language that answers are kept to. It may be used by any number
// of goroutines.
type Grammar struct {
	states []state
	starts []int32 // of the rules; the first is where a text begins

	shared []string // the names of the rules that other grammars have too; or nothing

	mu    sync.Mutex
	looks map[int32]*look
}

// named is a rule. One with a name is the same in every grammar that has it, and
// calls no others.
type named struct {
	name string
	is   expr
}

// errLeft is of a grammar in which a rule calls itself before it has read
// anything.
var errLeft = errors.New("it refers to itself before anything of it is written")

// errNothing is of a grammar that no text has.
var errNothing = errors.New("nothing can satisfy it")

// newGrammar makes a grammar of rules, of which a text is the first.
func newGrammar(rules []named) (*Grammar, error) {
	g := &Grammar{looks: map[int32]*look{}}
	left := most
	for _, one := range rules {
		g.starts, g.shared = append(g.starts, int32(len(g.states))), append(g.shared, one.name)
		states, err := rule(one.is, len(g.states), &left)
		if err != nil {
			return nil, err
		}
		g.states = append(g.states, states...)
	}
	prune(g.states, g.starts)
	first := &g.states[g.starts[0]]
	if !first.final && len(first.bytes) == 0 && len(first.calls) == 0 {
		return nil, errNothing
	}
	return g, g.checkLeft()
}

// place is where a state is in a rule that other grammars have too.
func (g *Grammar) place(at int32) (p place, ok bool) {
	n, found := slices.BinarySearch(g.starts, at)
	if !found {
		n--
	}
	return place{g.shared[n], at - g.starts[n]}, g.shared[n] != ""
}

// checkLeft refuses rules that come back to themselves without a byte, which no
// thread would ever leave.
func (g *Grammar) checkLeft() error {
	const (
		open = iota + 1
		done
	)
	nullable := g.nullable()
	seen := make([]int, len(g.states))
	var visit func(n int32) error
	visit = func(n int32) error {
		switch seen[n] {
		case open:
			return errLeft
		case done:
			return nil
		}
		seen[n] = open
		for _, c := range g.states[n].calls {
			if err := visit(g.starts[c.rule]); err != nil {
				return err
			}
			if nullable[g.starts[c.rule]] {
				if err := visit(c.to); err != nil {
					return err
				}
			}
		}
		seen[n] = done
		return nil
	}
	for n := range g.states {
		if err := visit(int32(n)); err != nil {
			return err
		}
	}
	return nil
}

// nullable tells from which states a rule can end without a byte.
func (g *Grammar) nullable() []bool {
	can := make([]bool, len(g.states))
	for changed := true; changed; {
		changed = false
		for i := range g.states {
			if can[i] {
				continue
			}
			can[i] = g.states[i].final
			for _, c := range g.states[i].calls {
				can[i] = can[i] || can[g.starts[c.rule]] && can[c.to]
			}
			changed = changed || can[i]
		}
	}
	return can
}

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
	stack *frame
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

// maxThreads is how many ways of reading a text are followed at once.
const maxThreads = 256

// reader follows threads through a grammar.
type reader struct {
	*Grammar
	stacks  stacks
	threads []thread
	next    []thread
	ended   bool // the text may end here
	popped  bool // a thread has come to the bottom
}

func newReader(g *Grammar) *reader { return &reader{Grammar: g, stacks: stacks{}} }

// begin puts one thread at a state.
func (r *reader) begin(at int32, stack *frame) {
	r.next = r.next[:0]
	r.threads, r.ended, r.popped = r.threads[:0], false, false
	r.add(thread{at, stack})
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
		r.add(thread{r.starts[c.rule], stack})
	}
}

func (r *reader) leave(stack *frame) {
	switch stack {
	case nil:
		r.ended = true
	case bottom:
		r.popped = true
	default:
		r.add(thread{stack.to, stack.up})
	}
}

// step reads a byte, and reports whether the text is still one of the grammar's,
// or the beginning of one.
func (r *reader) step(c byte) bool {
	r.next, r.ended, r.popped = r.next[:0], false, false
	for _, t := range r.threads {
		if to, ok := r.states[t.at].next(c); ok {
			r.add(thread{to, t.stack})
		}
	}
	r.threads, r.next = r.next, r.threads
	return len(r.threads) > 0 || r.ended || r.popped
}

// Match reports whether a text is one of the grammar's.
func (g *Grammar) Match(text string) bool {
	r := newReader(g)
	r.begin(g.starts[0], nil)
	for i := range len(text) {
		if !r.step(text[i]) {
			return false
		}
	}
	return r.ended
}

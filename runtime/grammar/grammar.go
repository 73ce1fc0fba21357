package grammar

import (
	"errors"
	"slices"
	"sync"
)

// A Grammar is a language that answers are kept to. It does not change, and may be
// used by any number of goroutines.
type Grammar struct {
	states []state
	rules  []entry // the first is where a text begins
	blocks []block // of states, in order
}

// entry is how a rule is entered: at a state, and within a span of characters
// where they are counted.
type entry struct {
	start int32
	span
}

// block is the states of a rule. Those with a name are the same in every grammar
// that has them.
type block struct {
	first int32
	name  string
	reach
}

// named is a rule. One with a name is the same in every grammar that has it, and
// calls no others. One that is like another has its states, and a span of its own.
type named struct {
	name    string
	strings bool // with a name: its texts are JSON strings, whose characters are counted
	is      expr
	made    *counted // what it is, if its states are known
	like    int      // of the rules; 0: none
	span
}

// states are those of the rule, from number first on.
func (r *named) states(first int, left *budget) (*counted, error) {
	made := r.made
	if r.name != "" {
		var err error
		if made, err = r.library(); err != nil {
			return nil, err
		}
	}
	if made == nil {
		states, err := rule(r.is, first, left)
		return &counted{states: states}, err
	}
	own := *made
	own.states = slices.Clone(made.states)
	for i := range own.states {
		bytes := slices.Clone(own.states[i].bytes)
		for j := range bytes {
			bytes[j].to += int32(first)
		}
		own.states[i].bytes = bytes
	}
	return &own, nil
}

// libraries are the states of the rules that have a name, by that.
var libraries sync.Map

// library are the states of a rule with a name, from 0 on.
func (r *named) library() (*counted, error) {
	if made, ok := libraries.Load(r.name); ok {
		return made.(*counted), nil
	}
	left := newBudget()
	states, err := rule(r.is, 0, left)
	made := &counted{states: states}
	if err == nil && r.strings {
		made, err = countedOf(states, left)
	}
	if err != nil {
		return nil, err
	}
	known, _ := libraries.LoadOrStore(r.name, made)
	return known.(*counted), nil
}

// errLeft is of a grammar in which a rule calls itself before it has read
// anything.
var errLeft = errors.New("it refers to itself before anything of it is written")

// errNothing is of a grammar that no text has.
var errNothing = errors.New("nothing can satisfy it")

// ruleError is the error of making one of the rules.
type ruleError struct {
	rule int
	err  error
}

func (e *ruleError) Error() string { return e.err.Error() }
func (e *ruleError) Unwrap() error { return e.err }

// newGrammar makes a grammar of rules, of which a text is the first, within a
// budget.
func newGrammar(rules []named, left *budget) (*Grammar, error) {
	g := &Grammar{}
	for n, one := range rules {
		if one.like > 0 {
			g.rules = append(g.rules, entry{g.rules[one.like].start, one.span})
			continue
		}
		first := int32(len(g.states))
		g.rules = append(g.rules, entry{first, anySpan})
		made, err := one.states(len(g.states), left)
		if err != nil {
			return nil, &ruleError{n, err}
		}
		g.blocks = append(g.blocks, block{first, one.name, made.reach})
		g.states = append(g.states, made.states...)
	}
	if !left.spend(prune(g.states, g.rules)) {
		return nil, ErrTooLarge
	}
	first := &g.states[0]
	if !first.final && len(first.bytes) == 0 && len(first.calls) == 0 {
		return nil, errNothing
	}
	if err := g.checkLeft(); err != nil {
		return nil, err
	}
	return g, g.checkWays(left)
}

// checkWays refuses rules that have a place from which a text can be read in more
// ways than are followed.
func (g *Grammar) checkWays(left *budget) error {
	r := newReader(g)
	for at := len(g.states) - 1; at >= 0; at-- { // the inner rules first
		if len(g.states[at].calls) == 0 {
			continue
		}
		r.begin(thread{at: int32(at), span: anySpan}, bottom)
		clear(r.stacks)
		if r.over {
			return &ruleError{g.ruleOf(int32(at)), errWays}
		}
		if !left.spend(len(r.threads) * len(r.threads)) {
			return ErrTooLarge
		}
	}
	return nil
}

// ruleOf is the rule that a state is of.
func (g *Grammar) ruleOf(at int32) (rule int) {
	for n, e := range g.rules {
		if e.start <= at && e.start > g.rules[rule].start {
			rule = n
		}
	}
	return rule
}

// Bytes is the memory that the grammar takes.
func (g *Grammar) Bytes() int {
	n := 0
	for i := range g.states {
		n += 64 + 8*(cap(g.states[i].bytes)+cap(g.states[i].calls))
	}
	return n + 16*len(g.rules) + 32*len(g.blocks)
}

// block is that of a state.
func (g *Grammar) block(at int32) *block {
	n, found := slices.BinarySearchFunc(g.blocks, at, func(b block, at int32) int { return int(b.first - at) })
	if !found {
		n--
	}
	return &g.blocks[n]
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
			start := g.rules[c.rule].start
			if err := visit(start); err != nil {
				return err
			}
			if nullable[start] {
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
				can[i] = can[i] || can[g.rules[c.rule].start] && can[c.to]
			}
			changed = changed || can[i]
		}
	}
	return can
}

// Match reports whether a text is one of the grammar's, and can be read in no more
// ways than are followed.
func (g *Grammar) Match(text string) bool {
	is, err := g.match(text)
	return is && err == nil
}

func (g *Grammar) match(text string) (bool, error) {
	r := newReader(g)
	r.begin(g.first(), nil)
	for i := range len(text) {
		if !r.step(text[i]) {
			if r.over {
				return false, errWays
			}
			return false, nil
		}
	}
	return r.ended, nil
}

package tokenizer

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// A dfa finds where a match that begins at a given place ends, one table
// look-up a character: the states of an expression's program, made as texts ask
// for them. The match is the one that trying every way in order would find
// first, as in [regexp].
type dfa struct {
	prog   *syntax.Prog
	states []*dfaState
	byList map[string]int32
	size   int // of the states, in instructions and transitions
	seen   []uint32
	round  uint32
}

// A dfaState is the instructions that the program may be at, the preferred
// first.
type dfaState struct {
	list    []uint32
	accepts bool                 // the match may end here
	ascii   [utf8.RuneSelf]int32 // the state after a character; unknown: not looked at yet
	others  map[rune]int32
}

const (
	dead    int32 = -1
	unknown int32 = -2
	maxDFA        = 1 << 18 // the size at which it is begun anew
)

func newDFA(prog *syntax.Prog) *dfa {
	d := &dfa{prog: prog, seen: make([]uint32, len(prog.Inst))}
	d.reset()
	return d
}

func (d *dfa) reset() {
	d.states, d.byList, d.size = nil, map[string]int32{}, 0
	d.round++
	list, accepts := d.follow(nil, uint32(d.prog.Start))
	d.intern(list, accepts)
}

// match returns the end of the match that begins at s[at].
func (d *dfa) match(s string, at int) (end int, ok bool) {
	if d.size > maxDFA {
		d.reset()
	}
	state := d.states[0]
	for {
		if state.accepts {
			end, ok = at, true
		}
		if at == len(s) {
			return end, ok
		}
		next := unknown
		r, width := rune(s[at]), 1
		if r < utf8.RuneSelf {
			next = state.ascii[r]
		} else {
			r, width = utf8.DecodeRuneInString(s[at:])
			if known, found := state.others[r]; found {
				next = known
			}
		}
		if next == unknown {
			next = d.step(state, r)
		}
		if next == dead {
			return end, ok
		}
		state = d.states[next]
		at += width
	}
}

// step finds the state after r and remembers it.
func (d *dfa) step(state *dfaState, r rune) int32 {
	d.round++
	var list []uint32
	accepts := false
	for _, pc := range state.list {
		if in := &d.prog.Inst[pc]; in.MatchRune(r) {
			if list, accepts = d.follow(list, in.Out); accepts {
				break // what comes after it is less preferred
			}
		}
	}
	next := dead
	if len(list) > 0 || accepts {
		next = d.intern(list, accepts)
	}
	d.size++
	if r < utf8.RuneSelf {
		state.ascii[r] = next
	} else {
		if state.others == nil {
			state.others = map[rune]int32{}
		}
		state.others[r] = next
	}
	return next
}

// follow appends the instructions that consume a character, in order, as they
// are reached from pc; accepts: and then the end of the match.
func (d *dfa) follow(list []uint32, pc uint32) (_ []uint32, accepts bool) {
	stack := []uint32{pc}
	for len(stack) > 0 {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if d.seen[pc] == d.round {
			continue
		}
		d.seen[pc] = d.round
		switch in := &d.prog.Inst[pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, in.Arg, in.Out)
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, in.Out)
		case syntax.InstMatch:
			return list, true
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			list = append(list, pc)
		}
	}
	return list, false
}

// intern returns the state of that list.
func (d *dfa) intern(list []uint32, accepts bool) int32 {
	key := make([]byte, 0, 4*len(list)+1)
	for _, pc := range list {
		key = append(key, byte(pc), byte(pc>>8), byte(pc>>16), byte(pc>>24))
	}
	if accepts {
		key = append(key, 1)
	}
	if id, ok := d.byList[string(key)]; ok {
		return id
	}
	state := &dfaState{list: slices.Clone(list), accepts: accepts}
	for i := range state.ascii {
		state.ascii[i] = unknown
	}
	id := int32(len(d.states))
	d.states = append(d.states, state)
	d.byList[string(key)] = id
	d.size += len(list) + utf8.RuneSelf/4
	return id
}

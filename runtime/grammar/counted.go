package grammar

import (
	"cmp"
	"slices"
	"sync"
)

// span is how many characters there are at least and at most; most < 0: without end.
type span struct{ least, most int32 }

var anySpan = span{0, -1}

// toward is a span at a state from which the ways to an end have ahead characters. An
// end of the span that all of them keep to is dropped: it need not be looked at again.
// ok is false where none of them is within the span.
func (s span) toward(ahead span) (left span, ok bool) {
	if s.most >= 0 && ahead.least > s.most || ahead.most >= 0 && ahead.most < s.least {
		return s, false
	}
	if ahead.least >= s.least {
		s.least = 0
	}
	if ahead.most >= 0 && ahead.most <= s.most {
		s.most = -1
	}
	return s, true
}

// counted is the automaton of a rule of which every text is a JSON string, made so that
// its texts can be kept to a span of lengths without states for each length. A thread
// that reads one has a span beside its state, of the characters that may still come;
// each character takes one from both of its ends.
//
// A thread may go on where some way to an end has a length within its span. Each state
// has the lengths of its shortest and its longest way, and these decide it exactly:
//   - Of a span without a lower end the shortest way is within it, or none is. Of one
//     without an upper end it is the longest.
//   - Of a span with both ends there might be a way too short and one too long and none
//     between: of (aaa)* none has 4 or 5. gap is the most lengths in a row that the ways
//     from any state leave out between the shortest and the longest. If the span has
//     more lengths than that, and the shortest way is not too long, and the longest not
//     too short, then one of these two is within it; or else the span lies between the
//     two, and one of its lengths is not left out.
//
// A span with both ends keeps its width, as both go down together, until one is
// dropped. So it is looked at once whether it is wide enough; a narrower one takes a
// product (texts.go).
type counted struct {
	states []state
	reach
	gap int32
}

// reach is how far ahead of a state the ends of a span may be and still tell.
type reach struct {
	needs int32 // characters of the longest of all shortest ways
	tail  int32 // of the longest of all longest ways, those without end aside
}

// near is a span as far as texts of up to so many characters tell it from others. If
// after all of them more than tail are still needed, it does not matter how many more:
// only ways without end will do. If more than needs are still possible, there is room
// for a way to an end from any state.
func (r reach) near(s span, characters int32) span {
	s.least = min(s.least, characters+1+r.tail)
	if s.most > characters+r.needs {
		s.most = -1
	}
	return s
}

// jsonStrings is the automaton of all strings, in which the states are marked at which
// a character may begin.
var jsonStrings = sync.OnceValue(func() []state {
	states, err := rule(anyString, 0, newBudget())
	if err != nil {
		panic(err)
	}
	for i := range states {
		if to, ok := states[i].next('"'); ok && states[to].final {
			states[i].counts = true
		}
	}
	return states
})

// countedOf is the automaton of the JSON strings among the texts of a rule that calls
// no others. An escape is one character, and so is what UTF-8 has in several bytes:
// each state is one of the rule's beside one of all strings, which tells where within a
// character it is.
func countedOf(states []state, left *budget) (*counted, error) {
	left.spend(prune(states, nil))
	type pair struct{ of, in int32 }
	all := jsonStrings()
	at := map[pair]int32{{0, 0}: 0}
	pairs := []pair{{0, 0}}
	c := &counted{}
	for i := 0; i < len(pairs); i++ {
		of, in := &states[pairs[i].of], &all[pairs[i].in]
		s := state{final: of.final && in.final, counts: in.counts}
		if !left.state() || !left.spend(8+len(of.bytes)*(1+len(in.bytes))) {
			return nil, ErrTooLarge
		}
		for _, e := range of.bytes {
			for _, f := range in.bytes {
				lo, hi := max(e.lo, f.lo), min(e.hi, f.hi)
				if lo > hi {
					continue
				}
				next := pair{e.to, f.to}
				n, known := at[next]
				if !known {
					n = int32(len(pairs))
					at[next] = n
					pairs = append(pairs, next)
				}
				s.bytes = append(s.bytes, edge{lo, hi, n})
			}
		}
		c.states = append(c.states, s)
	}
	if !left.spend(prune(c.states, nil)) || !c.measure(left) {
		return nil, ErrTooLarge
	}
	return c, nil
}

// characters is how many begin with an edge's bytes. A quote where one may begin ends
// the string.
func (s *state) characters(e edge) int32 {
	if s.counts && e.lo != '"' {
		return 1
	}
	return 0
}

// measure finds the shortest and the longest ways to an end, backwards from there, and
// what bounds all of them. It reports whether there was work enough left.
func (c *counted) measure(left *budget) bool {
	type back struct{ from, characters int32 }
	before := make([][]back, len(c.states))
	open := make([]int, len(c.states)) // edges whose longest ways are not known
	var now, next, done []int32
	for i := range c.states {
		s := &c.states[i]
		if !left.spend(4 + 4*len(s.bytes)) {
			return false
		}
		open[i] = len(s.bytes)
		s.ahead.most = -1
		for _, e := range s.bytes {
			before[e.to] = append(before[e.to], back{int32(i), s.characters(e)})
		}
		if s.final {
			now, done = append(now, int32(i)), append(done, int32(i))
			s.ahead.most = 0
		}
	}

	known := make([]bool, len(c.states))
	for d := int32(0); len(now) > 0; now, next, d = next, now[:0], d+1 {
		for len(now) > 0 {
			i := now[len(now)-1]
			now = now[:len(now)-1]
			if known[i] {
				continue
			}
			known[i], c.states[i].ahead.least, c.needs = true, d, d
			for _, b := range before[i] {
				if b.characters == 0 {
					now = append(now, b.from)
				} else {
					next = append(next, b.from)
				}
			}
		}
	}
	// From a state that is never done there is a way round, and no longest.
	for longest := make([]int32, len(c.states)); len(done) > 0; {
		i := done[len(done)-1]
		done = done[:len(done)-1]
		c.states[i].ahead.most = longest[i]
		c.tail = max(c.tail, longest[i])
		for _, b := range before[i] {
			longest[b.from] = max(longest[b.from], longest[i]+b.characters)
			if open[b.from]--; open[b.from] == 0 {
				done = append(done, b.from)
			}
		}
	}
	for i := range c.states {
		c.gap = max(c.gap, c.gapAt(&c.states[i]))
	}
	return true
}

// gapAt is the most lengths in a row that lie between those that a state's edges lead
// to, each of which is taken to have all between its shortest and its longest. The most
// of all states is the most that the ways from any leave out: a run that they leave
// out either lies between what two edges lead to, or an edge leads to a state of which
// the ways leave it out too. There it is as many lengths, one character nearer to none
// if the edge begins one, and so it comes to lie between two edges of some state.
func (c *counted) gapAt(s *state) (gap int32) {
	var ways []span
	for _, e := range s.bytes {
		way, n := c.states[e.to].ahead, s.characters(e)
		way.least += n
		if way.most >= 0 {
			way.most += n
		}
		ways = append(ways, way)
	}
	slices.SortFunc(ways, func(a, b span) int { return cmp.Compare(a.least, b.least) })
	var most int32
	for i, way := range ways {
		if i > 0 {
			gap = max(gap, way.least-most-1)
		}
		if way.most < 0 {
			break
		}
		most = max(most, way.most)
	}
	return gap
}

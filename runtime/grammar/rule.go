package grammar

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// ErrTooLarge is what a grammar comes to that needs more states, or more work to
// find them, than there may be.
var ErrTooLarge = errors.New("it comes to too many states")

// budget is what making a grammar may take: states, and steps of work, which
// bound its time whatever the clock says.
type budget struct{ states, work int }

func newBudget() *budget { return &budget{states: 100_000, work: 10_000_000} }

// state takes one.
func (b *budget) state() bool {
	b.states--
	return b.states >= 0
}

// spend takes steps of work.
func (b *budget) spend(n int) bool {
	b.work -= n
	return b.work >= 0
}

// read spends what it takes to go through a value.
func (b *budget) read(v any) bool {
	switch v := v.(type) {
	case object:
		for _, m := range v {
			if !b.spend(8) || !b.read(m.value) {
				return false
			}
		}
	case []any:
		for _, e := range v {
			if !b.read(e) {
				return false
			}
		}
	case string:
		return b.spend(16 + len(v)/4)
	}
	return b.spend(16)
}

// state is one of a rule's automaton. Its bytes are in order and do not overlap.
type state struct {
	bytes  []edge
	calls  []called
	final  bool
	counts bool // a character of a string may begin here, or the string end
	ahead  span // of the characters that begin from here on, where they are counted
}

type edge struct {
	lo, hi byte
	to     int32
}

type called struct{ rule, to int32 }

// next is where a byte leads.
func (s *state) next(c byte) (to int32, ok bool) {
	for i := range s.bytes {
		if e := &s.bytes[i]; c <= e.hi {
			return e.to, c >= e.lo
		}
	}
	return 0, false
}

// rule makes the states of one expression, from number first on: the subsets of
// its nfa, of which a call is an edge like a byte.
func rule(e expr, first int, left *budget) ([]state, error) {
	b := builder{left: left}
	start, end := b.state(), b.state()
	b.lay(e, start, end)
	if b.fault != nil {
		return nil, b.fault
	}
	d := subsets{nfa: &b.nfa, known: map[string]int32{}, left: left, mark: make([]bool, len(b.bytes))}
	d.find([]int{start})
	for i := 0; i < len(d.sets); i++ {
		s, err := d.expand(d.sets[i], end)
		if err != nil {
			return nil, err
		}
		d.states = append(d.states, s)
	}
	for i := range d.states {
		for j := range d.states[i].bytes {
			d.states[i].bytes[j].to += int32(first)
		}
		for j := range d.states[i].calls {
			d.states[i].calls[j].to += int32(first)
		}
	}
	return d.states, nil
}

type subsets struct {
	nfa    *nfa
	known  map[string]int32
	sets   [][]int
	states []state
	left   *budget
	mark   []bool
}

// find is the number of a set of states and of all that nothing leads to from
// them.
func (d *subsets) find(set []int) int32 {
	closed := d.close(set)
	key := make([]byte, 0, 4*len(closed))
	for _, s := range closed {
		key = binary.LittleEndian.AppendUint32(key, uint32(s))
	}
	if n, ok := d.known[string(key)]; ok {
		return n
	}
	d.left.states -= 1 + len(closed)/8 // which are kept meanwhile
	n := int32(len(d.sets))
	d.known[string(key)] = n
	d.sets = append(d.sets, closed)
	return n
}

func (d *subsets) close(set []int) (closed []int) {
	stack := slices.Clone(set)
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if d.mark[s] {
			continue
		}
		d.mark[s] = true
		closed = append(closed, s)
		stack = append(stack, d.nfa.empty[s]...)
		d.left.spend(1 + len(d.nfa.empty[s]))
	}
	for _, s := range closed {
		d.mark[s] = false
	}
	slices.Sort(closed)
	return closed
}

func (d *subsets) expand(set []int, end int) (s state, err error) {
	if d.left.states < 0 || d.left.work < 0 {
		return s, ErrTooLarge
	}
	var edges []byteEdge
	calls := map[int][]int{}
	for _, n := range set {
		edges = append(edges, d.nfa.bytes[n]...)
		for _, c := range d.nfa.calls[n] {
			calls[c.rule] = append(calls[c.rule], c.to)
		}
		s.final = s.final || n == end
	}
	// Between two bounds all bytes lead to the same states.
	bounds := make([]int, 0, 2*len(edges))
	for _, e := range edges {
		bounds = append(bounds, int(e.lo), int(e.hi)+1)
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	if !d.left.spend(len(set) + len(bounds)*len(edges)) {
		return s, ErrTooLarge
	}
	for i := 0; i+1 < len(bounds); i++ {
		var to []int
		for _, e := range edges {
			if int(e.lo) <= bounds[i] && bounds[i] <= int(e.hi) {
				to = append(to, e.to)
			}
		}
		if len(to) == 0 {
			continue
		}
		n := d.find(to)
		if k := len(s.bytes); k > 0 && s.bytes[k-1].to == n && int(s.bytes[k-1].hi)+1 == bounds[i] {
			s.bytes[k-1].hi = byte(bounds[i+1] - 1)
			continue
		}
		s.bytes = append(s.bytes, edge{byte(bounds[i]), byte(bounds[i+1] - 1), n})
	}
	for r, to := range calls {
		s.calls = append(s.calls, called{int32(r), d.find(to)})
	}
	slices.SortFunc(s.calls, func(a, b called) int { return cmp.Compare(a.rule, b.rule) })
	return s, nil
}

// prune drops the edges from which nothing can end: what could only be begun is
// not to be begun. It returns the steps of work that it took.
func prune(states []state, rules []entry) (work int) {
	ends := make([]bool, len(states))
	before := make([][]int32, len(states)) // the states that may end if this one does
	can := func(s *state) bool {
		work += len(s.bytes) + len(s.calls)
		return s.final || slices.ContainsFunc(s.bytes, func(e edge) bool { return ends[e.to] }) ||
			slices.ContainsFunc(s.calls, func(c called) bool { return ends[rules[c.rule].start] && ends[c.to] })
	}
	var waiting []int32
	for i := range states {
		s := &states[i]
		for _, e := range s.bytes {
			before[e.to] = append(before[e.to], int32(i))
		}
		for _, c := range s.calls {
			start := rules[c.rule].start
			before[c.to], before[start] = append(before[c.to], int32(i)), append(before[start], int32(i))
		}
		if s.final {
			ends[i], waiting = true, append(waiting, int32(i))
		}
	}
	for len(waiting) > 0 {
		i := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		for _, j := range before[i] {
			if !ends[j] && can(&states[j]) {
				ends[j], waiting = true, append(waiting, j)
			}
		}
	}
	for i := range states {
		s := &states[i]
		s.bytes = slices.DeleteFunc(s.bytes, func(e edge) bool { return !ends[e.to] })
		s.calls = slices.DeleteFunc(s.calls, func(c called) bool { return !ends[rules[c.rule].start] || !ends[c.to] })
	}
	return work
}

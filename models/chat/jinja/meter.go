package jinja

import "context"

// Limits bound a rendering by counts alone, so that the same template with the
// same variables ends in the same way on a busy machine. Zero is the default.
type Limits struct {
	Steps    int // operations, and work that grows with an operand's size
	Produced int // bytes of output
	Held     int // bytes of strings and containers made, in all
	Depth    int // calls of macros and recursive loops inside each other
}

// The defaults of Limits. A conversation of 128k tokens and 100 tools takes less
// than a tenth of each, in two turns as in thousands (TestLongConversation).
// A template that takes all it can ends within about half a second of one
// processor and some 100 to 250 MB allocated in all, of which DefaultHeld bounds
// what is alive: a step stands for at most about 100 ns. Depth is where Python's
// own recursion ends.
const (
	DefaultSteps    = 8_000_000
	DefaultProduced = 8 << 20
	DefaultHeld     = 48 << 20
	DefaultDepth    = 200
)

func (l Limits) withDefaults() Limits {
	set := func(p *int, d int) {
		if *p == 0 {
			*p = d
		}
	}
	set(&l.Steps, DefaultSteps)
	set(&l.Produced, DefaultProduced)
	set(&l.Held, DefaultHeld)
	set(&l.Depth, DefaultDepth)
	return l
}

// checkEvery is how many steps lie between two looks at the context.
const checkEvery = 1 << 14

// A meter counts what a rendering does.
type meter struct {
	ctx    context.Context
	limits Limits

	steps, produced, held, depth int
	nextCheck                    int
}

// step counts n steps before they are done.
func (m *meter) step(n int) {
	if n > m.limits.Steps-m.steps {
		m.exceed("steps", m.limits.Steps)
	}
	if m.steps += n; m.steps >= m.nextCheck {
		m.nextCheck = m.steps + checkEvery
		if m.ctx.Err() != nil {
			panic(thrown{context.Cause(m.ctx)})
		}
	}
}

// scan counts that n bytes are looked through or copied.
func (m *meter) scan(n int) { m.step(n / 32) }

// work counts that n characters or items are handled one by one.
func (m *meter) work(n int) { m.step(n / 4) }

// hold counts n bytes before they are allocated.
func (m *meter) hold(n int) {
	if n > m.limits.Held-m.held {
		m.exceed("bytes held", m.limits.Held)
	}
	m.held += n
	m.scan(n)
}

// What an item of a list and an entry of a dictionary hold.
const (
	itemSize  = 32
	entrySize = 128
)

// holdItems counts a container of n items.
func (m *meter) holdItems(n int) { m.hold(times(n+2, itemSize)) }

// produce counts n bytes of output.
func (m *meter) produce(n int) {
	if n > m.limits.Produced-m.produced {
		m.exceed("bytes produced", m.limits.Produced)
	}
	m.produced += n
	m.scan(n)
}

// enter counts a level of depth; leave ends it.
func (m *meter) enter() {
	if m.depth >= m.limits.Depth {
		m.exceed("levels of depth", m.limits.Depth)
	}
	m.depth++
}

func (m *meter) leave() { m.depth-- }

func (m *meter) exceed(what string, limit int) {
	panic(thrown{&LimitError{What: what, Limit: limit}})
}

// times is a·b, or a number beyond every limit.
func times(a, b int) int {
	const huge = 1 << 40
	if a <= 0 || b <= 0 {
		return 0
	}
	if a > huge/b {
		return huge
	}
	return a * b
}

package runtime

import "slices"

// Snapshot is the state of an Engine between two steps. Counters run from the
// start.
type Snapshot struct {
	Running int // sequences with a slot
	Waiting int // requests without one: queued, loading their adapter, or preempted
	Loading int // of those waiting, the ones whose adapter is being loaded

	// The adapters of running and of waiting requests, sorted; the base is
	// left out.
	RunningAdapters, WaitingAdapters []string

	Blocks       int // of the key-value cache
	BlocksUsed   int // held by running sequences
	BlocksCached int // held for prompts that begin alike

	Requests         uint64 // accepted
	Finished         uint64
	Failed           uint64
	Cancelled        uint64
	Steps            uint64
	Preemptions      uint64
	PromptTokens     uint64 // of sequences admitted
	LookedUpTokens   uint64 // of those, sought in the prefix cache
	CachedTokens     uint64 // of those, found there
	CompletionTokens uint64
}

// gauges count the sequences by state, for snapshots.
type gauges struct {
	states   [ended]int
	awaiting int                 // in Await
	adapters map[string]presence // the base left out
}

type presence struct{ waiting, running int }

func newGauges() gauges { return gauges{adapters: map[string]presence{}} }

// join counts a new sequence.
func (g *gauges) join(s *sequence) {
	s.state = queued
	if s.request.Lease != nil {
		s.state = loading
	}
	g.count(s, 1)
}

func (g *gauges) move(s *sequence, to state) {
	g.count(s, -1)
	s.state = to
	g.count(s, 1)
}

func (g *gauges) leave(s *sequence) {
	g.count(s, -1)
	s.state = ended
}

func (g *gauges) count(s *sequence, by int) {
	g.states[s.state] += by
	for _, name := range s.request.Lease.Adapters() {
		p := g.adapters[name]
		if s.state == running {
			p.running += by
		} else {
			p.waiting += by
		}
		if g.adapters[name] = p; p == (presence{}) {
			delete(g.adapters, name)
		}
	}
}

func (g *gauges) describe(s *Snapshot) {
	s.Running, s.Loading = g.states[running], g.states[loading]+g.awaiting
	s.Waiting = g.states[queued] + s.Loading + g.states[preempted]
	for name, p := range g.adapters {
		if p.running > 0 {
			s.RunningAdapters = append(s.RunningAdapters, name)
		}
		if p.waiting > 0 {
			s.WaitingAdapters = append(s.WaitingAdapters, name)
		}
	}
	slices.Sort(s.RunningAdapters)
	slices.Sort(s.WaitingAdapters)
}

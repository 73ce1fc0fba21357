package runtime

import (
	"slices"
	"strings"
)

// Snapshot is the state of an Engine between two steps. Counters run from the
// start.
type Snapshot struct {
	Running int // sequences with a slot
	Waiting int // requests without one: queued, loading their adapter, or preempted
	Loading int // of those waiting, the ones whose adapter is being loaded

	// The adapters of running and of waiting requests, sorted; the base is
	// left out.
	RunningAdapters, WaitingAdapters []string
	Tenants                          []TenantCount // with requests here, by name

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
	SharedRows       uint64 // of a layer, each, that were not computed because those of the same text stood for them
	CompletionTokens uint64

	// Stretch is the work of the step that prompts have stretched most, in that of
	// the same step without them; 0: none beside answers, or Options.PromptShare is 0.
	Stretch float64
}

// TenantCount is what a tenant has in the engine.
type TenantCount struct {
	Name             string
	Running, Waiting int
}

// gauges count the sequences by state, for snapshots.
type gauges struct {
	states   [ended]int
	awaiting int                 // in Await
	adapters map[string]presence // the base left out
	tenants  map[string]presence // by name
}

type presence struct{ waiting, running int }

func newGauges() gauges {
	return gauges{adapters: map[string]presence{}, tenants: map[string]presence{}}
}

// join counts a new sequence.
func (g *gauges) join(s *sequence) {
	s.state = queued
	if s.lease != nil {
		s.state = loading
	}
	g.states[s.state]++
	g.note(s, presence{waiting: 1})
}

func (g *gauges) move(s *sequence, to state) {
	var by presence
	switch was := s.state == running; {
	case was && to != running:
		by = presence{waiting: 1, running: -1}
	case !was && to == running:
		by = presence{waiting: -1, running: 1}
	}
	g.states[s.state]--
	g.states[to]++
	if s.state = to; by != (presence{}) {
		g.note(s, by)
	}
}

func (g *gauges) leave(s *sequence) {
	g.states[s.state]--
	if s.state == running {
		g.note(s, presence{running: -1})
	} else {
		g.note(s, presence{waiting: -1})
	}
	s.state = ended
}

// note adds to what there is of the sequence's adapters and of its tenant.
func (g *gauges) note(s *sequence, by presence) {
	for _, name := range s.lease.Adapters() {
		note(g.adapters, name, by)
	}
	tenant := ""
	if t := s.request.Tenant; t != nil {
		tenant = t.Name
	}
	note(g.tenants, tenant, by)
}

func note(counts map[string]presence, name string, by presence) {
	p := counts[name]
	p.waiting += by.waiting
	p.running += by.running
	if p == (presence{}) {
		delete(counts, name)
	} else {
		counts[name] = p
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
	for name, p := range g.tenants {
		s.Tenants = append(s.Tenants, TenantCount{name, p.running, p.waiting})
	}
	slices.SortFunc(s.Tenants, func(a, b TenantCount) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(s.RunningAdapters)
	slices.Sort(s.WaitingAdapters)
}

package runtime

import (
	"fmt"
	"slices"
)

// roll counts the sequences by state, for the bound on the queue and for
// snapshots.
type roll struct {
	states   [ended]int
	groups   map[string]int      // those that wait for their first slot
	adapters map[string]presence // the base left out
}

type presence struct{ waiting, running int }

func newRoll() roll { return roll{groups: map[string]int{}, adapters: map[string]presence{}} }

// newcomers is the share of the queue, one part in so many, that a single
// group leaves free for others: a dynamic threshold (Choudhury and Hahne,
// 1998).
const newcomers = 8

// join admits a sequence to the queue, if there is room for its group.
func (r *roll) join(s *sequence, limit int) error {
	waiting := r.states[loading] + r.states[queued]
	if free := limit - waiting; free <= 0 || r.groups[s.group] > newcomers*free {
		return fmt.Errorf("%w: %d requests wait, %d of them of this group", ErrQueueFull, waiting, r.groups[s.group])
	}
	s.state = queued
	if s.request.Adapter != "" {
		s.state = loading
	}
	r.count(s, 1)
	return nil
}

func (r *roll) move(s *sequence, to state) {
	r.count(s, -1)
	s.state = to
	r.count(s, 1)
}

func (r *roll) leave(s *sequence) {
	r.count(s, -1)
	s.state = ended
}

func (r *roll) count(s *sequence, by int) {
	r.states[s.state] += by
	if s.state == loading || s.state == queued {
		tally(r.groups, s.group, by)
	}
	if name := s.request.Adapter; name != "" {
		p := r.adapters[name]
		if s.state == running {
			p.running += by
		} else {
			p.waiting += by
		}
		if r.adapters[name] = p; p == (presence{}) {
			delete(r.adapters, name)
		}
	}
}

func tally(counts map[string]int, key string, by int) {
	if counts[key] += by; counts[key] == 0 {
		delete(counts, key)
	}
}

func (r *roll) describe(s *Snapshot) {
	s.Running, s.Loading = r.states[running], r.states[loading]
	s.Waiting = r.states[queued] + r.states[loading] + r.states[preempted]
	for name, p := range r.adapters {
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

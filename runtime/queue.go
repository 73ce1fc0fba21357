package runtime

// queue holds the sequences that are ready to run, by group, and says which
// is next: the first of the group that has been served least. Service is
// counted in tokens, one for each of the prompt and two for each completion
// token, so that a group of many or long requests waits and one of few does
// not (Sheng et al., Fairness in Serving Large Language Models, 2024). A group
// that comes back from idleness starts level with those it finds: it neither
// loses its debt nor saves credit.
type queue struct {
	groups map[string]*group
	level  int64 // service of the group served last, never falling
}

type group struct {
	served  int64
	members int // waiting or running
	waiting []*sequence
}

const (
	promptPrice     = 1
	completionPrice = 2
	idleGroups      = 1024 // remembered for their debt
)

func newQueue() queue { return queue{groups: map[string]*group{}} }

// push adds a sequence behind those of its group.
func (q *queue) push(s *sequence) {
	g := q.groups[s.group]
	if g == nil {
		g = new(group)
		q.groups[s.group] = g
	}
	if g.members == 0 {
		g.served = max(g.served, q.level)
	}
	g.members++
	g.waiting = append(g.waiting, s)
}

// first returns the sequence that is next, nil if none waits.
func (q *queue) first() *sequence {
	var best *group
	for _, g := range q.groups {
		if len(g.waiting) == 0 {
			continue
		}
		if best == nil || g.served < best.served || g.served == best.served && g.waiting[0].id < best.waiting[0].id {
			best = g
		}
	}
	if best == nil {
		return nil
	}
	return best.waiting[0]
}

// pop takes out the sequence that first returned and charges its prompt.
func (q *queue) pop(s *sequence) {
	g := q.groups[s.group]
	g.waiting[0] = nil
	if g.waiting = g.waiting[1:]; len(g.waiting) == 0 {
		g.waiting = nil
	}
	q.level = max(q.level, g.served)
	g.served += promptPrice * int64(len(s.request.Prompt))
}

// charge counts a completion token.
func (q *queue) charge(s *sequence) { q.groups[s.group].served += completionPrice }

// leave forgets a sequence that pop returned.
func (q *queue) leave(s *sequence) {
	g := q.groups[s.group]
	if g.members--; g.members > 0 {
		return
	}
	if g.served <= q.level {
		delete(q.groups, s.group)
	}
	if len(q.groups) > idleGroups {
		for name, g := range q.groups {
			if g.members == 0 {
				delete(q.groups, name)
			}
		}
	}
}

// remove takes out the waiting sequences for which out holds.
func (q *queue) remove(out func(*sequence) bool) {
	for name, g := range q.groups {
		kept := g.waiting[:0]
		for _, s := range g.waiting {
			if out(s) {
				g.members--
			} else {
				kept = append(kept, s)
			}
		}
		clear(g.waiting[len(kept):])
		g.waiting = kept
		if g.members == 0 && g.served <= q.level {
			delete(q.groups, name)
		}
	}
}

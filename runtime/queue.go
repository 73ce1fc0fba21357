package runtime

import "container/list"

// queue holds the sequences that are ready to run and says which is next. Tenants
// share by weight, and the groups of a tenant share what it gets equally: there
// is a ledger of the tenants and one of each tenant's groups. Prices are one for
// each token of the prompt, when its sequence starts, and two for each completion
// token, so that who sends many or long requests waits and who sends few does not.
type queue struct {
	tenants *ledger
	waiting []*sequence // all of them, in any order
}

const (
	promptPrice     = 1
	completionPrice = 2

	idleTenants = 1024 // remembered
	idleGroups  = 64   // remembered of each tenant
)

// turn is where a sequence of the queue stands.
type turn struct {
	tenant, group *account
	inLine        *list.Element
	at            int // in queue.waiting
}

// prompts counts a sequence that has a prompt to compute in this step.
func (t *turn) prompts(by int) {
	if t.group.prompts == 0 {
		t.tenant.prompts++
	}
	if t.group.prompts += by; t.group.prompts == 0 {
		t.tenant.prompts--
	}
}

// share is the sequence's part of what all prompts of a step get, in proportion to
// those of the others.
func (t *turn) share() float64 {
	return t.tenant.weight / float64(t.tenant.prompts*t.group.prompts)
}

func newQueue() queue { return queue{tenants: newLedger(idleTenants)} }

// push adds a sequence behind those of its group.
func (q *queue) push(s *sequence) {
	t := q.tenants.join(s.party.tenant, s.party.weight)
	if t.groups == nil {
		t.groups = newLedger(idleGroups)
	}
	t.most = s.party.running
	g := t.groups.join(s.party.group, 1)
	s.turn = turn{tenant: t, group: g, inLine: g.line.PushBack(s), at: len(q.waiting)}
	q.waiting = append(q.waiting, s)
	q.settle(t, g)
}

// settle says who of a tenant and its group waits for a turn.
func (q *queue) settle(t, g *account) {
	t.groups.wait(g, g.line.Len() > 0)
	q.tenants.wait(t, len(t.groups.waiting) > 0 && (t.most == 0 || t.running < t.most))
}

// first returns the sequence that is next, nil if there is none whose turn may
// come.
func (q *queue) first() *sequence {
	if len(q.tenants.waiting) == 0 {
		return nil
	}
	return q.tenants.waiting.first().groups.waiting.first().line.Front().Value.(*sequence)
}

// pop takes out the sequence that first returned and charges its prompt.
func (q *queue) pop(s *sequence) {
	t, g := s.turn.tenant, s.turn.group
	q.tenants.begin(t)
	t.groups.begin(g)
	q.unlink(s)
	q.charge(s, promptPrice*len(s.request.Prompt))
	q.settle(t, g)
}

// unlink takes a sequence out of those that wait.
func (q *queue) unlink(s *sequence) {
	s.turn.group.line.Remove(s.turn.inLine)
	last := q.waiting[len(q.waiting)-1]
	q.waiting[s.turn.at], last.turn.at = last, s.turn.at
	q.waiting[len(q.waiting)-1] = nil
	q.waiting = q.waiting[:len(q.waiting)-1]
}

// charge counts what a sequence has been served.
func (q *queue) charge(s *sequence, price int) {
	t, g := s.turn.tenant, s.turn.group
	q.tenants.charge(t, float64(price))
	t.groups.charge(g, float64(price))
}

// leave forgets a sequence that pop returned.
func (q *queue) leave(s *sequence) {
	t, g := s.turn.tenant, s.turn.group
	t.running--
	g.running--
	q.settle(t, g)
	q.forget(t, g)
}

func (q *queue) forget(t, g *account) {
	t.groups.leave(g)
	q.tenants.leave(t)
}

// remove takes out the waiting sequences for which out holds.
func (q *queue) remove(out func(*sequence) bool) {
	for i := len(q.waiting) - 1; i >= 0; i-- { // the last one takes the place of i
		s := q.waiting[i]
		if !out(s) {
			continue
		}
		q.unlink(s)
		t, g := s.turn.tenant, s.turn.group
		q.settle(t, g)
		q.forget(t, g)
	}
}

package runtime

import "container/list"

// A ledger says whose turn it is among the accounts that wait: that of the one
// which has been served least, in tokens by price over weight (the virtual token
// counter of Sheng et al., Fairness in Serving Large Language Models, 2024).
//
// An account that begins to wait starts at the present, if it is behind it: it
// saves up no credit, be it new or back from a pause, and keeps its debt. The
// present moves on with all that is served, by its price over the weights of all
// accounts that have a sequence waiting or running, which is what an account of
// weight 1 has a right to. So whoever waits is overtaken only by those that were
// there before the present came up to it, however many new ones appear.
type ledger struct {
	accounts map[uint64]*account
	waiting  ranking[*account] // those whose turn may come
	idle     ranking[*account] // those without sequences
	remember int               // of those, the most
	now      float64           // the present
	weight   float64           // of the accounts that are not idle
	events   uint64            // numbers turns and arrivals
}

// account is what one party to a ledger has been served: a tenant, whose groups
// have a ledger of their own, or a group, whose sequences stand in line.
type account struct {
	key     uint64
	weight  float64
	served  float64
	turn    uint64 // the last one; 0: none yet
	arrived uint64 // when it last began to wait
	at      int    // in waiting or idle

	members int  // sequences waiting or running
	running int  // of those, running or preempted
	most    int  // that may be running; 0: any number
	ready   bool // in waiting
	prompts int  // in the step that is planned: of a tenant groups with one, of a group sequences

	groups *ledger   // a tenant's
	line   list.List // a group's, of *sequence
}

func newLedger(remember int) *ledger {
	return &ledger{accounts: map[uint64]*account{}, remember: remember}
}

// before orders accounts by what they have been served. Of equals the one goes
// first that waits for its turn since longer.
func (a *account) before(b *account) bool {
	switch {
	case a.served != b.served:
		return a.served < b.served
	case a.turn != b.turn:
		return a.turn < b.turn
	}
	return a.arrived < b.arrived
}

func (a *account) index() *int { return &a.at }

// join adds a sequence to the account of that key, which is made if need be.
func (l *ledger) join(key uint64, weight float64) *account {
	a := l.accounts[key]
	switch {
	case a == nil:
		a = &account{key: key, served: l.now}
		l.accounts[key] = a
	case a.members == 0:
		l.idle.drop(a)
	default:
		l.weight -= a.weight
	}
	a.weight = weight
	l.weight += weight
	a.members++
	return a
}

// leave takes a sequence from an account. Of too many that are idle the ledger
// forgets the one whose debt is the least, so that nobody gets rid of a debt by
// making up names: each would have to owe more.
func (l *ledger) leave(a *account) {
	if a.members--; a.members > 0 {
		return
	}
	l.weight -= a.weight
	l.idle.add(a)
	if len(l.idle) > l.remember {
		least := l.idle.first()
		l.idle.drop(least)
		delete(l.accounts, least.key)
	}
}

// wait says whether an account waits for a turn.
func (l *ledger) wait(a *account, waits bool) {
	switch {
	case waits && !a.ready:
		l.events++
		a.served, a.arrived, a.ready = max(a.served, l.now), l.events, true
		l.waiting.add(a)
	case !waits && a.ready:
		a.ready = false
		l.waiting.drop(a)
	}
}

// begin is the turn of an account.
func (l *ledger) begin(a *account) {
	if len(l.waiting) == 1 {
		l.now = a.served // there is nobody else to be ahead of
	}
	l.now = max(l.now, a.served)
	l.events++
	a.turn = l.events
	a.running++
}

// charge counts tokens served.
func (l *ledger) charge(a *account, price float64) {
	l.now += price / l.weight
	a.served += price / a.weight
	if a.ready {
		l.waiting.moved(a)
	}
}

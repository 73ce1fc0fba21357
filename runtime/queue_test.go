package runtime

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// market is a queue beside slots that serve it; what requests cost is all that is
// known of them.
type market struct {
	q       queue
	slots   int
	ids     uint64
	running []*sequence
	left    map[*sequence]int // completion tokens to come
	active  map[string]*trader
	refill  func() // after each start
	charged func(s *sequence, price int)

	weights float64 // of the active tenants
	fair    float64 // what a tenant of weight 1 has a right to that is always active
}

// trader is a tenant, with what its sequences were served.
type trader struct {
	*Tenant
	sequences, waiting int
	served             float64
}

func newMarket(slots int) *market {
	return &market{q: newQueue(), slots: slots, left: map[*sequence]int{}, active: map[string]*trader{}, refill: func() {}, charged: func(*sequence, int) {}}
}

func (m *market) push(t *Tenant, group string, prompt, completion int) {
	r := m.active[t.Name]
	if r == nil {
		r = &trader{Tenant: t}
		m.active[t.Name] = r
		m.weights += float64(t.Weight)
	}
	r.sequences++
	r.waiting++
	m.ids++
	s := &sequence{id: m.ids, party: partyOf(t, group, nil), request: &Request{Prompt: make([]int32, prompt), Tenant: t, Group: group}}
	m.left[s] = completion
	m.q.push(s)
}

func (m *market) served(s *sequence, price int) {
	m.active[s.request.Tenant.Name].served += float64(price)
	m.fair += float64(price) / m.weights
	m.charged(s, price)
}

func (m *market) gone(s *sequence) {
	delete(m.left, s)
	name := s.request.Tenant.Name
	r := m.active[name]
	if r.sequences--; r.sequences == 0 {
		delete(m.active, name)
		m.weights -= float64(r.Weight)
	}
}

// start fills the slots.
func (m *market) start() {
	for len(m.running) < m.slots {
		s := m.q.first()
		if s == nil {
			return
		}
		m.q.pop(s)
		m.active[s.request.Tenant.Name].waiting--
		m.served(s, promptPrice*len(s.request.Prompt))
		m.running = append(m.running, s)
		m.refill()
	}
}

// step fills the slots and makes a token of each running sequence.
func (m *market) step() {
	m.start()
	kept := m.running[:0]
	for _, s := range m.running {
		m.q.charge(s, completionPrice)
		m.served(s, completionPrice)
		if m.left[s]--; m.left[s] > 0 {
			kept = append(kept, s)
			continue
		}
		m.q.leave(s)
		m.gone(s)
	}
	m.running = kept
}

// TestBacklogGetsItsShare: whatever others do, with many tenants, many groups,
// requests of any size and requests that they take back, a tenant that always has
// something waiting gets, over any time, its share by weight of all that is served
// in that time, but for the price of one request of its own and of one for each
// slot, which others may have been given before. And two such tenants get the same
// by weight, but for what each may have in the slots (Sheng et al., theorem 4.4).
func TestBacklogGetsItsShare(t *testing.T) {
	const most = 20 // tokens of a prompt, and of a completion
	const dearest = promptPrice*most + completionPrice*most
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, most)
		weight := rapid.IntRange(1, 4)
		m := newMarket(rapid.SampledFrom([]int{1, 2, 8}).Draw(t, "slots"))
		steady := make([]*Tenant, rapid.IntRange(1, 4).Draw(t, "tenants"))
		for i := range steady {
			steady[i] = &Tenant{Name: fmt.Sprint("steady ", i), Weight: weight.Draw(t, "weight")}
		}
		own := rapid.IntRange(1, most).Draw(t, "own")
		m.refill = func() {
			for _, s := range steady {
				for m.active[s.Name] == nil || m.active[s.Name].waiting < 2 {
					m.push(s, "", rapid.IntRange(1, own).Draw(t, "prompt"), rapid.IntRange(1, own).Draw(t, "completion"))
				}
			}
		}
		m.refill()
		fresh := 0
		attack := func(tenant func() *Tenant) {
			for range rapid.IntRange(1, 10).Draw(t, "requests") {
				fresh++
				m.push(tenant(), fmt.Sprint(fresh), size.Draw(t, "prompt"), size.Draw(t, "completion"))
			}
		}
		leastLag, most, least := map[string]float64{}, map[[2]string]float64{}, map[[2]string]float64{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"tenants", "groups", "takes back", ""}).Draw(t, "attack") {
			case "tenants":
				attack(func() *Tenant { return &Tenant{Name: fmt.Sprint("fresh ", fresh), Weight: weight.Draw(t, "weight")} })
			case "groups":
				attack(func() *Tenant { return &Tenant{Name: "many", Weight: 2} })
			case "takes back":
				m.q.remove(func(s *sequence) bool {
					if strings.HasPrefix(s.request.Tenant.Name, "steady") || !rapid.Bool().Draw(t, "this") {
						return false
					}
					m.active[s.request.Tenant.Name].waiting--
					m.gone(s)
					return true
				})
			}
			m.step()
			for _, s := range steady {
				w, served := float64(s.Weight), m.active[s.Name].served
				lag := m.fair*w - served
				leastLag[s.Name] = min(leastLag[s.Name], lag)
				if behind := lag - leastLag[s.Name]; behind > float64(1+m.slots)*dearest {
					t.Fatalf("%s is %.0f tokens behind its share, %.1f requests", s.Name, behind, behind/dearest)
				}
				for _, o := range steady {
					pair := [2]string{s.Name, o.Name}
					d := served/w - m.active[o.Name].served/float64(o.Weight)
					most[pair], least[pair] = max(most[pair], d), min(least[pair], d)
					if bound := float64(m.slots*dearest) * (1/w + 1/float64(o.Weight)); most[pair]-least[pair] > bound {
						t.Fatalf("%s and %s are %.0f apart, more than %.0f", s.Name, o.Name, most[pair]-least[pair], bound)
					}
				}
			}
		}
	})
}

// TestWeights: those who always wait get what their weights say, and the groups of
// a tenant the same as each other.
func TestWeights(t *testing.T) {
	for _, slots := range []int{1, 4, 16} {
		m := newMarket(slots)
		served := map[string]float64{}
		tenants := []*Tenant{{Name: "one", Weight: 1}, {Name: "two", Weight: 2}, {Name: "five", Weight: 5}}
		for i := range 9000 {
			who := tenants[i%3]
			m.push(who, fmt.Sprint(i%(3*who.Weight)), 1+i%7, 1+i%11)
		}
		m.charged = func(s *sequence, price int) {
			served[s.request.Tenant.Name] += float64(price)
			served[s.request.Tenant.Name+s.request.Group] += float64(price)
		}
		for range 20000 / slots {
			m.step()
		}
		for _, who := range tenants {
			if got, want := served[who.Name]/m.fair, float64(who.Weight); math.Abs(got-want) > 0.02*want {
				t.Errorf("%d slots: %s got %.3f of a share", slots, who.Name, got)
			}
			for g := range 3 * who.Weight {
				if got, any := served[who.Name+fmt.Sprint(g)], served[who.Name]; got > 0 && math.Abs(got*float64(who.Weight)/any-1) > 0.1 {
					t.Errorf("%d slots: group %d of %s got %.0f of %.0f", slots, g, who.Name, got, any)
				}
			}
		}
	}
}

// TestNobodyStarves: one that owes as much as anybody can waits no longer than
// until those who may wait beside it have been served as much, though each of them
// is new and more come without end.
func TestNobodyStarves(t *testing.T) {
	for _, fresh := range []string{"tenants", "groups"} {
		m := newMarket(1)
		debtor := &Tenant{Name: "debtor", Weight: 1}
		attacker := func(i int) (*Tenant, string) {
			if fresh == "groups" { // of its own tenant
				return debtor, fmt.Sprint("fresh ", i)
			}
			return &Tenant{Name: fmt.Sprint("fresh ", i), Weight: 1}, ""
		}
		const beside, debt = 30, promptPrice*10 + completionPrice*500
		i := 0
		flood := func() {
			for len(m.q.waiting) < beside {
				i++
				who, group := attacker(i)
				m.push(who, group, 1, 5)
			}
		}
		m.push(debtor, "debtor", 10, 500)
		m.start()
		flood()
		for len(m.running) > 0 && m.running[0].request.Group == "debtor" {
			m.step()
		}
		m.push(debtor, "debtor", 1, 1)
		fair, running := m.fair, func() bool {
			m.start()
			return m.running[0].request.Group == "debtor"
		}
		served := 0
		for !running() {
			flood()
			m.step()
			if served++; served > (beside+1)*debt {
				t.Fatalf("%s: after %d tokens and %.0f of fair share the debtor still waits", fresh, served, m.fair-fair)
			}
		}
	}
}

// TestNewOnesBeginAtThePresent: who comes anew, or back from a pause, is neither
// ahead of those who have been served for long nor behind them.
func TestNewOnesBeginAtThePresent(t *testing.T) {
	m := newMarket(1)
	old, young := &Tenant{Name: "old", Weight: 1}, &Tenant{Name: "young", Weight: 1}
	starts := func() (order string) {
		for range 200 {
			before := len(m.running)
			if m.start(); len(m.running) > before {
				order += m.running[0].request.Tenant.Name[:1]
			}
			m.step()
		}
		return order
	}
	for range 40 {
		m.push(old, "", 10, 5)
	}
	starts() // all of them
	for range 2 {
		for range 10 {
			m.push(old, "", 10, 5)
			m.push(young, "", 10, 5)
		}
		order := starts()
		for i := 2; i <= len(order); i += 2 {
			if d := strings.Count(order[:i], "o") - strings.Count(order[:i], "y"); d < -1 || d > 1 {
				t.Errorf("they began in the order %s", order)
			}
		}
		for range 40 { // while the young one pauses
			m.push(old, "", 10, 5)
		}
		starts()
	}
}

// TestDebtsAreRemembered: whoever owes more than others, as a tenant or as a group,
// gets rid of it neither by a pause nor by making up any number of names, and what
// is remembered of those has a bound.
func TestDebtsAreRemembered(t *testing.T) {
	for _, level := range []string{"tenants", "groups"} {
		m := newMarket(2)
		who := func(name string) (*Tenant, string) {
			if level == "groups" {
				return &Tenant{Name: "one", Weight: 1}, name
			}
			return &Tenant{Name: name, Weight: 1}, ""
		}
		push := func(name string, prompt int) {
			t, group := who(name)
			m.push(t, group, prompt, 1)
		}
		rest := func() {
			for len(m.q.waiting)+len(m.running) > 0 {
				m.step()
			}
		}
		flood := func(kind string) {
			for i := range 3 * idleTenants {
				push(strings.Repeat(kind, 1000)+fmt.Sprint(i), 1)
				if i%2 == 0 {
					m.step()
				}
			}
			rest()
		}
		flood("x")
		push("other", 1)
		push("debtor", 10000) // half of that is owed to the other
		rest()
		m.slots = 1
		flood("y")
		if n := len(m.q.tenants.accounts); n > idleTenants || n != len(m.q.tenants.idle) {
			t.Errorf("%s: %d tenants are remembered", level, n)
		}
		for _, a := range m.q.tenants.accounts {
			if n := len(a.groups.accounts); n > idleGroups || n != len(a.groups.idle) {
				t.Errorf("%s: %d groups are remembered", level, n)
			}
		}
		push("running", 1)
		m.start()
		push("debtor", 1)
		for range 100 {
			push("other", 1)
		}
		for order := 0; ; order++ {
			m.step()
			m.start()
			if r := m.running[0].request; r.Group == "debtor" || r.Tenant.Name == "debtor" {
				if order < 99 {
					t.Errorf("%s: the debtor began after %d requests of the other", level, order)
				}
				break
			}
		}
		if math.IsNaN(m.q.tenants.now) {
			t.Error("the present is lost")
		}
	}
}

// TestRunningIsLimited: a tenant at its limit is passed over, whatever its share
// is, and saves up nothing by it.
func TestRunningIsLimited(t *testing.T) {
	m := newMarket(4)
	narrow, wide := &Tenant{Name: "narrow", Weight: 10, Running: 1}, &Tenant{Name: "wide", Weight: 1}
	for range 50 {
		m.push(narrow, "", 1, 10)
		m.push(wide, "", 1, 10)
	}
	running := func(t *Tenant) (n int) {
		for _, s := range m.running {
			if s.request.Tenant.Name == t.Name {
				n++
			}
		}
		return n
	}
	for range 100 {
		m.start()
		if running(narrow) != 1 || running(wide) != 3 {
			t.Fatalf("%d and %d run", running(narrow), running(wide))
		}
		m.step()
	}
	wider := &Tenant{Name: "narrow", Weight: 1}
	m.push(wider, "", 1, 10)
	w, n := m.active["wide"].served, m.active["narrow"].served
	for range 80 {
		m.step()
	}
	w, n = m.active["wide"].served-w, m.active["narrow"].served-n
	if w < 0.8*n || n < 0.8*w {
		t.Errorf("the wide one got %.0f tokens, the one that was narrow %.0f", w, n)
	}
}

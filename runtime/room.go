package runtime

import (
	"container/list"
	"fmt"
)

// room is the places of those that wait for a slot or for their adapter. While
// there are free ones everybody gets one. When there are none, who holds fewer
// than others, by weight, gets a place of the tenant that holds the most, whose
// newest request of its largest group has to go: so no tenant can fill the room,
// and within a tenant no group the places that the tenant has.
//
// Who comes while slots are free does not wait but for the step under way, and
// needs none of the places.
type room struct {
	places, slots int
	waiting       int
	running       int // with a slot, or preempted
	tenants       map[uint64]*holder
	most          ranking[*holder]
}

// holder is a tenant or a group with sequences.
type holder struct {
	key              uint64
	weight           float64
	waiting, running int
	at               int // in most, while some wait

	groups map[uint64]*holder // a tenant's, while some wait
	most   ranking[*holder]   // a tenant's groups
	line   list.List          // a group's, of *place: the newest at the back
}

// place is one in the room. Whoever has it is told by displaced, once, when it
// has been given to another.
type place struct {
	tenant, group *holder       // nil: it is not in the room
	inLine        *list.Element // nil: it has a slot
	displaced     func(error)
}

func newRoom(places, slots int) room {
	return room{places: places, slots: slots, tenants: map[uint64]*holder{}}
}

// share is how many places a holder has by its weight, if it had so many more.
func (h *holder) share(more int) float64 { return float64(h.waiting+more) / h.weight }

func (h *holder) before(o *holder) bool { return h.share(0) > o.share(0) }
func (h *holder) index() *int           { return &h.at }

// enter gives who a place, that of a request that is told so if need be.
func (r *room) enter(p *place, who party) error {
	t := r.tenants[who.tenant]
	if t == nil {
		t = &holder{key: who.tenant, groups: map[uint64]*holder{}}
	}
	g := t.groups[who.group]
	if g == nil {
		g = &holder{key: who.group, weight: 1}
	}
	if t.weight = who.weight; t.waiting > 0 {
		r.most.moved(t)
	}
	if err := r.find(t, g, who); err != nil {
		return err
	}
	r.waiting++
	r.tenants[t.key] = t
	t.groups[g.key] = g
	r.most = held(r.most, t, 1)
	t.most = held(t.most, g, 1)
	p.tenant, p.group, p.inLine = t, g, g.line.PushBack(p)
	return nil
}

// find sees to a free place for one more of the group g of the tenant t.
func (r *room) find(t, g *holder, who party) error {
	slots := max(r.slots-r.running, 0)
	own := slots // of those, what the tenant may have
	if who.running > 0 {
		own = min(own, max(who.running-t.running, 0))
	}
	from := t
	var full error
	switch {
	case who.waiting > 0 && t.waiting >= who.waiting+own:
		full = &LimitError{Tenant: who.name, Limit: "waiting", Most: who.waiting}
	case r.waiting < r.places+slots:
		return nil
	default:
		if most := r.most.first(); t.share(1) < most.share(0) {
			from = most
		}
		full = fmt.Errorf("%w: %d requests wait, %d of them of this tenant", ErrQueueFull, r.waiting, from.waiting)
	}
	if from.waiting == 0 {
		return full
	}
	largest := from.most.first()
	if from == t && g.share(1) >= largest.share(0) {
		return full
	}
	last := largest.line.Back().Value.(*place)
	r.exit(last)
	last.displaced(fmt.Errorf("%w, and this request's place has been given to one of a party that holds fewer", full))
	return nil
}

// begin turns a place into a slot.
func (r *room) begin(p *place) {
	if p.inLine == nil {
		return // a preempted one resumes
	}
	r.unlink(p)
	r.running++
	p.tenant.running++
}

// exit gives a place or slot back, if it still is one.
func (r *room) exit(p *place) {
	t := p.tenant
	switch {
	case t == nil:
		return
	case p.inLine != nil:
		r.unlink(p)
	default:
		r.running--
		t.running--
	}
	if t.waiting+t.running == 0 {
		delete(r.tenants, t.key)
	}
	p.tenant, p.group = nil, nil
}

func (r *room) unlink(p *place) {
	t, g := p.tenant, p.group
	g.line.Remove(p.inLine)
	p.inLine = nil
	r.waiting--
	r.most = held(r.most, t, -1)
	if t.most = held(t.most, g, -1); g.waiting == 0 {
		delete(t.groups, g.key)
	}
}

// held counts a holder's places, which is in the ranking while it has any.
func held(most ranking[*holder], h *holder, by int) ranking[*holder] {
	had := h.waiting > 0
	h.waiting += by
	switch {
	case !had:
		most.add(h)
	case h.waiting == 0:
		most.drop(h)
	default:
		most.moved(h)
	}
	return most
}

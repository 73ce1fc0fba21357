package catalogue

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// claim is what a load has of the memory for adapters.
//
// Loads that find no room stand in line, in the order they came. The first of
// them gets its turn: requests for the versions that have to leave for it are
// not let in any more but stand in line behind it, as loads that end with the
// version in memory if it is still there. So a busy adapter cannot keep another
// out, and nobody's running request is cut.
//
// A load in line holds no memory: what it has read is let go, and read again
// once room has been promised. That happens to an adapter that is larger than
// its files, once: the size of an unchanged folder is remembered.
// What is in memory beyond the budget is therefore what is being read, at most
// one adapter for each load slot.
type claim struct {
	need    int       // bytes; 0: not known before it has been read
	granted int       // bytes that it may take
	room    int       // of those, promised from the budget
	reuses  *version  // the rest comes from the version that it replaces
	ticket  uint64    // its place in line, in the order of begin
	since   time.Time // when it first asked for room
	waited  time.Duration
	passed  int // loads let past it while it was first

	turn   chan struct{} // closed when its wait is over; nil: it is not in line
	served bool          // by the version in memory
	err    error         // why it need not be loaded
}

// patience is how many loads that fit go ahead of the first one in line.
const patience = 8

// ask puts l in line, and reports whether it is out of it at once; c.mu is held.
func (c *Catalogue) ask(l *load) bool {
	if l.since.IsZero() {
		l.since = time.Now()
	}
	l.turn = make(chan struct{})
	at, _ := slices.BinarySearchFunc(c.line, l.ticket, func(l *load, ticket uint64) int { return cmp.Compare(l.ticket, ticket) })
	c.line = slices.Insert(c.line, at, l)
	c.arrange()
	return l.turn == nil
}

// await returns when l may go on, or need not any more: it has been served, or
// err says why.
func (c *Catalogue) await(l *load) (served bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	turn := l.turn
	if turn == nil {
		return l.served, l.err
	}
	c.mu.Unlock()
	start := time.Now()
	timer := time.NewTimer(c.options.Wait - start.Sub(l.since))
	defer timer.Stop()
	select {
	case <-turn:
	case <-timer.C:
	case <-c.ctx.Done():
	}
	c.mu.Lock()
	if l.turn != nil {
		c.giveUp(l)
	}
	l.waited += time.Since(start)
	return l.served, l.err
}

// giveUp takes l, which has waited long enough, out of the line; c.mu is held.
func (c *Catalogue) giveUp(l *load) {
	c.line = slices.DeleteFunc(c.line, func(other *load) bool { return other == l })
	l.turn = nil
	switch r := l.record; {
	case c.ctx.Err() != nil:
		l.err = ErrClosed
	case r.current != nil && r.current.serves(l.stamp) && !r.current.reserved():
		l.served = true
		c.finish(l, r.current, nil)
	default:
		l.err = c.versions.crowded(l, c.replaced(l))
	}
	c.arrange()
}

// arrange looks at the line after anything has changed that may give room, and
// lets those go on that have it. c.mu is held.
func (c *Catalogue) arrange() {
	var first *load
	c.line = slices.DeleteFunc(c.line, func(l *load) bool {
		r, old := l.record, c.replaced(l)
		switch {
		case l.abandoned:
			l.err = context.Canceled
		case l.candidate == nil && !c.stands(r):
			l.err = Unknown(r.name)
		case r.current != nil && r.current.serves(l.stamp):
			if r.current.evictFor != nil && (first != nil || r.current.reserved()) {
				return false
			}
			l.served = true
			c.finish(l, r.current, nil)
		case l.dir == "" && !isLocal(r.uri): // no room stands empty for a download
		case l.need+c.versions.pinned(old) > c.versions.budget:
			l.err = c.versions.crowded(l, old)
		case c.versions.exceeds(l, old, &l.err):
		case first != nil && first.passed == patience:
			return false
		case c.versions.promise(l, old):
			if first != nil {
				first.passed++
			}
		default:
			if first == nil {
				first = l
				c.versions.planEviction(l, old)
			}
			return false
		}
		close(l.turn)
		l.turn = nil
		return true
	})
	if first == nil {
		c.versions.cancelEviction()
	}
}

// promise gives l its room, freeing what is idle, if there is enough: of its
// owner's first, as far as their quota wants it.
func (r *residence) promise(l *load, old *version) bool {
	over := r.used + r.promised + l.need - r.budget
	spare, idle := old.spare(l), 0
	for _, v := range r.order.Keys() {
		if v != old && v.evictable() {
			idle += v.bytes
		}
	}
	if over > spare+idle {
		return false
	}
	own, err := r.leaving(l, old)
	if err != nil {
		return false
	}
	for _, v := range own {
		v.record.current = nil
		r.free(v)
		over -= v.bytes
	}
	l.granted, l.room = l.need, l.need
	if over > 0 && spare > 0 {
		over -= spare
		l.room = max(l.need-spare, 0)
		l.reuses, old.evictFor = old, l
	}
	for _, v := range r.order.Keys() {
		if over <= 0 {
			break
		}
		if v != old && v.evictable() {
			v.record.current = nil
			r.free(v)
			over -= v.bytes
		}
	}
	r.promised += l.room
	r.promises[l] = struct{}{}
	return true
}

// kept reports whether the promise to l is enough for it, and still holds.
func (r *residence) kept(l *load, old *version) bool {
	leaving, err := r.leaving(l, old)
	return l.granted >= l.need && r.used+r.promised-l.room+l.need-old.spare(l) <= r.budget && len(leaving) == 0 && err == nil
}

// withdraw ends the promise to l.
func (r *residence) withdraw(l *load) {
	r.promised -= l.room
	if l.reuses != nil {
		l.reuses.evictFor = nil
	}
	l.granted, l.room, l.reuses = 0, 0, nil
	delete(r.promises, l)
}

// planEviction chooses the versions that no request may take any more, so that l,
// the first in line, gets its room: no more than it needs, those chosen before
// and those not in use before others.
func (r *residence) planEviction(l *load, old *version) {
	rank := func(v *version) int {
		switch {
		case v == old:
			return 0
		case v.evictFor == l:
			return 1
		case v.holds == 0:
			return 2
		}
		return 3
	}
	lack := r.used + r.promised + l.need - r.budget
	var choice []*version
	for _, v := range r.order.Keys() {
		switch {
		case v.retired:
			lack -= v.bytes // leaves by itself
		case !v.reserved() && (v == old || !v.record.pinned):
			choice = append(choice, v)
		}
	}
	slices.SortStableFunc(choice, func(a, b *version) int { return cmp.Compare(rank(a), rank(b)) })
	n := 0
	for ; n < len(choice) && lack > 0; n++ {
		lack -= choice[n].bytes
	}
	r.cancelEviction()
	for _, v := range choice[:n] {
		if lack+v.bytes <= 0 {
			lack += v.bytes // enough without it
			continue
		}
		v.evictFor, r.evicting = l, true
	}
}

// cancelEviction lets requests take again what planEviction chose.
func (r *residence) cancelEviction() {
	if !r.evicting {
		return
	}
	r.evicting = false
	for _, v := range r.order.Keys() {
		if !v.reserved() {
			v.evictFor = nil
		}
	}
}

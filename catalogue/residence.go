package catalogue

import (
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// residence holds the loaded adapter versions within a budget of bytes. What
// no request holds and nobody pinned is evicted to make room, the least
// recently used first; nothing is evicted unless that makes room enough.
//
// The library's cache keeps the order alone: bytes, references and pins are
// counted here. The catalogue's lock guards it.
type residence struct {
	order    *simplelru.LRU[*version, struct{}]
	used     int // bytes
	promised int // bytes, to loads
	budget   int
	numbers  uint64
	combined map[string]*version // that requests hold, by what they combine
	evicting bool                // some versions are to leave for the first load in line
	promises map[*load]struct{}
	owner    func(name string) (owner string, bytes int) // nil: nobody's
	observer Observer
}

// version is one loaded adapter, or a combination of some, which takes no memory
// of its own, is in no order and ends with its last lease.
type version struct {
	number   uint64
	record   *record
	stamp    stamp // of the folder it came from
	adapter  Adapter
	warning  string // of its folder
	bytes    int
	holds    int // leases
	used     time.Time
	retired  bool  // no longer what its name stands for
	evictFor *load // for which it makes room: no new request gets it; nil: it stays

	parts []*version // of a combination
	key   string     // in combined
}

func newResidence(o Options) residence {
	order, err := simplelru.NewLRU[*version, struct{}](math.MaxInt, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return residence{
		order: order, budget: o.Bytes, combined: map[string]*version{}, promises: map[*load]struct{}{}, owner: o.Owner, observer: o.Observer,
	}
}

// serves reports whether v is what its folder, of that stamp now, holds. A
// registered folder may vanish once it is loaded.
func (v *version) serves(now stamp) bool {
	return v.stamp == now || now == stamp{} && !v.record.found
}

// evictable reports whether v may be freed.
func (v *version) evictable() bool { return v.holds == 0 && !v.record.pinned && !v.reserved() }

// reserved reports whether the load that is to replace v counts on its room.
func (v *version) reserved() bool { return v.evictFor != nil && v.evictFor.reuses == v }

// spare is what is free for l once it has replaced v, which may be nil. The pin
// of v's record means nothing then.
func (v *version) spare(l *load) int {
	if v == nil || v.holds > 0 || v.reserved() && v.evictFor != l {
		return 0
	}
	return v.bytes
}

// install makes a, for which there is room, the current version of l's record.
// It takes the place of old, if there is one.
func (r *residence) install(l *load, a Adapter, old *version) *version {
	r.withdraw(l)
	if old != nil {
		old.record.current = nil
		r.retire(old)
	}
	r.numbers++
	v := &version{number: r.numbers, record: l.record, stamp: l.stamp, adapter: a, warning: l.warning, bytes: a.Bytes(), used: time.Now()}
	l.record.current = v
	l.record.bytes, l.record.sized = v.bytes, v.stamp
	r.used += v.bytes
	r.order.Add(v, struct{}{})
	return v
}

// touch keeps old, whose files were touched and not changed, as the version of
// l's record.
func (r *residence) touch(l *load, old *version) *version {
	r.withdraw(l)
	old.stamp, old.warning = l.stamp, l.warning
	old.record.current = nil
	old.record, l.record.current = l.record, old
	l.record.bytes, l.record.sized = old.bytes, old.stamp
	return old
}

// tooLarge is why something of that size never has room.
func (r *residence) tooLarge(need int) error {
	return fmt.Errorf("%w: it takes %d bytes of a budget of %d", ErrSize, need, r.budget)
}

// crowded is why l has no room, though old may leave.
func (r *residence) crowded(l *load, old *version) error {
	idle, pinned := old.spare(l), r.pinned(old)
	for _, v := range r.order.Keys() {
		if v != old && v.evictable() {
			idle += v.bytes
		}
	}
	return fmt.Errorf("%w: it takes %d bytes of a budget of %d; %d are pinned, %d in use",
		ErrBudget, l.need, r.budget, pinned, r.used+r.promised-idle-pinned)
}

// pinned are the bytes of the pinned versions but for old.
func (r *residence) pinned(old *version) (bytes int) {
	for _, v := range r.order.Keys() {
		if v.record.pinned && !v.retired && v != old {
			bytes += v.bytes
		}
	}
	return bytes
}

// hold adds a reference, to a combination's parts too.
func (r *residence) hold(v *version) {
	v.holds++
	v.used = time.Now()
	r.order.Get(v)
	for _, part := range v.parts {
		r.hold(part)
	}
}

// drop ends one.
func (r *residence) drop(v *version) {
	v.holds--
	v.used = time.Now()
	for _, part := range v.parts {
		r.drop(part)
	}
	switch {
	case v.holds > 0:
	case v.parts != nil:
		delete(r.combined, v.key)
	case v.retired:
		r.free(v)
	}
}

// retire ends v's time as a name's current version: it is freed when nobody
// holds it.
func (r *residence) retire(v *version) {
	v.retired = true
	if v.holds == 0 {
		r.free(v)
	}
}

// free takes v out of memory. What a load counts on of its room becomes a
// promise from the budget.
func (r *residence) free(v *version) {
	r.order.Remove(v)
	r.used -= v.bytes
	if v.reserved() {
		l := v.evictFor
		rest := min(v.bytes, l.granted-l.room)
		l.room, l.reuses = l.room+rest, nil
		r.promised += rest
	}
	r.observer.Evicted(v.record.name, v.adapter.Digest(), v.bytes)
}

func (r *residence) all() []*version { return r.order.Keys() }

func (v *version) entry() Entry {
	e := Entry{
		Name: v.record.name, URI: v.record.uri, State: Resident, Pinned: v.record.pinned && !v.retired,
		References: v.holds, LastUsed: v.used,
		Adapter: v.adapter, Digest: v.adapter.Digest(), Method: v.adapter.Method(), Rank: v.adapter.Rank(), Bytes: v.bytes,
		Warning: v.warning, Percent: v.record.percent,
	}
	if v.retired {
		e.State, e.Percent = Draining, 0
	}
	return e
}

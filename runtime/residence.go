package runtime

import (
	"errors"
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
	budget   int
	numbers  uint64
	change   chan struct{} // closed when there may be room
	observer Observer
}

// version is one loaded adapter.
type version struct {
	number  uint64
	record  *record
	stamp   stamp // of the folder it came from
	adapter Adapter
	bytes   int
	holds   int // leases
	used    time.Time
	retired bool // no longer what its name stands for
}

// errBusy wraps ErrAdapterBudget where waiting may help.
var errBusy = errors.New("others are in use")

func newResidence(budget int, o Observer) residence {
	order, err := simplelru.NewLRU[*version, struct{}](math.MaxInt, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return residence{order: order, budget: budget, change: make(chan struct{}), observer: o}
}

// serves reports whether v is what its folder, of that stamp now, holds. A
// registered folder may vanish once it is loaded.
func (v *version) serves(now stamp) bool {
	return v.stamp == now || now == stamp{} && !v.record.found
}

// evictable reports whether v may be freed; replaced is a version about to be
// replaced, to which its record's pin means nothing any more.
func (v *version) evictable(replaced *version) bool {
	return v.holds == 0 && (!v.record.pinned || v == replaced)
}

// install makes a the current version of l's record, after making room. It
// takes the place of old, if there is one.
func (r *residence) install(l *load, a Adapter, old *version) (*version, error) {
	if old != nil && old.adapter.Digest() == a.Digest() && old.adapter.ChatTemplate() == a.ChatTemplate() {
		old.stamp = l.stamp // touched, not changed
		old.record.current = nil
		old.record, l.record.current = l.record, old
		return old, nil
	}
	need := a.Bytes()
	if need > r.budget {
		return nil, fmt.Errorf("%w: it takes %d bytes of a budget of %d", ErrAdapterSize, need, r.budget)
	}
	idle, pinned := 0, 0
	for _, v := range r.order.Keys() {
		if v.evictable(old) {
			idle += v.bytes
		} else if v.record.pinned && !v.retired && v != old {
			pinned += v.bytes
		}
	}
	if r.used-idle+need > r.budget {
		err := fmt.Errorf("%w: it takes %d bytes of a budget of %d; %d are pinned, %d in use",
			ErrAdapterBudget, need, r.budget, pinned, r.used-idle-pinned)
		if need+pinned <= r.budget {
			err = fmt.Errorf("%w (%w)", err, errBusy)
		}
		return nil, err
	}
	if old != nil {
		old.record.current = nil
		r.retire(old)
	}
	for _, v := range r.order.Keys() {
		if r.used+need <= r.budget {
			break
		}
		if v.evictable(nil) {
			v.record.current = nil
			r.free(v)
		}
	}
	r.numbers++
	v := &version{number: r.numbers, record: l.record, stamp: l.stamp, adapter: a, bytes: need, used: time.Now()}
	l.record.current = v
	r.used += need
	r.order.Add(v, struct{}{})
	return v, nil
}

// hold adds a reference.
func (r *residence) hold(v *version) {
	v.holds++
	v.used = time.Now()
	r.order.Get(v)
}

// drop ends one.
func (r *residence) drop(v *version) {
	v.holds--
	v.used = time.Now()
	if v.holds > 0 {
		return
	}
	if v.retired {
		r.free(v)
	}
	r.changed()
}

// retire ends v's time as a name's current version: it is freed when nobody
// holds it.
func (r *residence) retire(v *version) {
	v.retired = true
	if v.holds == 0 {
		r.free(v)
		r.changed()
	}
}

func (r *residence) free(v *version) {
	r.order.Remove(v)
	r.used -= v.bytes
	r.observer.Evicted(v.record.name, v.adapter.Digest(), v.bytes)
}

// changed tells those who wait for room to look again.
func (r *residence) changed() {
	close(r.change)
	r.change = make(chan struct{})
}

func (r *residence) all() []*version { return r.order.Keys() }

func (v *version) entry() Entry {
	e := Entry{
		Name: v.record.name, URI: v.record.uri, State: Resident, Pinned: v.record.pinned && !v.retired,
		References: v.holds, LastUsed: v.used,
		Adapter: v.adapter, Digest: v.adapter.Digest(), Method: v.adapter.Method(), Rank: v.adapter.Rank(), Bytes: v.bytes,
	}
	if v.retired {
		e.State = Draining
	}
	return e
}

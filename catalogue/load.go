package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"time"
)

// load is one load under way, shared by all who want its result.
type load struct {
	record *record
	stamp  stamp // of the folder when it began
	leases []*Lease

	candidate *Candidate // its record takes its name's place once it has loaded; nil: it has it
	moving    bool       // the candidate's files are being moved: the swap is made

	ctx       context.Context // ends when nobody wants the load any more
	cancel    context.CancelFunc
	abandoned bool

	warning string // what is to be known of its folder

	dir  string        // the local folder, once it is there
	took time.Duration // to read, and to bring it there
	claim
}

// unwanted reports whether all who wanted l have left; c.mu is held.
func (l *load) unwanted() bool {
	return !l.moving && !l.record.pinned && !slices.ContainsFunc(l.leases, func(l *Lease) bool { return l.holders > 0 })
}

// abandon cancels a load that nobody wants: who comes now begins anew. c.mu is
// held.
func (c *Catalogue) abandon(l *load) {
	l.abandoned = true
	l.cancel()
	if l.record.loading == l {
		l.record.loading = nil
	}
}

// provide gives l what r stands for, at once or when it has been loaded; c.mu
// is held.
func (c *Catalogue) provide(l *Lease, r *record, now stamp) {
	if under := c.need(r, now); under != nil {
		if l.ready == nil { // it is no heir of another load's
			l.waits()
		}
		l.load = under
		under.leases = append(under.leases, l)
		return
	}
	c.versions.hold(r.current)
	l.fulfil(r.current, nil)
}

// need returns the load that r waits for, after starting it; nil: its current
// version serves. c.mu is held.
func (c *Catalogue) need(r *record, now stamp) *load {
	if l := r.loading; l != nil {
		if l.turn != nil {
			l.stamp = now // it is still to be read
		}
		return l
	}
	if c.closed || r.serves(now) {
		return nil
	}
	l := &load{record: r, stamp: now}
	switch {
	case r.current != nil && r.current.serves(now):
		l.need = r.current.bytes
	case now == r.sized && isLocal(r.uri):
		l.need = r.bytes
	}
	c.begin(l)
	return l
}

// serves reports whether r's version in memory is what its folder, of that stamp
// now, holds, and is there for new requests.
func (r *record) serves(now stamp) bool {
	return r.loading == nil && r.current != nil && r.current.serves(now) && r.current.evictFor == nil
}

// begin starts a load; c.mu is held.
func (c *Catalogue) begin(l *load) {
	c.tickets++
	l.ticket = c.tickets
	l.ctx, l.cancel = context.WithCancel(c.ctx)
	l.record.loading = l
	c.work.Go(func() { c.run(l) })
}

// run loads the adapter of l's record and hands it to those who wait.
func (c *Catalogue) run(l *load) {
	defer l.cancel()
	c.mu.Lock()
	if l.need > 0 {
		c.ask(l)
	}
	c.mu.Unlock()
	served, err := c.obtain(l)
	if err != nil {
		err = c.fail(l, err)
		c.report(l, err)
	}
	if l.waited > 0 {
		c.options.Observer.Waited(l.record.name, l.waited)
	}
	if !served {
		c.options.Observer.Loaded(l.record.name, l.took, err)
	}
}

// obtain reads l's adapter and puts it in its place as soon as there is room;
// served: the version in memory has been handed out meanwhile.
func (c *Catalogue) obtain(l *load) (served bool, err error) {
	for placed := false; !placed; {
		if served, err = c.await(l); served || err != nil {
			return served, err
		}
		if asked, err := c.prepare(l); err != nil {
			return false, err
		} else if asked {
			continue
		}
		a, err := c.read(l)
		if err == nil {
			err = c.accept(l, a)
		}
		if err != nil {
			return false, c.ended(l, err)
		}
		if placed, err = c.place(l, a); err != nil {
			return false, err
		}
	}
	return false, nil
}

// ended is why a load ended: err, unless it was told to.
func (c *Catalogue) ended(l *load, err error) error {
	switch {
	case c.ctx.Err() != nil:
		return ErrClosed
	case l.ctx.Err() != nil:
		return context.Canceled
	}
	return err
}

// place gives an adapter that has been read its place in memory, and reports
// whether there was one: if not, l is in line for it.
func (c *Catalogue) place(l *load, a Adapter) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.replaced(l)
	l.need = a.Bytes()
	switch {
	case c.ctx.Err() != nil:
		return false, ErrClosed
	case l.abandoned:
		return false, context.Canceled
	case l.candidate == nil && old.standsFor(l, a):
	case l.need > c.versions.budget:
		return false, c.versions.tooLarge(l.need)
	case !c.versions.kept(l, old):
		c.versions.withdraw(l)
		if !c.ask(l) || l.served || l.err != nil {
			return l.served, l.err
		}
	}
	if l.candidate != nil {
		unlock, err := c.move(l)
		defer unlock()
		if err != nil {
			return false, err
		}
		old = c.replaced(l)
	}
	if l.candidate != nil && l.record.uri == VersionFolder(c.options.Dir, l.record.name, a.Digest()) {
		l.record.digest, l.record.found = a.Digest(), true
	}
	var v *version
	if old.standsFor(l, a) {
		v = c.versions.touch(l, old)
	} else {
		v = c.versions.install(l, a, old)
	}
	c.finish(l, v, nil)
	c.arrange()
	return true, nil
}

// standsFor reports whether v, which may be nil, may stand for what l has read:
// it is alike, and nobody else counts on its room.
func (v *version) standsFor(l *load, b Adapter) bool {
	if v == nil || v.reserved() && v.evictFor != l {
		return false
	}
	a := v.adapter
	return a.Digest() == b.Digest() && a.ChatTemplate() == b.ChatTemplate() &&
		a.Tokenizer() == b.Tokenizer() && slices.Equal(a.EndTokens(), b.EndTokens()) && reflect.DeepEqual(a.Sampling(), b.Sampling())
}

// fail ends a load that failed. A name that means something else by now is not
// blamed for it: those who wait get what it means.
func (c *Catalogue) fail(l *load, err error) error {
	var heir *record
	var now stamp
	switch {
	case c.ctx.Err() != nil:
		err = ErrClosed
	case l.candidate == nil && !errors.Is(err, context.Canceled):
		heir, now, err = c.reconsider(l.record, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		heir, err = nil, ErrClosed
	}
	c.versions.withdraw(l)
	if heir != nil {
		l.record.loading = nil // who found the record before takes it now
		for _, lease := range l.leases {
			if lease.holders > 0 {
				c.provide(lease, heir, now)
			}
		}
	} else {
		c.finish(l, nil, err)
	}
	c.arrange()
	return err
}

// report logs why l failed, unless nobody is to blame: it was removed, or is not
// wanted any more.
func (c *Catalogue) report(l *load, err error) {
	removed := errors.Is(err, ErrUnknown) && !errors.Is(err, fs.ErrNotExist)
	if !removed && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
		c.options.Log.Warn("adapter not loaded", "adapter", l.record.name, "source", l.record.uri, "error", err)
	}
}

// reconsider looks at what the name of r, which could not be loaded, means now:
// another record, nothing, or r, and then err stands.
func (c *Catalogue) reconsider(r *record, err error) (heir *record, now stamp, _ error) {
	again, now, unknown := c.resolve(r.name, "")
	c.mu.Lock()
	stands := c.stands(r)
	c.mu.Unlock()
	switch {
	case stands:
	case unknown != nil:
		return nil, now, unknown
	default:
		return again, now, fmt.Errorf("%w: it has been replaced", ErrUnknown)
	}
	if dir, ok := local(r.uri); ok && r.digest == "" {
		if _, gone := os.Stat(dir); errors.Is(gone, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrUnknown, gone)
		}
	}
	return nil, now, err
}

// finish hands the result of a load to those who wait; c.mu is held.
func (c *Catalogue) finish(l *load, v *version, err error) {
	r := l.record
	if r.loading == l {
		r.loading, r.failure = nil, failure{}
		if err != nil {
			r.failure = failure{err, time.Now().Add(c.options.Retry), l.stamp}
		}
	}
	for _, lease := range l.leases {
		if lease.holders == 0 {
			continue
		}
		if err == nil {
			c.versions.hold(v)
		}
		lease.fulfil(v, err)
	}
	if err == nil && l.candidate != nil {
		c.enter(l)
	}
	if err == nil && !c.stands(r) { // removed or replaced meanwhile
		r.current = nil
		c.versions.retire(v)
	}
}

// wants is the digest that l's adapter has to have; empty: any.
func (l *load) wants() string {
	if l.candidate != nil {
		return l.candidate.Digest
	}
	return l.record.digest
}

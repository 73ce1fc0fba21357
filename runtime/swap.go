package runtime

import (
	"context"
	"sync"
)

// Swap loads what uri names and registers it under name only if that succeeds
// and check, which may be nil, accepts it: until then, and after a failure, the
// name means what it meant before, and requests go on being answered by that. A
// pin stays.
func (c *Catalogue) Swap(ctx context.Context, name, uri string, check func(context.Context, Adapter) error) (Entry, error) {
	if err := checkName(name); err != nil {
		return Entry{}, err
	}
	uri, err := c.checkSource(uri)
	if err != nil {
		return Entry{}, ofAdapter(name, err)
	}
	var now stamp
	if dir, ok := local(uri); ok {
		now, _ = stampOf(dir) // what is wrong with it shows when it is loaded
	}
	done := make(chan struct{})
	l := &lease{catalogue: c, notify: sync.OnceFunc(func() { close(done) })}
	defer l.release()
	r := &record{name: name, uri: uri}
	candidate := &load{record: r, stamp: now, candidate: true, check: check, leases: []*lease{l}}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return Entry{}, ErrClosed
	}
	c.begin(candidate)
	c.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		if !l.ready() {
			candidate.abandoned = true
			return Entry{}, ctx.Err()
		}
		return c.swapped(name, l)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.swapped(name, l)
}

// swapped is the outcome of a load that has ended; c.mu is held.
func (c *Catalogue) swapped(name string, l *lease) (Entry, error) {
	if l.err != nil {
		return Entry{}, ofAdapter(name, l.err)
	}
	return l.version.entry(), nil
}

// replaced is the version that a load is to take the place of, if any; c.mu is
// held.
func (c *Catalogue) replaced(l *load) *version {
	r := l.record
	if l.candidate {
		r = c.records[r.name]
	}
	if r == nil {
		return nil
	}
	return r.current
}

// enter puts a candidate that has loaded in its name's place; c.mu is held.
func (c *Catalogue) enter(r *record) {
	if old := c.records[r.name]; old != nil {
		r.pinned = old.pinned
		c.forget(old)
	}
	delete(c.hidden, r.name)
	c.records[r.name] = r
}

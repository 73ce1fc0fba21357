package catalogue

import (
	"context"
	"fmt"
	"sync"
)

// Role is what a version is to its name.
type Role int

const (
	Live   Role = iota // it answers
	Canary             // it answers some sessions
	Kept               // it lies on the disk
)

// Candidate is a version that is to take a name's place.
type Candidate struct {
	Name, URI string
	New       bool   // refused with ErrExists where the name is known
	As        Role   // what it is to be; live
	Digest    string // that it has to have; empty: any

	// Check and Probe, which may be nil, refuse the adapter that has been
	// loaded. What Probe says, nil or a WithdrawnError, is remembered by the
	// adapter's digest, and not asked again; ErrInconclusive refuses nothing.
	Check, Probe func(context.Context, Adapter) error

	// Move moves the files, as they are, to the folder where the name is to
	// find them and returns its path; nil: they stay. It comes last, and no
	// other Move or Remove of the name runs beside it.
	Move func() (dir string, err error)
}

// Swap loads a candidate, as any load does, and gives it its name only if that
// succeeds and it passes its checks: until then, and after a failure, the name
// means what it meant before, and requests go on being answered by that. A pin
// stays. The version is in memory then. When ctx ends, so does the load, unless
// the files are being moved.
func (c *Catalogue) Swap(ctx context.Context, candidate Candidate) (Entry, error) {
	name := candidate.Name
	if err := checkName(name); err != nil {
		return Entry{}, err
	}
	if candidate.New {
		if _, _, err := c.resolve(name, ""); err == nil {
			return Entry{}, fmt.Errorf("%w: %q", ErrExists, name)
		}
	}
	uri, err := c.checkSource(candidate.URI)
	if err != nil {
		return Entry{}, OfAdapter(name, err)
	}
	var now stamp
	if dir, ok := local(uri); ok {
		now, _ = c.listings.read(dir) // what is wrong with it shows when it is loaded
	}
	l := c.newLease(name)
	l.waits()
	defer l.Release()
	under := &load{record: &record{name: name, uri: uri}, stamp: now, candidate: &candidate, leases: []*Lease{l}}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return Entry{}, ErrClosed
	}
	l.load = under
	c.begin(under)
	c.mu.Unlock()
	if err := l.Wait(ctx); err != nil && !l.Ready() {
		c.mu.Lock()
		ended := !under.moving && !l.Ready()
		if ended {
			c.abandon(under)
		}
		c.mu.Unlock()
		if ended {
			return Entry{}, err
		}
		<-l.ready
	}
	if err := l.Err(); err != nil {
		return Entry{}, err
	}
	l.Release()
	c.mu.Lock()
	defer c.mu.Unlock()
	return l.version.entry(), nil
}

// move moves a candidate's files and returns what lets others move theirs to
// the same name: after the candidate has entered. c.mu is held, but not
// meanwhile.
func (c *Catalogue) move(l *load) (unlock func(), err error) {
	r, candidate := l.record, l.candidate
	c.mu.Unlock()
	unlock, err = c.moves.lock(l.ctx, r.name)
	c.mu.Lock()
	switch {
	case err != nil:
		return func() {}, c.ended(l, err)
	case l.abandoned:
		return unlock, context.Canceled
	case candidate.New && c.records[r.name] != nil:
		return unlock, fmt.Errorf("%w: %q", ErrExists, r.name)
	}
	l.moving = true
	if candidate.Move == nil {
		return unlock, nil
	}
	c.mu.Unlock()
	dir, err := c.moveFiles(l)
	c.mu.Lock()
	if err == nil {
		r.uri = dir
		c.warn(dir, l.stamp, l.warning)
	}
	return unlock, err
}

// moveFiles asks the candidate's Move.
func (c *Catalogue) moveFiles(l *load) (dir string, err error) {
	defer c.rescue(&err, l.record.name)
	return l.candidate.Move()
}

// replaced is the version that a load is to take the place of, if any; c.mu is
// held.
func (c *Catalogue) replaced(l *load) *version {
	r := l.record
	if l.candidate != nil {
		switch l.candidate.As {
		case Live:
			r = c.records[r.name]
		case Canary:
			r = c.canaries[r.name]
		case Kept:
			return nil
		}
	}
	if r == nil {
		return nil
	}
	return r.current
}

// enter puts a candidate that has loaded in the place that it is to have; c.mu is
// held.
func (c *Catalogue) enter(l *load) {
	r := l.record
	live, canary := c.records[r.name], c.canaries[r.name]
	if live != nil {
		r.pinned = live.pinned
	}
	switch l.candidate.As {
	case Live:
		if live != nil {
			c.forget(live)
		}
		if canary != nil && (canary.digest == r.digest || c.elsewhere(r)) {
			c.forget(canary)
		}
		delete(c.hidden, r.name)
		c.records[r.name] = r
	case Canary:
		if canary != nil {
			c.forget(canary)
		}
		c.canaries[r.name] = r
	case Kept:
		r.pinned = false
	}
}

// nameLocks lets one at a time move the files of a name.
type nameLocks struct {
	mu    sync.Mutex
	locks map[string]*nameLock
}

type nameLock struct {
	held  chan struct{} // full while it is
	users int
}

// lock waits for the name, until ctx ends, and returns what releases it.
func (n *nameLocks) lock(ctx context.Context, name string) (unlock func(), err error) {
	n.mu.Lock()
	if n.locks == nil {
		n.locks = map[string]*nameLock{}
	}
	l := n.locks[name]
	if l == nil {
		l = &nameLock{held: make(chan struct{}, 1)}
		n.locks[name] = l
	}
	l.users++
	n.mu.Unlock()
	leave := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(n.locks, name)
		}
	}
	unlock = func() { <-l.held; leave() }
	select {
	case l.held <- struct{}{}:
		if err = ctx.Err(); err != nil {
			unlock()
		}
	case <-ctx.Done():
		err = ctx.Err()
		leave()
	}
	return unlock, err
}

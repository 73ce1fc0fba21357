package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// load is one load under way, shared by all who want its result.
type load struct {
	record *record
	stamp  stamp // of the folder when it began
	leases []*lease

	candidate bool // its record takes its name's place once it has loaded: see Swap
	abandoned bool // nobody wants the candidate any more
}

// lease is one request's hold on an adapter. A nil lease is the base's.
type lease struct {
	catalogue *Catalogue
	notify    func()
	version   *version
	err       error
	done      atomic.Bool // version or err is set
	released  bool
}

// acquire returns a hold on the adapter that name stands for now. If it has to
// be loaded first, notify is called when the lease is ready; it must not
// block. Failures of the last seconds are returned at once.
func (c *Catalogue) acquire(name string, notify func()) (*lease, error) {
	r, now, err := c.resolve(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, ErrClosed
	case r.failure.err != nil && r.failure.stamp == now && time.Now().Before(r.failure.until):
		return nil, ofAdapter(name, r.failure.err)
	}
	l := &lease{catalogue: c, notify: notify}
	if under := c.need(r, now); under != nil {
		under.leases = append(under.leases, l)
	} else {
		c.versions.hold(r.current)
		l.version = r.current
		l.done.Store(true)
	}
	return l, nil
}

// need returns the load that r waits for, after starting it; nil: its current
// version serves. c.mu is held.
func (c *Catalogue) need(r *record, now stamp) *load {
	if r.loading == nil {
		if r.current != nil && r.current.serves(now) || c.closed {
			return nil
		}
		r.loading = &load{record: r, stamp: now}
		c.work.Go(func() { c.run(r.loading) })
	}
	return r.loading
}

// run loads the adapter of l's record and hands it to those who wait.
func (c *Catalogue) run(l *load) {
	start := time.Now()
	var a Adapter
	dir, err := c.download(l.record.uri)
	if err == nil {
		select {
		case c.slots <- struct{}{}:
			a, err = c.fetchUnchanged(l, dir)
			defer func() { <-c.slots }()
		case <-c.ctx.Done():
		}
	}
	if c.ctx.Err() != nil {
		err = ErrClosed
	}
	c.mu.Lock()
	var v *version
	if err == nil {
		v, err = c.settle(l, a)
	}
	c.finish(l, v, err)
	c.mu.Unlock()
	c.options.Observer.Loaded(l.record.name, time.Since(start), err)
}

// settle gives a loaded adapter a place in memory, waiting for one if others
// are in use. c.mu is held, but not while it waits.
func (c *Catalogue) settle(l *load, a Adapter) (*version, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.options.Wait)
	defer cancel()
	for {
		if l.abandoned {
			return nil, context.Canceled
		}
		v, err := c.versions.install(l, a, c.replaced(l))
		if !errors.Is(err, errBusy) || ctx.Err() != nil {
			return v, err
		}
		change := c.versions.change
		c.mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
		}
		c.mu.Lock()
	}
}

// finish hands the result of a load to those who wait; c.mu is held.
func (c *Catalogue) finish(l *load, v *version, err error) {
	r := l.record
	r.loading, r.failure = nil, failure{}
	if err != nil {
		r.failure = failure{err, time.Now().Add(c.options.Retry), l.stamp}
	}
	for _, lease := range l.leases {
		if lease.released {
			continue
		}
		if lease.err = err; err == nil {
			c.versions.hold(v)
			lease.version = v
		}
		lease.done.Store(true)
		lease.notify()
	}
	if err == nil && l.candidate {
		c.enter(r)
	}
	if err == nil && c.records[r.name] != r { // removed or replaced meanwhile
		r.current = nil
		c.versions.retire(v)
	}
}

// download brings what a URI names to a local folder. Loads from a disk do not
// wait for those that a network holds up: they have slots of their own.
func (c *Catalogue) download(uri string) (dir string, err error) {
	if dir, ok := local(uri); ok {
		return dir, nil
	}
	select {
	case c.downloads <- struct{}{}:
		defer func() { <-c.downloads }()
	case <-c.ctx.Done():
		return "", ErrClosed
	}
	defer rescueLoad(&err)
	return c.options.Schemes[schemeOf(uri)](c.ctx, uri)
}

// fetchUnchanged loads until the folder stays the same meanwhile, lest the
// adapter is half of one version and half of another.
func (c *Catalogue) fetchUnchanged(l *load, dir string) (Adapter, error) {
	s := Source{Name: l.record.name, URI: l.record.uri, Dir: filepath.Clean(dir)}
	for range 3 {
		a, err := c.fetch(s)
		dir, ok := local(s.URI)
		if !ok {
			return a, err
		}
		now, _ := stampOf(dir)
		if now == l.stamp {
			return a, err
		}
		l.stamp = now
	}
	return nil, fmt.Errorf("%w: %s keeps changing", ErrAdapterSource, l.record.uri)
}

// fetch calls the loader.
func (c *Catalogue) fetch(s Source) (a Adapter, err error) {
	defer rescueLoad(&err)
	return c.loader(c.ctx, s)
}

// rescueLoad, deferred, makes an error of a loader's or a scheme's panic.
func rescueLoad(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: loading panicked: %v\n%s", ErrPanic, r, debug.Stack())
	}
}

// ready reports whether the adapter is there, or failed to load.
func (l *lease) ready() bool { return l == nil || l.done.Load() }

// failure is why the adapter could not be loaded.
func (l *lease) failure() error {
	if l == nil {
		return nil
	}
	return l.err
}

func (l *lease) adapter() Adapter {
	if l == nil || !l.ready() || l.version == nil {
		return nil
	}
	return l.version.adapter
}

func (l *lease) digest() string {
	if a := l.adapter(); a != nil {
		return a.Digest()
	}
	return ""
}

// virtual is the number of positions before the prompt.
func (l *lease) virtual() int {
	if a := l.adapter(); a != nil {
		return a.PrefixTokens() + a.VirtualTokens()
	}
	return 0
}

// release ends the hold, loaded or not.
func (l *lease) release() {
	if l == nil {
		return
	}
	c := l.catalogue
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.released {
		return
	}
	l.released = true
	if l.version != nil {
		c.versions.drop(l.version)
	}
}

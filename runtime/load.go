package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// load is one load under way, shared by all who want its result.
type load struct {
	record *record
	stamp  stamp // of the folder when it began
	leases []*lease

	candidate bool                                 // its record takes its name's place once it has loaded: see Swap
	abandoned bool                                 // nobody wants the candidate any more
	check     func(context.Context, Adapter) error // of a candidate; nil: none

	warning string // what is to be known of its folder

	dir  string        // the local folder, once it is there
	took time.Duration // to read, and to bring it there
	claim
}

// lease is one request's hold on an adapter. A nil lease is the base's.
type lease struct {
	catalogue *Catalogue // nil: a probe's, of an adapter that has no name yet
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
	c.provide(l, r, now)
	return l, nil
}

// provide gives l what r stands for, at once or when it has been loaded; c.mu
// is held.
func (c *Catalogue) provide(l *lease, r *record, now stamp) {
	if under := c.need(r, now); under != nil {
		under.leases = append(under.leases, l)
		return
	}
	c.versions.hold(r.current)
	l.version = r.current
	l.done.Store(true)
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
	serves := r.current != nil && r.current.serves(now)
	if c.closed || serves && r.current.leaving == nil {
		return nil
	}
	l := &load{record: r, stamp: now}
	switch {
	case serves:
		l.need = r.current.bytes
	case now == r.sized && isLocal(r.uri):
		l.need = r.bytes
	}
	c.begin(l)
	return l
}

// begin starts a load; c.mu is held.
func (c *Catalogue) begin(l *load) {
	c.tickets++
	l.ticket = c.tickets
	l.record.loading = l
	c.work.Go(func() { c.run(l) })
}

// run loads the adapter of l's record and hands it to those who wait.
func (c *Catalogue) run(l *load) {
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
		a, err := c.read(l)
		if err == nil {
			err = c.accept(l, a)
		}
		if err != nil {
			return false, err
		}
		if placed, err = c.settle(l, a); err != nil {
			return false, err
		}
	}
	return false, nil
}

// read loads l's adapter, in a slot of its own.
func (c *Catalogue) read(l *load) (Adapter, error) {
	if l.dir == "" {
		if err := c.download(l); err != nil {
			return nil, err
		}
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-c.ctx.Done():
		return nil, ErrClosed
	}
	defer l.reads(time.Now())
	a, err := c.fetchUnchanged(l)
	if err == nil {
		l.warning = c.note(l.dir, l.stamp)
	}
	return a, err
}

// accept refuses what has been found to be broken, or what l's check refuses.
func (c *Catalogue) accept(l *load, a Adapter) error {
	if err, _ := c.verdicts.Get(a.Digest()); err != nil {
		return err
	}
	if l.check == nil {
		return nil
	}
	return l.check(c.ctx, a)
}

// reads adds the time since start.
func (l *load) reads(start time.Time) { l.took += time.Since(start) }

// settle gives an adapter that has been read its place in memory, and reports
// whether there was one: if not, l is in line for it.
func (c *Catalogue) settle(l *load, a Adapter) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.replaced(l)
	var v *version
	switch l.need = a.Bytes(); {
	case c.ctx.Err() != nil:
		return false, ErrClosed
	case l.abandoned:
		return false, context.Canceled
	case old != nil && alike(old.adapter, a):
		v = c.versions.touch(l, old)
	case l.need > c.versions.budget:
		return false, fmt.Errorf("%w: it takes %d bytes of a budget of %d", ErrAdapterSize, l.need, c.versions.budget)
	default:
		if !c.versions.kept(l, old) {
			c.versions.withdraw(l)
			if !c.ask(l) || l.served || l.err != nil {
				return l.served, l.err
			}
		}
		v = c.versions.install(l, a, old)
	}
	c.finish(l, v, nil)
	c.arrange()
	return true, nil
}

// alike reports whether one version of an adapter may stand for another.
func alike(a, b Adapter) bool {
	return a.Digest() == b.Digest() && a.ChatTemplate() == b.ChatTemplate() &&
		a.Tokenizer() == b.Tokenizer() && slices.Equal(a.EndTokens(), b.EndTokens())
}

// fail ends a load that failed. A name that means something else by now is not
// blamed for it: those who wait get what it means.
func (c *Catalogue) fail(l *load, err error) error {
	var heir *record
	var now stamp
	switch {
	case c.ctx.Err() != nil:
		err = ErrClosed
	case !l.candidate && !errors.Is(err, context.Canceled):
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
			if lease.released {
				continue
			}
			if c.provide(lease, heir, now); lease.ready() {
				lease.notify()
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
	removed := errors.Is(err, ErrUnknownAdapter) && !errors.Is(err, fs.ErrNotExist)
	if !removed && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
		c.options.Log.Warn("adapter not loaded", "adapter", l.record.name, "source", l.record.uri, "error", err)
	}
}

// reconsider looks at what the name of r, which could not be loaded, means now:
// another record, nothing, or r, and then err stands.
func (c *Catalogue) reconsider(r *record, err error) (heir *record, now stamp, _ error) {
	again, now, unknown := c.resolve(r.name)
	if unknown != nil {
		return nil, now, unknown
	}
	if again != r {
		return again, now, fmt.Errorf("%w: %q has been replaced", ErrUnknownAdapter, r.name)
	}
	if dir, ok := local(r.uri); ok {
		if _, gone := os.Stat(dir); errors.Is(gone, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %q: %w", ErrUnknownAdapter, r.name, gone)
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

// download brings what l's URI names to a local folder. Loads from a disk do
// not wait for those that a network holds up: they have slots of their own.
func (c *Catalogue) download(l *load) (err error) {
	uri := l.record.uri
	if dir, ok := local(uri); ok {
		l.dir = filepath.Clean(dir)
		return nil
	}
	select {
	case c.downloads <- struct{}{}:
		defer func() { <-c.downloads }()
	case <-c.ctx.Done():
		return ErrClosed
	}
	defer l.reads(time.Now())
	defer rescueLoad(&err)
	dir, err := c.options.Schemes[schemeOf(uri)](c.ctx, uri)
	l.dir = filepath.Clean(dir)
	return err
}

// fetchUnchanged loads until the folder stays the same meanwhile, lest the
// adapter is half of one version and half of another.
func (c *Catalogue) fetchUnchanged(l *load) (Adapter, error) {
	s := Source{Name: l.record.name, URI: l.record.uri, Dir: l.dir}
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

// vocabulary is the number of tokens of the adapter's rows.
func (l *lease) vocabulary() int { return l.version.adapter.Vocabulary() }

// tokenizer is what the adapter brings; nil: the base's.
func (l *lease) tokenizer() *tokenizer.Tokenizer {
	if a := l.adapter(); a != nil {
		return a.Tokenizer()
	}
	return nil
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
	if l == nil || l.catalogue == nil { // the base, or a probe
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
	c.arrange()
}

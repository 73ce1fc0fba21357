package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Lease is a hold on one version of an adapter, which stays in memory until the
// lease is released, whatever becomes of the name meanwhile. Of a lease that has
// to wait for its version, the version's properties are zero until Ready. A
// combination of adapters is a version like any other: see Compose.
//
// A nil Lease is the base's.
type Lease struct {
	catalogue *Catalogue // nil: of LeaseOf
	name      string
	adapters  []string           // that it is on: one, or a combination's, sorted
	cancel    context.CancelFunc // ends the gathering of a combination; nil: there is none
	versioned bool               // the name has an alias
	ready     chan struct{}      // closed when version or err is set
	version   *version
	err       error

	// Guarded by the catalogue's lock.
	load    *load // that it waits for; nil: none
	notify  []func()
	holders int
}

// Acquire resolves name and returns a lease on the version that it stands for
// now, for a session where it has a canary (Alias). If that has to be loaded first the lease is not ready yet. An unknown
// name, and a failure of the last seconds, is an error at once.
func (c *Catalogue) Acquire(name, session string) (*Lease, error) {
	r, now, err := c.resolve(name, session)
	if err != nil {
		return nil, err
	}
	return c.acquire(resolved{r, now})
}

// acquire returns a lease on what a name stands for.
func (c *Catalogue) acquire(r resolved) (*Lease, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refuses(r); err != nil {
		return nil, err
	}
	l := c.newLease(r.record.name)
	c.grant(l, r)
	return l, nil
}

// grant gives l what a name stands for; c.mu is held.
func (c *Catalogue) grant(l *Lease, r resolved) {
	_, l.versioned = c.aliases[l.name]
	c.provide(l, r.record, r.stamp)
}

// AcquireAll is Acquire of those of several names whose versions are in memory: of each
// name a lease, which is ready, or an error. One that has to be loaded first gets
// neither, a nil Lease that is not the base's: no load begins.
func (c *Catalogue) AcquireAll(names []string, session string) ([]*Lease, []error) {
	found, leases, faults := make([]resolved, len(names)), make([]*Lease, len(names)), make([]error, len(names))
	resolve := c.resolve
	if _, err := stateOf(c.options.Aliases); errors.Is(err, fs.ErrNotExist) {
		resolve = c.resolveBare
		c.resolveQuiet(names, found)
	}
	for i, name := range names {
		if found[i].record == nil {
			found[i].record, found[i].stamp, faults[i] = resolve(name, session)
		}
	}
	made := make([]Lease, len(names))
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, r := range found {
		if faults[i] == nil {
			faults[i] = c.refuses(r)
		}
		if faults[i] == nil && r.record.serves(r.stamp) {
			leases[i] = &made[i]
			c.begun(leases[i], r.record.name)
			c.grant(leases[i], r)
		}
	}
	return leases, faults
}

// Try is why the live version of an entry's name, or the canary if the entry is of
// one, cannot be had: what has failed is loaded again, once the time for that has
// come.
func (c *Catalogue) Try(ctx context.Context, e Entry) error {
	a, err := c.alias(e.Name)
	if err != nil {
		return OfAdapter(e.Name, err)
	}
	var r resolved
	if e.Percent > 0 && a.Canary != "" {
		r.record, r.stamp, err = c.resolveVersion(e.Name, a, a.Canary, true)
	} else {
		r.record, r.stamp, err = c.resolve(e.Name, "")
	}
	if err != nil {
		return err
	}
	l, err := c.acquire(r)
	if err != nil {
		return err
	}
	defer l.Release()
	return l.Wait(ctx)
}

// resolved is what a name stands for, with its folder as it is now.
type resolved struct {
	record *record
	stamp  stamp
}

// refuses is why nobody gets a lease on r: the catalogue is closed, or its
// folder failed a moment ago. c.mu is held.
func (c *Catalogue) refuses(r resolved) error {
	switch f := r.record.failure; {
	case c.closed:
		return ErrClosed
	case f.err != nil && f.stamp == r.stamp && time.Now().Before(f.until):
		return OfAdapter(r.record.name, f.err)
	}
	return nil
}

func (c *Catalogue) newLease(name string) *Lease {
	l := new(Lease)
	c.begun(l, name)
	return l
}

// begun makes a lease of a zero one. It can be waited for once provide or waits has been
// called.
func (c *Catalogue) begun(l *Lease, name string) {
	*l = Lease{catalogue: c, name: name, adapters: []string{name}, holders: 1}
}

// waits makes a lease one that becomes ready later.
func (l *Lease) waits() { l.ready = make(chan struct{}) }

// fulfilled is what makes leases ready that need not wait.
var fulfilled = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// LeaseOf is a lease on an adapter that is in no catalogue: one that is probed
// before a name stands for it, say. It needs no release.
func LeaseOf(name string, a Adapter) *Lease {
	return &Lease{name: name, adapters: []string{name}, ready: fulfilled, version: &version{number: math.MaxUint64, adapter: a}}
}

// fulfil ends the wait for a version, or for the error that there is instead;
// the catalogue's lock is held.
func (l *Lease) fulfil(v *version, err error) {
	l.version, l.err, l.load = v, err, nil
	if l.ready == nil {
		l.ready = fulfilled
	} else {
		close(l.ready)
	}
	for _, f := range l.notify {
		f()
	}
	l.notify = nil
}

// Ready reports whether the wait is over: the version is there, or Err tells why
// not.
func (l *Lease) Ready() bool {
	if l == nil {
		return true
	}
	select {
	case <-l.ready:
		return true
	default:
		return false
	}
}

// OnReady has f called once the lease is ready, at once if it is. f must neither
// block nor call the catalogue.
func (l *Lease) OnReady(f func()) {
	if l.Ready() {
		f()
		return
	}
	l.catalogue.mu.Lock()
	defer l.catalogue.mu.Unlock()
	if l.Ready() {
		f()
		return
	}
	l.notify = append(l.notify, f)
}

// Wait waits until the lease is ready, or ctx ends, and returns why there is no
// version: a failed load's error, or ctx's.
func (l *Lease) Wait(ctx context.Context) error {
	if l.Ready() {
		return l.Err()
	}
	select {
	case <-l.ready:
		return l.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Err is why the adapter could not be loaded.
func (l *Lease) Err() error {
	if l == nil || !l.Ready() || l.err == nil {
		return nil
	}
	return OfAdapter(l.name, l.err)
}

// Name is the adapter's, or the combination's; empty: the base's.
func (l *Lease) Name() string {
	if l == nil {
		return ""
	}
	return l.name
}

// Adapters are the names that the lease was asked for by, sorted: several of a
// combination, none of the base.
func (l *Lease) Adapters() []string {
	if l == nil {
		return nil
	}
	return l.adapters
}

// Adapter is the version's; nil: it is not there, or the base's.
func (l *Lease) Adapter() Adapter {
	if l == nil || !l.Ready() || l.version == nil {
		return nil
	}
	return l.version.adapter
}

// Digest is the version's; empty where there is no Adapter.
func (l *Lease) Digest() string {
	if a := l.Adapter(); a != nil {
		return a.Digest()
	}
	return ""
}

// Identity is the version's; empty where there is no Adapter.
func (l *Lease) Identity() string {
	if a := l.Adapter(); a != nil {
		return a.Identity()
	}
	return ""
}

// Versioned reports whether the name has an alias, and so perhaps several versions.
func (l *Lease) Versioned() bool { return l != nil && l.versioned }

// Tokenizer is the one that the version brings; nil: the base's.
func (l *Lease) Tokenizer() *tokenizer.Tokenizer {
	if a := l.Adapter(); a != nil {
		return a.Tokenizer()
	}
	return nil
}

// ChatTemplate is the source of the templates that the version brings; zero:
// none.
func (l *Lease) ChatTemplate() chat.Source {
	if a := l.Adapter(); a != nil {
		return a.ChatTemplate()
	}
	return chat.Source{}
}

// Version numbers the versions as they came into memory, the base's being 0 and
// those of LeaseOf the last. There is one number for all leases on a version.
func (l *Lease) Version() uint64 {
	if l == nil || !l.Ready() || l.version == nil {
		return 0
	}
	return l.version.number
}

// Hold adds a holder to the lease and returns it. Each calls Release, and the
// lease ends with the last.
func (l *Lease) Hold() *Lease {
	if l == nil || l.catalogue == nil {
		return l
	}
	l.catalogue.mu.Lock()
	defer l.catalogue.mu.Unlock()
	if l.holders == 0 {
		panic("catalogue: a lease is held after its release")
	}
	l.holders++
	return l
}

// Release ends one holder's use of the lease, ready or not. A wait that nobody
// else shares ends the load.
func (l *Lease) Release() {
	if l == nil || l.catalogue == nil {
		return
	}
	c := l.catalogue
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.holders == 0 {
		return
	}
	if l.holders--; l.holders > 0 {
		return
	}
	if l.version != nil {
		c.versions.drop(l.version)
	}
	if under := l.load; under != nil && under.unwanted() {
		c.abandon(under)
	}
	if l.cancel != nil {
		l.cancel()
	}
	c.arrange()
}

// Withdraw tells the catalogue that the version failed for a reason that lies
// in its numbers: it is not served again, under any name, until its folder holds
// another. It returns the error that requests for it get from now on, or err
// where there is no catalogue to tell. A combination is not remembered, nor held
// against its parts: another has other weights.
func (l *Lease) Withdraw(err error) error {
	if l == nil || l.catalogue == nil {
		return err
	}
	if l.version.parts != nil {
		return fmt.Errorf("%w: %w: give smaller weights", ErrCombination, err)
	}
	return l.catalogue.withdraw(l.version, err)
}

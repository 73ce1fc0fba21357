package catalogue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// Part is one adapter of a combination; what it adds to the base counts Weight
// times.
type Part struct {
	Name   string
	Weight float64
}

// ErrCombination: a combination that is none, or that cannot be computed. What
// Options.Compose returns comes as it is.
var ErrCombination = errors.New("the combination cannot be served")

// The bounds of a combination: each part costs every row of it something.
const (
	MaxParts  = 16
	MaxWeight = 100 // in magnitude
)

// CombinationName is what a combination is called: "a:0.7,b:0.3".
func CombinationName(parts []Part) string {
	var name strings.Builder
	for i, p := range parts {
		if i > 0 {
			name.WriteByte(',')
		}
		name.WriteString(p.Name + ":" + strconv.FormatFloat(p.Weight, 'g', -1, 64))
	}
	return name.String()
}

// ComposeFor returns the Options.Compose of adapters that adapters.Load has bound
// to m.
func ComposeFor(m models.Model) func(parts []Part, loaded []Adapter) (Adapter, error) {
	return func(parts []Part, loaded []Adapter) (Adapter, error) {
		all := make([]adapters.Part, len(parts))
		for i, p := range parts {
			all[i] = adapters.Part{Name: p.Name, Adapter: loaded[i].(*adapters.Adapter), Weight: p.Weight}
		}
		a, err := adapters.Compose(m, all)
		if err != nil {
			return nil, err
		}
		return a, nil
	}
}

// Compose returns a lease on a combination of adapters. It holds a version of
// each, all of the same moment, and is ready when all are in memory; one that
// fails fails it, with an AdapterError that names the part. Of a part with a canary
// it is the version that its session gets. One adapter of weight
// 1 is that adapter.
func (c *Catalogue) Compose(parts []Part, session string) (*Lease, error) {
	if err := CheckParts(parts); err != nil {
		return nil, err
	}
	if len(parts) == 1 && parts[0].Weight == 1 {
		return c.Acquire(parts[0].Name, session)
	}
	parts = slices.Clone(parts)
	l := c.newLease(CombinationName(parts))
	l.adapters = nil
	for _, p := range parts {
		l.adapters = append(l.adapters, p.Name)
	}
	slices.Sort(l.adapters)
	there, err := c.holdAll(l, parts, session)
	switch {
	case err != nil:
		return nil, err
	case there:
		return l, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	l.waits()
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(c.ctx)
	c.work.Go(func() {
		defer l.cancel()
		if err := c.gather(ctx, l, parts, session); err != nil {
			c.mu.Lock()
			l.fulfil(nil, err)
			c.mu.Unlock()
		}
	})
	return l, nil
}

// CheckParts reports parts that make no combination, whatever adapters there are.
func CheckParts(parts []Part) error {
	switch {
	case len(parts) == 0:
		return fmt.Errorf("%w: it has no adapters", ErrCombination)
	case len(parts) > MaxParts:
		return fmt.Errorf("%w: it has %d adapters: name at most %d", ErrCombination, len(parts), MaxParts)
	}
	for i, p := range parts {
		switch {
		case !(math.Abs(p.Weight) <= MaxWeight):
			return fmt.Errorf("%w: the weight of %q is %g: give a number from %d to %d", ErrCombination, p.Name, p.Weight, -MaxWeight, MaxWeight)
		case slices.ContainsFunc(parts[:i], func(other Part) bool { return other.Name == p.Name }):
			return fmt.Errorf("%w: it names %q twice: name it once, with the sum of the weights", ErrCombination, p.Name)
		}
	}
	return nil
}

// holdAll fulfils l if all its parts are in memory, and reports whether they
// are. An unknown name, and a failure of the last seconds, is an error.
func (c *Catalogue) holdAll(l *Lease, parts []Part, session string) (bool, error) {
	found := make([]resolved, len(parts))
	for i, p := range parts {
		var err error
		if found[i].record, found[i].stamp, err = c.resolve(p.Name, session); err != nil {
			return false, OfAdapter(p.Name, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	versions := make([]*version, len(parts))
	there := true
	for i, r := range found {
		if err := c.refuses(r); err != nil {
			return false, err
		}
		versions[i] = r.record.current
		there = there && r.record.serves(r.stamp)
	}
	if !there {
		return false, nil
	}
	return true, c.combine(l, parts, versions)
}

// combine fulfils l with the combination of versions in memory; c.mu is held.
// Requests for one combination at a time share it, so that their rows do.
func (c *Catalogue) combine(l *Lease, parts []Part, versions []*version) error {
	if l.holders == 0 {
		return nil
	}
	keys, loaded := make([]string, len(parts)), make([]Adapter, len(parts))
	for i, v := range versions {
		keys[i], loaded[i] = fmt.Sprint(v.number, ":", parts[i].Weight), v.adapter
	}
	slices.Sort(keys)
	key := strings.Join(keys, ",")
	v := c.versions.combined[key]
	if v == nil {
		a, err := c.compose(parts, loaded)
		if err != nil {
			return err
		}
		c.versions.numbers++
		v = &version{number: c.versions.numbers, adapter: a, parts: versions, key: key}
		c.versions.combined[key] = v
	}
	c.versions.hold(v)
	l.fulfil(v, nil)
	return nil
}

// compose asks Options.Compose.
func (c *Catalogue) compose(parts []Part, loaded []Adapter) (a Adapter, err error) {
	defer c.rescue(&err, CombinationName(parts))
	return c.options.Compose(parts, loaded)
}

// gather brings the parts of a combination into memory and fulfils l.
//
// Two combinations that each held some parts, and waited for room for the rest,
// would wait for each other. So the parts are first loaded and held by nobody:
// where there is room enough, that is all. Where some have been evicted for the
// others, combinations take turns, and the one whose turn it is holds what it
// has.
func (c *Catalogue) gather(ctx context.Context, l *Lease, parts []Part, session string) error {
	if err := c.loadEach(ctx, parts, session); err != nil {
		return c.whyEnded(ctx, err)
	}
	if there, err := c.holdAll(l, parts, session); there || err != nil {
		return err
	}
	if err := c.holdable(parts, session); err != nil {
		return err
	}
	select {
	case c.gathering <- struct{}{}:
		defer func() { <-c.gathering }()
	case <-ctx.Done():
		return c.whyEnded(ctx, ctx.Err())
	}
	leases := make([]*Lease, len(parts))
	for i, p := range parts {
		var err error
		if leases[i], err = c.Acquire(p.Name, session); err != nil {
			return OfAdapter(p.Name, err)
		}
		defer leases[i].Release()
	}
	versions := make([]*version, len(parts))
	for i, lease := range leases {
		if err := lease.Wait(ctx); err != nil {
			return c.whyEnded(ctx, err)
		}
		versions[i] = lease.version
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.combine(l, parts, versions)
}

// loadEach loads the parts beside each other and holds none. The first failure
// ends the others' wait.
func (c *Catalogue) loadEach(ctx context.Context, parts []Part, session string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var loads sync.WaitGroup
	for _, p := range parts {
		loads.Go(func() {
			if _, err := c.load(ctx, p.Name, session, false); err != nil {
				cancel(OfAdapter(p.Name, err))
			}
		})
	}
	loads.Wait()
	return context.Cause(ctx)
}

// whyEnded is why a combination was not gathered: err, unless it was told to end.
func (c *Catalogue) whyEnded(ctx context.Context, err error) error {
	switch {
	case c.ctx.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil:
		return context.Canceled
	}
	return err
}

// holdable refuses parts that never are in memory together.
func (c *Catalogue) holdable(parts []Part, session string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	need, pinned := 0, c.versions.pinned(nil)
	for _, p := range parts {
		r := c.records[p.Name]
		if _, canary := c.aliases[p.Name].alias.choose(session); canary {
			r = c.canaries[p.Name]
		}
		if r == nil {
			return nil // removed: that shows when it is acquired
		}
		need += r.bytes
		if r.pinned && r.current != nil {
			pinned -= r.current.bytes
		}
	}
	switch budget := c.versions.budget; {
	case need > budget:
		return fmt.Errorf("%w: the parts of %s together take %d bytes of a budget of %d", ErrSize, CombinationName(parts), need, budget)
	case need+pinned > budget:
		return fmt.Errorf("%w: the parts of %s together take %d bytes of a budget of %d; %d are pinned", ErrBudget, CombinationName(parts), need, budget, pinned)
	}
	return nil
}

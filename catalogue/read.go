package catalogue

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"
)

// prepare brings l's folder here and has l stand in line for room where its
// size is known before it is read; asked: it does.
func (c *Catalogue) prepare(l *load) (asked bool, err error) {
	if l.dir == "" {
		if err := c.download(l); err != nil {
			return false, c.ended(l, err)
		}
	}
	size := 0
	if l.need == 0 && c.options.Size != nil {
		if size, err = c.size(l); err != nil {
			return false, c.ended(l, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l.need = max(l.need, size)
	switch {
	case l.need <= l.granted:
		return false, nil
	case l.need > c.versions.budget:
		return false, c.versions.tooLarge(l.need)
	}
	c.versions.withdraw(l)
	c.ask(l)
	return true, nil
}

// read loads l's adapter, in a slot of its own.
func (c *Catalogue) read(l *load) (Adapter, error) {
	leave, err := c.slot(l)
	if err != nil {
		return nil, err
	}
	defer leave()
	defer l.reads(time.Now())
	a, err := c.fetchUnchanged(l)
	if err == nil {
		l.warning = c.warning(l)
	}
	return a, err
}

// slot waits for one of the load slots, and for what Options.Reserve sets aside as long as a load
// waits for room.
func (c *Catalogue) slot(l *load) (leave func(), err error) {
	select {
	case c.slots <- struct{}{}:
	case <-l.ctx.Done():
		return nil, l.ctx.Err()
	}
	release := func() {}
	if c.options.Reserve != nil {
		if release, err = c.reserve(l); err != nil {
			<-c.slots
			return nil, err
		}
	}
	return func() { release(); <-c.slots }, nil
}

func (c *Catalogue) reserve(l *load) (release func(), err error) {
	defer c.rescue(&err, l.record.name)
	ctx, cancel := context.WithTimeout(l.ctx, c.options.Wait)
	defer cancel()
	return c.options.Reserve(ctx, l.dir)
}

// size asks Options.Size, which may read and parse as much as a load does.
func (c *Catalogue) size(l *load) (bytes int, err error) {
	leave, err := c.slot(l)
	if err != nil {
		return 0, err
	}
	defer leave()
	defer c.rescue(&err, l.record.name)
	return c.options.Size(l.dir), nil
}

// reads adds the time since start.
func (l *load) reads(start time.Time) { l.took += time.Since(start) }

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
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
	defer l.reads(time.Now())
	defer c.rescue(&err, l.record.name)
	dir, err := c.options.Schemes[schemeOf(uri)](l.ctx, uri)
	l.dir = filepath.Clean(dir)
	return err
}

// fetchUnchanged loads until the folder stays the same meanwhile, lest the
// adapter is half of one version and half of another.
func (c *Catalogue) fetchUnchanged(l *load) (Adapter, error) {
	s := Source{Name: l.record.name, URI: l.record.uri, Dir: l.dir}
	for range 3 {
		a, err := c.fetch(l.ctx, s)
		dir, ok := local(s.URI)
		if !ok {
			return a, err
		}
		now, _ := c.listings.read(dir)
		if now == l.stamp {
			return a, err
		}
		l.stamp = now
	}
	return nil, fmt.Errorf("%w: %s keeps changing", ErrSource, l.record.uri)
}

// fetch calls the loader.
func (c *Catalogue) fetch(ctx context.Context, s Source) (a Adapter, err error) {
	defer c.rescue(&err, s.Name)
	return c.loader(ctx, s)
}

// rescue, deferred, makes an error of a panic in what an adapter's files lead to.
// Where it happened is for the log: the error is told to clients.
func (c *Catalogue) rescue(err *error, adapter string) {
	if r := recover(); r != nil {
		c.options.Log.Error("panic over an adapter", "adapter", adapter, "panic", r, "stack", string(debug.Stack()))
		*err = fmt.Errorf("%w: %v", ErrPanic, r)
	}
}

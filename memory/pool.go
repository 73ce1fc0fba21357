package memory

import (
	"context"
	"slices"
	"sync"
)

// pool is memory that what comes and goes shares.
type pool struct {
	size  int64
	names []string // of what it is for

	mu      sync.Mutex
	free    int64
	taken   map[string]int64 // by name
	waiting []*claim
}

// claim waits for so many bytes.
type claim struct {
	what    string
	bytes   int64
	granted chan struct{}
}

func newPool(size int64, names []string) *pool {
	return &pool{size: size, names: names, free: size, taken: map[string]int64{}}
}

// take waits until it is its turn and there is enough, or ctx ends.
func (p *pool) take(ctx context.Context, what string, bytes int64) error {
	c := &claim{what, bytes, make(chan struct{})}
	p.mu.Lock()
	p.waiting = append(p.waiting, c)
	p.grant()
	p.mu.Unlock()
	select {
	case <-c.granted:
		return nil
	default:
	}
	select {
	case <-c.granted:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.Index(p.waiting, c)
	if at < 0 {
		return nil // it was granted meanwhile
	}
	p.waiting = slices.Delete(p.waiting, at, at+1)
	p.grant()
	return context.Cause(ctx)
}

// give takes back what was taken.
func (p *pool) give(what string, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free += bytes
	p.taken[what] -= bytes
	p.grant()
}

// grant gives the first who wait what they ask for; p.mu is held.
func (p *pool) grant() {
	n := 0
	for ; n < len(p.waiting) && p.waiting[n].bytes <= p.free; n++ {
		c := p.waiting[n]
		p.free -= c.bytes
		p.taken[c.what] += c.bytes
		close(c.granted)
	}
	p.waiting = slices.Delete(p.waiting, 0, n)
}

func (p *pool) lines() (lines []Line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range p.names {
		lines = append(lines, Line{name, p.taken[name], p.size})
	}
	return lines
}

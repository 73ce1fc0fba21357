package serve

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"
)

// What is done beside generation gets so much of each processor while tokens are
// generated. One unpacks some 800 MB a second and decodes 120, so that both are 3 %
// of it.
const (
	pacedUploads = 8 << 20 // bytes a second, unpacked
	pacedBodies  = 2 << 20 // and of large JSON bodies
)

// A pace leaves the processors to generation: while there is any, all who work on
// something else get so many bytes a second together.
type pace struct {
	rate float64     // bytes a second
	busy func() bool // whether tokens are generated now

	mu   sync.Mutex
	free time.Time // when all the bytes so far have had their time
}

func newPace(rate int, busy func() bool) *pace {
	return &pace{rate: float64(rate * runtime.GOMAXPROCS(0)), busy: busy}
}

// spend waits until there is time for so many bytes, or none is generated any
// more, or ctx ends. It refuses them if too many wait already.
func (p *pace) spend(ctx context.Context, bytes int) error {
	until, err := p.reserve(bytes)
	if err != nil {
		return err
	}
	for {
		left := min(time.Until(until), 50*time.Millisecond)
		if left <= 0 || !p.busy() {
			return nil
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (p *pace) reserve(bytes int) (until time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.busy() {
		p.free = now
		return now, nil
	}
	if p.free.Before(now) {
		p.free = now
	}
	if ahead := p.free.Sub(now); ahead > bodyWait {
		return now, &failure{
			status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "bodies_full", retry: int(ahead.Seconds()) + 1,
			message: fmt.Sprintf("the server generates, and what was sent to it before takes the time that is left for another %s: try again later", ahead.Round(time.Second)),
		}
	}
	p.free = p.free.Add(time.Duration(float64(bytes) / p.rate * float64(time.Second)))
	return p.free, nil
}

package serve

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"sync"
	"time"
)

// What is done beside generation gets so much of each processor while tokens are
// generated. One unpacks some 800 MB a second and decodes 80, so that each of the
// three is 1 to 3 % of it.
const (
	pacedUploads   = 8 << 20 // bytes a second, unpacked
	pacedBodies    = 1 << 20 // and of large JSON bodies
	pacedCompiling = int(30 * time.Millisecond)
)

// A pace leaves the processors to generation: while there is any, all who work on
// something else get so many units a second together, in equal parts.
type pace struct {
	rate float64     // units a second
	busy func() bool // whether tokens are generated now

	mu   sync.Mutex
	free map[string]time.Time // by sender: when all of its units so far have had their time
}

func newPace(rate int, busy func() bool) *pace {
	return &pace{rate: float64(rate * runtime.GOMAXPROCS(0)), busy: busy, free: map[string]time.Time{}}
}

// spend waits until there is time for so many units of a sender's, or none is
// generated any more, or ctx ends. It refuses them if too many of its own wait already.
func (p *pace) spend(ctx context.Context, sender string, units int) error {
	until, err := p.reserve(sender, units)
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

// owes reports whether units of a sender's still have to have their time.
func (p *pace) owes(sender string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy() && time.Now().Before(p.free[sender])
}

// spent notes units that a sender has had already: what it asks for next waits.
func (p *pace) spent(sender string, units int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(sender, units)
}

func (p *pace) reserve(sender string, units int) (until time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ahead := time.Until(p.free[sender]); ahead > bodyWait && p.busy() {
		return until, &failure{
			status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "bodies_full", retry: int(ahead.Seconds()) + 1,
			message: fmt.Sprintf("the server generates, and what you sent to it before takes the time that is left for another %s: try again later", ahead.Round(time.Second)),
		}
	}
	return p.add(sender, units), nil
}

// add gives a sender's units their time behind its others; p.mu is held.
func (p *pace) add(sender string, units int) (until time.Time) {
	now, busy := time.Now(), p.busy()
	maps.DeleteFunc(p.free, func(_ string, t time.Time) bool { return !busy || t.Before(now) })
	if !busy {
		return now
	}
	from, waits := p.free[sender]
	if !waits {
		from = now
		p.free[sender] = now
	}
	until = from.Add(time.Duration(float64(units) * float64(len(p.free)) / p.rate * float64(time.Second)))
	p.free[sender] = until
	return until
}

package serve

import (
	"sync"
	"time"
)

// rateWindow is the time over which tokens a second are told, in seconds.
const rateWindow = 60

// tokenRate counts the tokens of the last minute.
type tokenRate struct{ prompt, completion perSecond }

// perSecond counts by the second, in a ring of the last of them. Its zero value
// is ready for use.
type perSecond struct {
	mu     sync.Mutex
	second int64 // the latest that was counted in
	counts [rateWindow]int
	now    func() time.Time // nil: the clock's
}

func (p *perSecond) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance()
	p.counts[p.second%rateWindow] += n
}

// sum is what was counted in the window that ends now.
func (p *perSecond) sum() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance()
	for _, c := range p.counts {
		n += c
	}
	return n
}

// advance empties the seconds that have passed since the latest.
func (p *perSecond) advance() {
	now := time.Now
	if p.now != nil {
		now = p.now
	}
	second := now().Unix()
	if second-p.second >= rateWindow {
		p.counts = [rateWindow]int{}
		p.second = second
	}
	for ; p.second < second; p.second++ {
		p.counts[(p.second+1)%rateWindow] = 0
	}
}

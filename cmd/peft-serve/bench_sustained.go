package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"time"
)

// sustained is a load that lasts: requests that come at a rate, or that clients send
// one after another, and what became of them. Times are in seconds.
type sustained struct {
	Rate     float64 `json:"rate,omitempty"`
	Clients  int     `json:"clients,omitempty"`
	Duration float64 `json:"duration_seconds"`
	Adapters int     `json:"adapters"`
	Resident int     `json:"resident_adapters,omitempty"` // that the budget holds
	Zipf     float64 `json:"zipf"`
	Prompt   int     `json:"prompt_tokens"`
	Generate int     `json:"generated_tokens"`

	Sent            int     `json:"requests_sent"`
	Finished        int     `json:"requests_finished"`
	Failed          int     `json:"requests_failed"`
	FirstFailure    string  `json:"first_failure,omitempty"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	PerSecond       float64 `json:"requests_per_second"`
	// TokensPerProcessorSecond is by the processor time of who answers, which other work
	// on the machine changes little; 0: it is not told.
	TokensPerProcessorSecond float64 `json:"tokens_per_processor_second,omitempty"`
	// Goodput is of the requests whose first token and whose tokens' mean distance
	// kept the bounds.
	Goodput   float64 `json:"goodput_requests_per_second"`
	BoundTTFT float64 `json:"ttft_bound_seconds,omitempty"`
	BoundTBT  float64 `json:"tbt_bound_seconds,omitempty"`

	TTFT    percentiles `json:"ttft_seconds"`
	TBT     percentiles `json:"tbt_seconds"`
	Latency percentiles `json:"request_seconds"`

	Loads     int `json:"loads,omitempty"` // of adapters
	Evictions int `json:"evictions,omitempty"`

	tokens   int
	answered int // requests that finished, or got a token and did not fail
}

type percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func percentilesOf(v []float64) (p percentiles) {
	if len(v) == 0 {
		return p
	}
	slices.Sort(v)
	at := func(share float64) float64 { return v[int(math.Ceil(share*float64(len(v))))-1] }
	return percentiles{at(0.5), at(0.9), at(0.99), v[len(v)-1]}
}

// lasts reports whether a sustained load is asked for.
func (b *benchCommand) lasts() bool { return b.Rate > 0 || b.Clients > 0 }

// sender sends a request, tells of each of its events, one token or several, and
// returns how many tokens there were in all.
type sender func(ctx context.Context, prompt []int32, adapter string, seen func()) (tokens int, err error)

// record is what became of one request.
type record struct {
	start  time.Time
	end    time.Time // zero: it did not finish in time
	events []time.Time
	tokens int // of one that has finished
	err    error
}

// sustain sends requests for as long as --duration says, and reports. Requests that
// run at the end count by the events that they got; where none was answered, there is
// nothing to report but that. Of --pid the processor time has to be told.
func (b *benchCommand) sustain(asked context.Context, text []int32, names []string, spent processorClock, send sender) (*sustained, error) {
	length := b.promptTokens(64)
	before, told := spent(asked)
	if b.PID > 0 && told != nil {
		return nil, told
	}
	ctx, cancel := context.WithTimeout(asked, b.Duration)
	defer cancel()
	var (
		mu      sync.Mutex
		records []*record
		group   sync.WaitGroup
	)
	draw := newDraw(names, b.Zipf)
	one := func(n int) {
		random := rand.New(rand.NewPCG(uint64(b.Seed), uint64(n)))
		r := &record{start: time.Now()}
		mu.Lock()
		records = append(records, r)
		mu.Unlock()
		tokens, err := send(ctx, b.prompts(text, n, 1, length)[0], draw.next(random), func() { r.events = append(r.events, time.Now()) })
		switch {
		case err == nil:
			r.end, r.tokens = time.Now(), tokens
		case ctx.Err() == nil:
			r.err = err
		}
	}
	start := time.Now()
	if b.Clients > 0 {
		var next int
		number := func() int { mu.Lock(); defer mu.Unlock(); next++; return next }
		for range b.Clients {
			group.Go(func() {
				for ctx.Err() == nil {
					one(number())
				}
			})
		}
	} else {
		arrivals := rand.New(rand.NewPCG(uint64(b.Seed), 1<<40))
		for n := 1; pause(ctx, time.Duration(arrivals.ExpFloat64()/b.Rate*float64(time.Second))); n++ {
			group.Go(func() { one(n) })
		}
	}
	group.Wait()
	s := b.summarise(records, min(time.Since(start), b.Duration))
	s.Adapters, s.Prompt = len(names), length
	after, err := spent(asked)
	if b.PID > 0 && err != nil {
		return nil, err
	}
	if told == nil && err == nil && after > before {
		s.TokensPerProcessorSecond = rate(s.tokens, after-before)
	}
	return &s, s.fault()
}

// fault is that nothing was measured: no request was answered.
func (s *sustained) fault() error {
	switch {
	case s.answered > 0:
		return nil
	case s.Failed > 0:
		return fmt.Errorf("none of %d requests was answered: %s", s.Sent, s.FirstFailure)
	}
	return fmt.Errorf("none of %d requests was answered within %.3g s: give a longer --duration", s.Sent, s.Duration)
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// summarise adds the records up.
func (b *benchCommand) summarise(records []*record, lasted time.Duration) sustained {
	s := sustained{
		Rate: b.Rate, Clients: b.Clients, Duration: lasted.Seconds(), Zipf: b.Zipf, Generate: b.Generate,
		BoundTTFT: b.TTFT.Seconds(), BoundTBT: b.TBT.Seconds(),
	}
	var firsts, between, latencies []float64
	good := 0
	for _, r := range records {
		s.Sent++
		if r.err != nil {
			s.Failed++
			if s.FirstFailure == "" {
				s.FirstFailure = r.err.Error()
			}
		}
		if r.err == nil && (len(r.events) > 0 || !r.end.IsZero()) {
			s.answered++
		}
		for i, at := range r.events {
			if i == 0 {
				firsts = append(firsts, at.Sub(r.start).Seconds())
			} else {
				between = append(between, at.Sub(r.events[i-1]).Seconds())
			}
		}
		if r.end.IsZero() {
			s.tokens += len(r.events)
			continue
		}
		s.tokens += r.tokens
		s.Finished++
		latencies = append(latencies, r.end.Sub(r.start).Seconds())
		if b.keepsBounds(r) {
			good++
		}
	}
	s.TokensPerSecond, s.PerSecond, s.Goodput = float64(s.tokens)/s.Duration, float64(s.Finished)/s.Duration, float64(good)/s.Duration
	s.TTFT, s.TBT, s.Latency = percentilesOf(firsts), percentilesOf(between), percentilesOf(latencies)
	return s
}

// keepsBounds reports whether a request that has finished kept --ttft and --tbt.
func (b *benchCommand) keepsBounds(r *record) bool {
	n := len(r.events)
	if n == 0 {
		return false
	}
	if b.TTFT > 0 && r.events[0].Sub(r.start) > b.TTFT {
		return false
	}
	return b.TBT == 0 || r.tokens < 2 || r.events[n-1].Sub(r.events[0])/time.Duration(r.tokens-1) <= b.TBT
}

// draw draws names: the k-th with a probability that is proportional to 1/k^zipf.
type draw struct {
	names []string
	sums  []float64
}

func newDraw(names []string, zipf float64) draw {
	d := draw{names: names}
	sum := 0.0
	for k := range names {
		sum += math.Pow(float64(k+1), -zipf)
		d.sums = append(d.sums, sum)
	}
	return d
}

// next is the base where there are no names.
func (d draw) next(random *rand.Rand) string {
	if len(d.names) == 0 {
		return ""
	}
	at := sort.SearchFloat64s(d.sums, random.Float64()*d.sums[len(d.sums)-1])
	return d.names[min(at, len(d.names)-1)]
}

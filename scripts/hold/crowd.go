package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/internal/processor"
)

func init() { modes["crowd"] = crowd }

// crowd is a server that is asked for more than it can do, by many tenants of
// whom one means harm: the others have to get their shares of what the server
// can do, refusals have to come at once, and memory may not grow.
func crowd(ctx context.Context, args []string, out io.Writer) (err error) {
	o := crowding{root: "."}
	flags := flag.NewFlagSet("crowd", flag.ContinueOnError)
	flags.StringVar(&o.root, "root", o.root, "the repository's folder")
	flags.StringVar(&o.base, "base", "", "what is served; by default a tiny base")
	flags.IntVar(&o.tenants, "tenants", 50, "tenants, the hostile one included")
	flags.Float64Var(&o.times, "times", 3, "how many times the server's capacity is asked for")
	flags.DurationVar(&o.length, "for", 10*time.Minute, "how long")
	flags.DurationVar(&o.measure, "capacity", 20*time.Second, "how long the capacity is measured")
	flags.IntVar(&o.tokens, "tokens", 24, "characters of a prompt; an answer has from half as many tokens to half as many again")
	flags.BoolVar(&o.hostile, "hostile", true, "whether one of them means harm")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hold-crowd-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := o.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()

	// What a shared machine can do changes by the minute: the capacity is the mean
	// of what it is before and after.
	before, err := o.capacity(ctx, server)
	if err != nil {
		return err
	}
	if _, err := o.run(ctx, server, before.tokens, o.measure); err != nil { // until memory is what it stays
		return err
	}
	held, err := server.footprint(ctx)
	if err != nil {
		return err
	}
	seen, err := o.run(ctx, server, before.tokens, o.length)
	if err != nil {
		return err
	}
	holds, err := server.footprint(ctx)
	if err != nil {
		return err
	}
	after, err := o.capacity(ctx, server)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "capacity %.1f tokens a second before and %.1f after\n", before.tokens, after.tokens)
	return o.report(out, capacity{(before.tokens + after.tokens) / 2, (before.own + after.own) / 2}, seen, held, holds)
}

type crowding struct {
	root, base      string
	tenants         int
	times           float64
	length, measure time.Duration
	tokens          int
	hostile         bool
}

// What has to hold: the goodput as a part of the capacity, both without what the load
// generator takes, the least share of a tenant as a part of its fair one, and how long a
// refusal may take.
const (
	leastGoodput = 0.9
	leastShare   = 0.8
	longRefusal  = 100 * time.Millisecond
)

func (o *crowding) start(ctx context.Context, dir string) (*server, error) {
	if o.base == "" {
		o.base = filepath.Join(dir, "base")
		if err := layBase(o.root, o.base); err != nil {
			return nil, err
		}
	}
	binary, err := buildServer(ctx, o.root, dir)
	if err != nil {
		return nil, err
	}
	var keys strings.Builder
	for i := range o.tenants {
		fmt.Fprintf(&keys, "- {name: %s, key: %s, rights: [use, publish], prefix: %s.}\n", tenantName(i), secretOf(i), tenantName(i))
	}
	if err := os.WriteFile(filepath.Join(dir, "keys.yaml"), []byte(keys.String()), 0o600); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "adapters"), 0o755); err != nil {
		return nil, err
	}
	// Blocks of past prompts are kept until the cache is full, and it has to be
	// full before memory is compared.
	s, err := start(binary, "--base", o.base, "--adapters", filepath.Join(dir, "adapters"),
		"--keys", filepath.Join(dir, "keys.yaml"), "--slots", "8", "--queue", "128", "--kv-cache", "128MiB", "--access-log", "off")
	if err != nil {
		return nil, err
	}
	return s, s.serving(ctx)
}

func tenantName(i int) string { return fmt.Sprintf("tenant-%d", i) }
func secretOf(i int) string   { return fmt.Sprintf("the-secret-of-tenant-number-%d", i) }

// harm is the number of the tenant that means it.
const harm = 0

// outcome is what became of one request.
type outcome struct {
	tenant int
	status int // 0: no answer
	tokens int // of the answer that was asked for

	displaced bool // it waited, and had to make room for a tenant with less
	took      time.Duration
}

// ask asks for one completion. Prompts differ, so that no prefix is shared, and
// answers have different lengths, as people's have: equal ones would all end in
// the same step.
func (o *crowding) ask(ctx context.Context, client *http.Client, server *server, tenant int, number uint64, edit func(*http.Request)) (got outcome) {
	draw := rand.New(rand.NewPCG(uint64(tenant), number))
	prompt := make([]byte, o.tokens)
	for i := range prompt {
		prompt[i] = byte('a' + draw.IntN(26))
	}
	got = outcome{tenant: tenant, tokens: o.tokens/2 + draw.IntN(o.tokens+1)}
	body, _ := json.Marshal(map[string]any{"prompt": string(prompt), "max_tokens": got.tokens, "ignore_eos": true, "temperature": 0})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.url+"/v1/completions", strings.NewReader(string(body)))
	if err != nil {
		return got
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+secretOf(tenant))
	if edit != nil {
		edit(request)
	}
	start := time.Now()
	defer func() { got.took = time.Since(start) }()
	answer, err := client.Do(request)
	if err != nil {
		return got
	}
	defer func() { _ = answer.Body.Close() }()
	var said struct {
		Error struct{ Message string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		return got
	}
	got.status, got.displaced = answer.StatusCode, strings.Contains(said.Error.Message, "has been given to")
	return got
}

// capacity is what the server can do beside a load generator.
type capacity struct {
	tokens float64 // a second
	own    float64 // the load generator's share of the processors meanwhile
}

// left is a goodput as a part of the capacity where the load generator takes a share of
// the processors: of what it left of them then, and of what it leaves now.
func (c capacity) left(goodput, own float64) float64 {
	return goodput / c.tokens * (1 - c.own) / (1 - own)
}

// shareOfProcessors is what processor time is of all that there is in a length of time.
func shareOfProcessors(spent, length time.Duration) float64 {
	return spent.Seconds() / length.Seconds() / float64(runtime.NumCPU())
}

// capacity is how many tokens a second the server answers when it is never
// without work, and never asked for more than it takes.
func (o *crowding) capacity(ctx context.Context, server *server) (c capacity, err error) {
	client := newClient()
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, o.measure)
	defer cancel()
	var clients sync.WaitGroup
	var mu sync.Mutex
	answered, failed := 0, outcome{}
	own := -processor.Time()
	for i := range 16 {
		clients.Go(func() {
			for n := uint64(0); ctx.Err() == nil; n++ {
				got := o.ask(ctx, client, server, 1+i%(o.tenants-1), 1<<40+uint64(i)<<32+n, nil)
				mu.Lock()
				if got.status == http.StatusOK {
					answered += got.tokens
				} else if ctx.Err() == nil {
					failed = got
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	own += processor.Time()
	if answered == 0 {
		return c, fmt.Errorf("the server answers nothing: status %d", failed.status)
	}
	return capacity{float64(answered) / o.measure.Seconds(), shareOfProcessors(own, o.measure)}, nil
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}}
}

// run has every tenant ask for its part of times the capacity, in tokens a second, at
// random moments, for so long.
func (o *crowding) run(ctx context.Context, server *server, capacity float64, length time.Duration) (*crowdSeen, error) {
	client := newClient()
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	seen := &crowdSeen{length: length, answered: make([]int, o.tenants), own: -processor.Time()}
	var asking sync.WaitGroup
	pace := float64(o.tenants) / (o.times * capacity / float64(o.tokens))
	for tenant := range o.tenants {
		asking.Go(func() {
			draw := rand.New(rand.NewPCG(uint64(tenant), uint64(time.Now().UnixNano())))
			var running sync.WaitGroup
			defer running.Wait()
			for n := uint64(0); ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Duration(pace * draw.ExpFloat64() * float64(time.Second))):
				}
				var edit func(*http.Request)
				if o.hostile && tenant == harm {
					edit = func(r *http.Request) { r.Header.Set("X-Gateway-Inference-Fairness-Id", fmt.Sprint(n)) }
				}
				running.Go(func() { seen.add(ctx, o.ask(ctx, client, server, tenant, n, edit)) })
			}
		})
	}
	if o.hostile {
		h := &hostility{server: server, secret: secretOf(harm), client: client}
		for _, attack := range h.attacks() {
			asking.Go(func() {
				for ctx.Err() == nil {
					attack(ctx)
				}
			})
		}
	}
	asking.Add(1)
	go func() {
		defer asking.Done()
		for ctx.Err() == nil {
			if now, err := server.resident(); err == nil {
				seen.resident = append(seen.resident, now)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	asking.Wait()
	seen.own += processor.Time()
	return seen, server.lives()
}

// crowdSeen is what a run has seen.
type crowdSeen struct {
	length   time.Duration
	own      time.Duration // processor time of the load generator
	resident []int64       // bytes, second by second

	mu        sync.Mutex
	answered  []int           // tokens by tenant
	refusals  []time.Duration // how long a 429 took that found no room
	displaced int             // requests that had to make room
	others    map[int]int     // by status
}

func (s *crowdSeen) add(ctx context.Context, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case o.status == http.StatusOK:
		s.answered[o.tenant] += o.tokens
	case o.displaced:
		s.displaced++
	case o.status == http.StatusTooManyRequests:
		s.refusals = append(s.refusals, o.took)
	case ctx.Err() == nil:
		if s.others == nil {
			s.others = map[int]int{}
		}
		s.others[o.status]++
	}
}

// most is the largest of the resident memory in a tenth of the time, of the first or
// the last: what garbage there is at the moment makes a single look no measure. 0: every
// look failed.
func (s *crowdSeen) most(last bool) int64 {
	if len(s.resident) == 0 {
		return 0
	}
	n := max(1, len(s.resident)/10)
	if last {
		return slices.Max(s.resident[len(s.resident)-n:])
	}
	return slices.Max(s.resident[:n])
}

func (o *crowding) report(out io.Writer, can capacity, s *crowdSeen, before, after footprint) error {
	total := 0
	for _, n := range s.answered {
		total += n
	}
	goodput, own := float64(total)/s.length.Seconds(), shareOfProcessors(s.own, s.length)
	left := can.left(goodput, own)
	fair := float64(total) / float64(o.tenants)
	least := math.Inf(1)
	for tenant, n := range s.answered {
		if tenant != harm || !o.hostile {
			least = min(least, float64(n)/fair)
		}
	}
	fmt.Fprintf(out, "crowd of %d tenants at %g times a capacity of %.1f tokens a second for %s: goodput %.3f of capacity, %.3f of what the load generator left of it (it took %.3f of the processors, and %.3f while the capacity was measured; %.3f of all tokens), least share %.3f of the fair one, refusals %d p50 %s p99 %s, displaced %d, other answers %v, memory at most %s in the first tenth and %s in the last, descriptors %d and %d, goroutines %d and %d\n",
		o.tenants, o.times, can.tokens, s.length, goodput/can.tokens, left, own, can.own, float64(total)/float64(after.generated-before.generated), least, len(s.refusals), quantile(s.refusals, 0.5), quantile(s.refusals, 0.99), s.displaced, s.others,
		mebibytes(s.most(false)), mebibytes(s.most(true)), before.descriptors, after.descriptors, before.goroutines, after.goroutines)
	var faults []error
	if left < leastGoodput { // the load generator shares the processors
		faults = append(faults, fmt.Errorf("the goodput is below %g of what the load generator left of the capacity", leastGoodput))
	}
	if least < leastShare {
		faults = append(faults, fmt.Errorf("a tenant has less than %g of its fair share", leastShare))
	}
	if quantile(s.refusals, 0.99) > longRefusal {
		faults = append(faults, fmt.Errorf("refusals take longer than %s", longRefusal))
	}
	if first, last := s.most(false), s.most(true); last > first+first/5 {
		faults = append(faults, errors.New("memory has grown by more than a fifth"))
	}
	if len(s.others) > 0 {
		faults = append(faults, errors.New("there are answers that are neither 200 nor 429"))
	}
	return errors.Join(faults...)
}

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.SortFunc(d, cmp.Compare)
	return d[int(q*float64(len(d)-1))].Round(100 * time.Microsecond)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

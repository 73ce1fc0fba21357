package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's clock never ends; its worker pool sleeps for up to ten
		// seconds before it sees that it should.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// The clock of regular expressions ends a second after the last.
		goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// fakeEngine answers every request with script's text, a token a step, and
// counts what runs.
type fakeEngine struct {
	text      *tokenizer.Tokenizer
	script    func(r *runtime.Request) (text string, finish runtime.Finish, err error)
	refuse    error         // of Submit
	crowded   error         // of Await
	most      int32         // that run at once before the queue is full; any number
	pause     time.Duration // before each token
	overflows bool          // what is probed
	running   atomic.Int32
	peak      atomic.Int32 // of running
	ended     atomic.Int32

	mu   sync.Mutex
	seen []*runtime.Request
}

func (e *fakeEngine) Options() runtime.Options {
	return runtime.Options{Slots: 4, Queue: 8, StepTokens: 64, Context: 128, CacheBlocks: 16}
}

func (e *fakeEngine) Snapshot() runtime.Snapshot {
	return runtime.Snapshot{Running: int(e.running.Load()), Waiting: 2, Blocks: 16, BlocksUsed: 4, WaitingAdapters: []string{"cold", "sql"},
		Tenants: []runtime.TenantCount{{Name: "team", Waiting: 2}}}
}

func (e *fakeEngine) Submit(ctx context.Context, r *runtime.Request) (Stream, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, r)
	if e.refuse != nil {
		return nil, e.refuse
	}
	if r.Tasks != nil {
		return e.tasks(r)
	}
	return e.one(r)
}

func (e *fakeEngine) one(r *runtime.Request) (Stream, error) {
	if e.most > 0 && e.running.Load() >= e.most {
		return nil, runtime.ErrQueueFull
	}
	e.peak.Store(max(e.peak.Load(), e.running.Add(1)))
	return &fakeStream{engine: e, request: r}, nil
}

func (e *fakeEngine) Await(ctx context.Context, lease *catalogue.Lease, _ *runtime.Tenant, _ string) error {
	if e.crowded != nil {
		return e.crowded
	}
	if err := lease.Wait(ctx); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (e *fakeEngine) Probe(_ context.Context, _ string, a catalogue.Adapter) error {
	if e.overflows {
		return &catalogue.WithdrawnError{Digest: a.Digest(), Tensor: "lora_A", Value: 3.4e38}
	}
	return nil
}

func (e *fakeEngine) requests() []*runtime.Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*runtime.Request(nil), e.seen...)
}

type fakeStream struct {
	engine  *fakeEngine
	request *runtime.Request
	events  []runtime.Event
	made    bool
	err     error
	once    sync.Once
}

func (s *fakeStream) Close() {
	s.once.Do(func() { s.engine.running.Add(-1); s.engine.ended.Add(1) })
}

func (s *fakeStream) Next(ctx context.Context) (runtime.Event, error) {
	if !s.made {
		s.made = true
		s.make()
	}
	select {
	case <-time.After(s.engine.pause):
	case <-ctx.Done():
		return runtime.Event{}, ctx.Err()
	}
	if len(s.events) == 0 {
		if s.err != nil {
			return runtime.Event{}, s.err
		}
		return runtime.Event{}, runtime.ErrEnd
	}
	e := s.events[0]
	s.events = s.events[1:]
	return e, nil
}

// make lays out the events of the whole answer. A token's logprob is -0.25
// times its place, and "!" is always the next likeliest, at -3.
func (s *fakeStream) make() {
	r := s.request
	text, finish, err := s.engine.script(r)
	s.err = err
	second, _ := s.engine.text.ID("!")
	top := func(l runtime.Logprob, n int) []runtime.Logprob {
		return []runtime.Logprob{l, {Token: second, Logprob: -3}}[:min(max(n, 0), 2)]
	}
	if r.PromptLogprobs >= 0 {
		var prompt []runtime.PromptToken
		for i, id := range r.Prompt {
			l := runtime.Logprob{Token: id, Logprob: -0.25 * float32(i)}
			if i == 0 {
				l.Logprob = nan32()
			}
			prompt = append(prompt, runtime.PromptToken{Logprob: l, Top: top(l, r.PromptLogprobs)})
		}
		s.events = append(s.events, runtime.Event{Token: runtime.NoToken, Prompt: prompt})
	}
	ids, unreadable := s.engine.text.Encode(text, false)
	err = errors.Join(err, unreadable)
	if r.MaxTokens >= 0 && len(ids) >= r.MaxTokens {
		ids, finish = ids[:r.MaxTokens], runtime.FinishLength
	}
	for i, id := range ids {
		l := runtime.Logprob{Token: id, Logprob: -0.25 * float32(i+1)}
		e := runtime.Event{Token: id, Text: s.engine.text.Decode([]int32{id}, !r.Special)}
		if r.Logprobs >= 0 {
			e.Logprob, e.Top = l.Logprob, top(l, r.Logprobs)
		}
		s.events = append(s.events, e)
	}
	for _, stop := range r.Stop { // as the engine does: what is held back never shows
		if at := strings.Index(text, stop); at >= 0 {
			s.events, finish = s.events[:len(s.events)-len(ids)+at+len(stop)], runtime.FinishStop
			for i := len(s.events) - len(stop); i < len(s.events); i++ {
				s.events[i].Text = ""
			}
		}
	}
	if err != nil {
		return
	}
	if len(ids) == 0 {
		s.events = append(s.events, runtime.Event{Token: runtime.NoToken})
	}
	last := &s.events[len(s.events)-1]
	last.Finish = finish
	if r.Encode != runtime.EncodeNothing {
		s.events = []runtime.Event{{Token: runtime.NoToken, Finish: runtime.FinishLength, Encoded: encodedOf(r)}}
		last, ids = &s.events[0], nil
	}
	last.Usage = &runtime.Usage{
		PromptTokens: len(r.Prompt), CachedTokens: 1, CompletionTokens: len(ids), Seed: r.Sampling.Seed, AdapterDigest: r.Lease.Digest(),
		Queued: 3 * time.Millisecond, FirstToken: 5 * time.Millisecond, Total: 12 * time.Millisecond,
	}
}

// encodedOf is a row for each token, or one: its number, the adapter's, and ones.
func encodedOf(r *runtime.Request) kernels.Matrix {
	rows := len(r.Prompt)
	if r.Encode == runtime.EncodeFolded {
		rows = 1
	}
	if r.Encode == runtime.EncodeScores {
		return scoresOf(r)
	}
	m := kernels.NewMatrix(rows, 4)
	for i := range rows {
		copy(m.Row(i), []float32{float32(r.Prompt[i]), float32(len(r.Prompt)), 1, float32(len(r.Lease.Digest()))})
	}
	return m
}

// scoresOf are scores of which that of the class numbered as the token, or the number
// of tokens, is the highest.
func scoresOf(r *runtime.Request) kernels.Matrix {
	classes := &models.Classes{Task: models.Classify, Names: []string{"LABEL_0"}}
	if own := r.Lease.Adapter(); own != nil && own.Classes() != nil {
		classes = own.Classes()
	}
	n, rows := len(classes.Names), 1
	if classes.Task == models.Tag {
		rows = len(r.Prompt)
	}
	m := kernels.NewMatrix(rows, n)
	for i := range rows {
		best := len(r.Prompt)
		if classes.Task == models.Tag {
			best = int(r.Prompt[i])
		}
		m.Row(i)[best%n] = 2
	}
	return m
}

// fakeCatalogue has adapters by name; those that begin with "broken" do not
// load.
type fakeCatalogue struct {
	mu      sync.Mutex
	entries map[string]*catalogue.Entry
	budget  int   // 0: 1 MiB
	refuse  error // of Acquire

	precision string // what adapters are identified by, behind their digest

	meanwhile func() // in Acquire; may be nil

	resolved, scans atomic.Int32
}

func newFakeCatalogue(names ...string) *fakeCatalogue {
	c := &fakeCatalogue{entries: map[string]*catalogue.Entry{}}
	for _, n := range names {
		c.entries[n] = &catalogue.Entry{Name: n, URI: "/adapters/" + n, State: catalogue.Known}
	}
	return c
}

func (c *fakeCatalogue) with(name string, f func(e *catalogue.Entry) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[name]; ok {
		return f(e)
	}
	return catalogue.Unknown(name)
}

// Add registers a name; it is no part of Catalogue.
func (c *fakeCatalogue) Add(name, uri string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[name] = &catalogue.Entry{Name: name, URI: uri, State: catalogue.Known}
}

// Swap has what is not broken checked as the real one does.
func (c *fakeCatalogue) Swap(ctx context.Context, candidate catalogue.Candidate) (catalogue.Entry, error) {
	name, uri := candidate.Name, candidate.URI
	if _, err := c.Lookup(name); candidate.New && err == nil {
		return catalogue.Entry{}, fmt.Errorf("%w: %q", catalogue.ErrExists, name)
	}
	if _, err := os.Stat(uri); isFolderPath(uri) && err != nil {
		return catalogue.Entry{}, fmt.Errorf("%w: %w", catalogue.ErrSource, err)
	}
	_, err := os.Stat(uri + "/broken")
	switch a := (fakeAdapter{digest: "digest-of-upload", bytes: 2000}); {
	case strings.HasPrefix(name, "broken"):
		return catalogue.Entry{}, errBroken
	case err == nil:
		return catalogue.Entry{}, fmt.Errorf("%s: %s/adapter_model.safetensors: %w", uri, uri, errBroken)
	case c.budget > 0 && a.bytes > c.budget:
		return catalogue.Entry{}, catalogue.ErrSize
	default:
		for _, check := range []func(context.Context, catalogue.Adapter) error{candidate.Check, candidate.Probe} {
			if check == nil {
				continue
			}
			if err := check(ctx, a); err != nil {
				return catalogue.Entry{}, catalogue.OfAdapter(name, err)
			}
		}
	}
	if candidate.Move != nil {
		if uri, err = candidate.Move(); err != nil {
			return catalogue.Entry{}, catalogue.OfAdapter(name, err)
		}
	}
	c.Add(name, uri)
	e, err := c.Load(ctx, name)
	if candidate.Move != nil {
		e.Digest, e.Rank, e.Bytes = "digest-of-upload", 8, 2000
	}
	return e, err
}

func (c *fakeCatalogue) Remove(_ context.Context, name string, take func(catalogue.Entry) error) error {
	return c.with(name, func(e *catalogue.Entry) error {
		if take != nil {
			if err := take(*e); err != nil {
				return err
			}
		}
		delete(c.entries, name)
		return nil
	})
}

var errBroken = errors.New("lora_B.weight is missing")

func (c *fakeCatalogue) Acquire(name, session string) (*catalogue.Lease, error) {
	c.resolved.Add(1)
	if c.meanwhile != nil {
		c.meanwhile()
	}
	e, err := c.Load(context.Background(), name)
	if err = cmp.Or(c.refuse, err); err != nil {
		return nil, err
	}
	return catalogue.LeaseOf(name, fakeAdapter{digest: e.Digest, bytes: e.Bytes, precision: c.precision}), nil
}

func (c *fakeCatalogue) AcquireAll(names []string, session string) (leases []*catalogue.Lease, faults []error) {
	for _, name := range names {
		l, err := c.Acquire(name, session)
		leases, faults = append(leases, l), append(faults, err)
	}
	return leases, faults
}

func (c *fakeCatalogue) Match(wanted func(name string) bool) (all []catalogue.Match) {
	for _, e := range c.Entries() {
		if wanted(e.Name) {
			all = append(all, catalogue.Match{Name: e.Name, Resident: e.State == catalogue.Resident})
		}
	}
	return all
}

// Compose knows combinations by their names alone.
func (c *fakeCatalogue) Compose(parts []catalogue.Part, session string) (*catalogue.Lease, error) {
	if len(parts) == 1 && parts[0].Weight == 1 {
		return c.Acquire(parts[0].Name, session)
	}
	digest := ""
	for _, p := range parts {
		e, err := c.Load(context.Background(), p.Name)
		if err != nil {
			return nil, catalogue.OfAdapter(p.Name, err)
		}
		digest += fmt.Sprintf("%g·%s ", p.Weight, e.Digest)
	}
	return catalogue.LeaseOf(catalogue.CombinationName(parts), fakeAdapter{digest: digest}), nil
}

func (c *fakeCatalogue) Load(_ context.Context, name string) (entry catalogue.Entry, err error) {
	err = c.with(name, func(e *catalogue.Entry) error {
		if strings.HasPrefix(name, "broken") {
			return errBroken
		}
		e.State, e.Digest, e.Method, e.Rank, e.Bytes = catalogue.Resident, "digest-of-"+name, "lora", 4, 1000
		entry = *e
		return nil
	})
	return entry, err
}

func (c *fakeCatalogue) Pin(ctx context.Context, name string) error {
	if _, err := c.Load(ctx, name); err != nil {
		return err
	}
	return c.with(name, func(e *catalogue.Entry) error { e.Pinned = true; return nil })
}

func (c *fakeCatalogue) Unpin(name string) error {
	return c.with(name, func(e *catalogue.Entry) error { e.Pinned = false; return nil })
}

func (c *fakeCatalogue) Lookup(name string) (entry catalogue.Entry, err error) {
	c.resolved.Add(1)
	err = c.with(name, func(e *catalogue.Entry) error { entry = *e; return nil })
	return entry, err
}

func (c *fakeCatalogue) Try(_ context.Context, e catalogue.Entry) error { return e.Err }

func (c *fakeCatalogue) List() []catalogue.Entry {
	c.scans.Add(1)
	return c.Entries()
}

func (c *fakeCatalogue) Entries() []catalogue.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []catalogue.Entry
	for _, e := range c.entries {
		list = append(list, *e)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// Versions knows the one that there is.
func (c *fakeCatalogue) Versions(name string) ([]catalogue.Version, catalogue.Alias, error) {
	e, err := c.Lookup(name)
	if err != nil {
		return nil, catalogue.Alias{}, err
	}
	return []catalogue.Version{{Digest: e.Digest, Dir: e.URI, Live: true, Entry: e}}, catalogue.Alias{}, nil
}

func (c *fakeCatalogue) Redirect(_ context.Context, _ string, write func() error) error {
	return write()
}

// Capacity is by the size of all that it has.
func (c *fakeCatalogue) Capacity() int {
	_, budget := c.Bytes()
	return budget / 1000
}

func (c *fakeCatalogue) Bytes() (used, budget int) { return 1000, cmp.Or(c.budget, 1<<20) }

// site is a server on a real listener.
type site struct {
	url       string
	engine    *fakeEngine
	catalogue *fakeCatalogue
	server    *Server
	client    *http.Client
}

// newSite starts a server whose engine answers "Hi there.".
func newSite(t testing.TB, change func(*Config, *Parts)) *site {
	t.Helper()
	text := testTokenizer(t)
	template, err := chat.Load("testdata")
	require.NoError(t, err)
	s := &site{
		engine: &fakeEngine{text: text, script: func(*runtime.Request) (string, runtime.Finish, error) {
			return "Hi there.", runtime.FinishEOS, nil
		}},
		catalogue: newFakeCatalogue("sql", "cold", "broken"),
		client:    &http.Client{Transport: &http.Transport{}},
	}
	parts := Parts{
		Engine: s.engine, Catalogue: s.catalogue, Tokenizer: text, Chat: template, Metrics: NewMetrics("base-model"),
		Base: &models.Config{Architecture: &models.Architecture{Class: "LlamaForCausalLM", Tasks: []models.Task{models.Generate, models.Encode, models.Classify}}, Vocabulary: text.VocabSize(), Hidden: 4, Causal: true, Context: 128, Precision: "F32"},
	}
	config := Config{Name: "base-model", Source: "/models/base", Version: "1.2.3"}
	if change != nil {
		change(&config, &parts)
	}
	s.server, err = New(parts, config)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.url = "http://" + listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(listener) }()
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.server.Shutdown(ctx)
		require.NoError(t, <-served)
	})
	return s
}

func testTokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	text, err := tokenizer.Load("testdata")
	require.NoError(t, err)
	return text
}

type fakeAdapter struct {
	catalogue.Adapter
	digest    string
	bytes     int
	precision string
}

func (a fakeAdapter) Digest() string   { return a.digest }
func (a fakeAdapter) Identity() string { return a.digest + a.precision }
func (a fakeAdapter) Bytes() int       { return a.bytes }
func (fakeAdapter) Method() string     { return "lora" }
func (fakeAdapter) PrefixTokens() int  { return 0 }
func (fakeAdapter) VirtualTokens() int { return 0 }
func (fakeAdapter) Rank() int          { return 8 }

// Classes has a head of texts for "sql" and one of tokens for "ner".
func (a fakeAdapter) Classes() *models.Classes {
	switch a.digest {
	case "digest-of-sql":
		return &models.Classes{Task: models.Classify, Names: []string{"bad", "so so", "good"}}
	case "digest-of-ner":
		return &models.Classes{Task: models.Tag, Names: []string{"O", "B-PER", "I-PER", "B-LOC"}}
	}
	return nil
}

func (fakeAdapter) Vocabulary() int { return 1 << 20 }

func (fakeAdapter) ChatTemplate() chat.Source           { return chat.Source{} }
func (fakeAdapter) Tokenizer() *tokenizer.Tokenizer     { return nil }
func (fakeAdapter) EndTokens() []int32                  { return nil }
func (fakeAdapter) Sampling() adapters.SamplingDefaults { return adapters.SamplingDefaults{} }

// answer is a response read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *site) send(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}

func (s *site) post(t testing.TB, path, body string, headers ...string) answer {
	t.Helper()
	return s.send(t, http.MethodPost, path, body, headers...)
}

func (s *site) get(t testing.TB, path string) answer {
	t.Helper()
	return s.send(t, http.MethodGet, path, "")
}

// events are the data lines of a stream.
func (a answer) events() []string {
	var events []string
	for line := range strings.Lines(a.body) {
		if data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: "); ok {
			events = append(events, data)
		}
	}
	return events
}

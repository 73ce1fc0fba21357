package runtime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// The clock of regular expressions ends a second after the last.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"))
}

// fakeModel is a model whose next token is a hash of all tokens before it, as
// read back from the key-value cache, and of the adapter's digest: a block that
// is missing, stale or of another adapter changes the text.
type fakeModel struct {
	config models.Config
	last   string             // the last batch, as scripts write it
	broken atomic.Bool        // every row is NaN
	before func(models.Batch) // called with each batch
}

func newFakeModel() *fakeModel {
	return &fakeModel{config: models.Config{
		Vocabulary: 64, Hidden: 1, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 1, Context: 512, EOS: []int32{63},
	}}
}

func (m *fakeModel) Config() *models.Config { return &m.config }
func (m *fakeModel) Sites() models.Sites    { return nil }

func (m *fakeModel) Forward(p *models.Pass, b *models.Batch, c *models.Cache) *models.Value {
	if m.before != nil {
		m.before(*b)
	}
	kv, next := c.Layers[0], 0
	h := p.New(len(b.Out), 1)
	var words []string
	var k, v [1]float32
	for _, span := range b.Spans {
		for r := span.Start; r < span.End; r++ {
			position := span.Position + r - span.Start
			kv.Store(span.Blocks[position/kernels.BlockLen], position, []float32{float32(b.Tokens[r])}, v[:])
		}
		var a *fakeAdapter
		for _, s := range b.Segments {
			if s.Start <= span.Start && span.Start < s.End && s.Adapter != nil {
				a = s.Adapter.(*fakeAdapter)
			}
		}
		hash, name := mix(1), ""
		if a != nil {
			hash = mix(prefixNumber(a.digest))
		}
		for position := range span.Position + span.End - span.Start {
			kv.Load(span.Blocks[position/kernels.BlockLen], position, k[:], v[:])
			hash = mix(hash ^ uint64(int64(k[0])))
			if k[0] >= 0 && name == "" {
				name = string(rune('a' + int(k[0])))
			}
			row := span.Start + position - span.Position
			if next < len(b.Out) && int(b.Out[next]) == row {
				h.Data.Row(next)[0] = float32(hash % 61) // never EOS
				if a != nil && a.fault == "nan" || m.broken.Load() {
					h.Data.Row(next)[0] = -1
				}
				next++
			}
		}
		if a != nil && a.fault == "panic" {
			panic("the adapter is at fault")
		}
		if n := span.End - span.Start; n == 1 {
			words = append(words, fmt.Sprintf("%s%d", name, span.Position))
		} else {
			words = append(words, fmt.Sprintf("%s%d-%d", name, span.Position, span.Position+n-1))
		}
	}
	m.last = strings.Join(words, " ")
	return h
}

func (m *fakeModel) Head(p *models.Pass, _ *models.Batch, _ int, h *models.Value) *models.Value {
	logits := p.New(h.Rows(), m.config.Vocabulary)
	for r := range h.Rows() {
		row := logits.Data.Row(r)
		token := h.Data.Row(r)[0]
		for i := range row {
			row[i] = float32(i%7) / 8
		}
		if token < 0 {
			row[5] = float32(math.NaN())
		} else {
			row[int(token)] = 3
		}
	}
	return logits
}

func prefixNumber(s string) (n uint64) {
	for _, b := range sha256.Sum256([]byte(s)) {
		n = n*31 + uint64(b)
	}
	return n
}

type fakeAdapter struct {
	digest  string
	bytes   int
	virtual int
	prefix  int
	fault   string
	shared  int // the lowest layers, on which it does not act
	added   int // tokens of its own
	text    *tokenizer.Tokenizer
	ends    []int32
}

func (a *fakeAdapter) Linear(int) models.LinearDelta       { return nil }
func (a *fakeAdapter) Norm(int) *models.Norm               { return nil }
func (a *fakeAdapter) Embedding(int) models.EmbeddingDelta { return nil }
func (a *fakeAdapter) Sublayer(int) models.Insert          { return nil }
func (a *fakeAdapter) Prefix(int) (k, v kernels.Matrix) {
	if a.prefix == 0 {
		return k, v
	}
	k, v = kernels.NewMatrix(a.prefix, 1), kernels.NewMatrix(a.prefix, 1)
	for i := range a.prefix {
		k.Row(i)[0] = float32(-100 - i)
	}
	return k, v
}
func (a *fakeAdapter) Digest() string         { return a.digest }
func (a *fakeAdapter) Identity() string       { return a.digest }
func (a *fakeAdapter) Bytes() int             { return a.bytes }
func (a *fakeAdapter) PrefixTokens() int      { return a.prefix }
func (a *fakeAdapter) VirtualTokens() int     { return a.virtual }
func (*fakeAdapter) Classes() *models.Classes { return nil }
func (a *fakeAdapter) Vocabulary() int        { return 64 + a.added }
func (a *fakeAdapter) Method() string         { return "fake" }
func (a *fakeAdapter) Rank() int              { return 0 }

func (a *fakeAdapter) Largest() (string, float32) { return "lora_A", 3e38 }
func (a *fakeAdapter) LoudestToken() int32        { return -1 }
func (a *fakeAdapter) Invocation() []int32        { return nil }
func (a *fakeAdapter) SharedLayers() int          { return a.shared }

func (a *fakeAdapter) ChatTemplate() chat.Source           { return chat.Source{} }
func (a *fakeAdapter) Tokenizer() *tokenizer.Tokenizer     { return a.text }
func (a *fakeAdapter) EndTokens() []int32                  { return a.ends }
func (a *fakeAdapter) Sampling() adapters.SamplingDefaults { return adapters.SamplingDefaults{} }

// fakeLoader loads fakeAdapters from URIs "fake://digest".
type fakeLoader struct {
	mu       sync.Mutex
	adapters map[string]*fakeAdapter // by digest; others are made
	errors   map[string]error
	gates    map[string]chan struct{} // closed when the load may end
	loads    map[string]int
}

func (f *fakeLoader) load(ctx context.Context, s catalogue.Source) (catalogue.Adapter, error) {
	name := strings.TrimPrefix(s.URI, "fake://")
	f.mu.Lock()
	if f.loads == nil {
		f.loads = map[string]int{}
	}
	f.loads[name]++
	gate, err, a := f.gates[name], f.errors[name], f.adapters[name]
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	if a == nil {
		a = &fakeAdapter{digest: name, bytes: 100}
	}
	return a, nil
}

func (f *fakeLoader) catalogue(t testing.TB, o catalogue.Options) *catalogue.Catalogue {
	t.Helper()
	o.Schemes = map[string]catalogue.Scheme{"fake": func(context.Context, string) (string, error) { return "", nil }}
	c, err := catalogue.New(f.load, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// script drives an engine step by step.
type script struct {
	t       testing.TB
	m       *fakeModel
	loader  *fakeLoader
	c       *catalogue.Catalogue
	e       *Engine
	clock   time.Time
	streams map[string]*Stream
}

func newScript(t testing.TB, o Options) *script {
	t.Helper()
	return newScriptOf(t, newFakeModel(), o)
}

func newScriptOf(t testing.TB, m *fakeModel, o Options) *script {
	t.Helper()
	s := &script{t: t, m: m, loader: &fakeLoader{}, clock: time.Unix(0, 0), streams: map[string]*Stream{}}
	s.c = s.loader.catalogue(t, catalogue.Options{Compose: func(parts []catalogue.Part, _ []catalogue.Adapter) (catalogue.Adapter, error) {
		return &fakeAdapter{digest: catalogue.CombinationName(parts)}, nil
	}})
	pool := kernels.NewPool(1)
	t.Cleanup(pool.Close)
	e, err := newEngine(s.m, nil, pool, o)
	if err != nil {
		t.Fatal(err)
	}
	e.now = func() time.Time { return s.clock }
	s.e = e
	return s
}

// adapters registers and loads adapters whose digests are their names.
func (s *script) adapters(names ...string) {
	s.t.Helper()
	for _, n := range names {
		if err := s.c.Add(n, "fake://"+n); err != nil {
			s.t.Fatal(err)
		}
		if _, err := s.c.Load(context.Background(), n); err != nil {
			s.t.Fatal(err)
		}
	}
}

// prompt is n tokens of which the first is the name's letter and the rest
// depend on it.
func prompt(name string, n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(name[0]-'a') + int32(i%13)
	}
	return p
}

// submit asks for max tokens after n of prompt; name is "a" or "a@adapter".
func (s *script) submit(name string, n, max int) error {
	letter, adapter, _ := strings.Cut(name, "@")
	return s.call(name, &call{Request{Prompt: prompt(letter, n), MaxTokens: max, Logprobs: -1, PromptLogprobs: -1}, adapter})
}

// call is a request to the adapter of that name, or to a combination, "a:0.7,b:0.3";
// empty: the base.
type call struct {
	Request
	adapter string
}

// submit submits it with a lease of its own, which the engine alone holds then.
func (r *call) submit(ctx context.Context, e *Engine, c *catalogue.Catalogue) (*Stream, error) {
	request := r.Request
	if r.adapter != "" {
		lease, err := c.Compose(r.parts(), "")
		if err != nil {
			return nil, err
		}
		defer lease.Release()
		request.Lease = lease
	}
	return e.Submit(ctx, &request)
}

// parts are the adapters of the call.
func (r *call) parts() (parts []catalogue.Part) {
	for text := range strings.SplitSeq(r.adapter, ",") {
		p := catalogue.Part{Name: text, Weight: 1}
		if name, weight, ok := strings.Cut(text, ":"); ok {
			p.Name = name
			_, _ = fmt.Sscan(weight, &p.Weight)
		}
		if text != "" {
			parts = append(parts, p)
		}
	}
	return parts
}

// request is a call of the base.
func (s *script) request(name string, r *Request) error { return s.call(name, &call{Request: *r}) }

func (s *script) call(name string, r *call) error {
	stream, err := r.submit(context.Background(), s.e, s.c)
	if err == nil {
		s.streams[name] = stream
	}
	return err
}

func (s *script) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// step runs one step and returns its batch: "a0-6 b7" is positions 0 to 6 of
// a's tokens and 7 of b's; "" is none.
func (s *script) step() string {
	s.m.last = ""
	s.e.intake()
	s.e.step()
	s.clock = s.clock.Add(time.Second)
	return s.m.last
}

// steps demands the batches of the next steps.
func (s *script) steps(want ...string) {
	s.t.Helper()
	for i, w := range want {
		if got := s.step(); got != w {
			s.t.Fatalf("step %d computed %q, want %q", i, got, w)
		}
	}
}

// run steps until nothing is left to do.
func (s *script) run() {
	s.t.Helper()
	for range 10000 {
		if s.step() == "" {
			return
		}
	}
	s.t.Fatal("the engine never comes to rest")
}

// answer is everything a stream said.
type answer struct {
	tokens   []int32
	logprobs []float32
	top      [][]Logprob
	text     string
	prompt   []PromptToken
	encoded  kernels.Matrix
	finish   Finish
	usage    *Usage
	err      error
}

// take returns what a stream holds; an answer without finish and err goes on.
func (s *script) take(name string) answer {
	s.t.Helper()
	stream := s.streams[name]
	if stream == nil {
		s.t.Fatalf("no stream %q", name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return collect(ctx, stream)
}

func collect(ctx context.Context, stream *Stream) (a answer) {
	for {
		e, err := stream.Next(ctx)
		if err != nil {
			if !errors.Is(err, ErrEnd) && (!errors.Is(err, context.Canceled) || ctx.Err() == nil) {
				a.err = err
			}
			return a
		}
		a.text += e.Text
		if e.Prompt != nil {
			a.prompt = e.Prompt
		}
		if e.Token != NoToken {
			a.tokens = append(a.tokens, e.Token)
			a.logprobs = append(a.logprobs, e.Logprob)
			a.top = append(a.top, e.Top)
		}
		if e.Finish != "" {
			a.finish, a.usage, a.encoded = e.Finish, e.Usage, e.Encoded
		}
	}
}

// want demands a's tokens as the fake model makes them after a prompt.
func (s *script) want(name string, a *fakeAdapter, n, max int) {
	s.t.Helper()
	letter, _, _ := strings.Cut(name, "@")
	tokens := prompt(letter, n)
	hash := mix(1)
	if a != nil {
		hash = mix(prefixNumber(a.digest))
		for i := range a.virtual {
			hash = mix(hash ^ uint64(int64(-1-i)))
		}
		for i := range a.prefix {
			hash = mix(hash ^ uint64(int64(-100-i)))
		}
	}
	for _, t := range tokens {
		hash = mix(hash ^ uint64(t))
	}
	var want []int32
	for range max {
		t := int32(hash % 61)
		want = append(want, t)
		hash = mix(hash ^ uint64(t))
	}
	got := s.take(name)
	if !slices.Equal(got.tokens, want) || got.finish != FinishLength {
		s.t.Errorf("%s answered %v (%s, %v), want %v", name, got.tokens, got.finish, got.err, want)
	}
}

// empty demands that nothing is held any more.
func (s *script) empty() {
	s.t.Helper()
	n := s.e.Snapshot()
	if n.Running+n.Waiting != 0 || n.BlocksUsed != 0 || s.e.blocks.used() != 0 || len(s.e.queue.waiting) != 0 {
		s.t.Errorf("left behind: %+v", n)
	}
	if r := s.e.room; r.waiting+r.running+len(r.tenants)+len(r.most) != 0 {
		s.t.Errorf("left in the room: %+v", r)
	}
	for _, e := range s.c.List() {
		if e.References != 0 || e.State == catalogue.Draining {
			s.t.Errorf("%s is still held: %+v", e.Name, e)
		}
	}
}

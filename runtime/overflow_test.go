package runtime

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// TestOverflowWithdrawsTheVersion: the first row whose values are not finite
// ends the version's time, under whatever name, until its name holds another;
// nobody else notices.
func TestOverflowWithdrawsTheVersion(t *testing.T) {
	s := newScript(t, Options{Log: silent})
	s.loader.adapters = map[string]*fakeAdapter{
		"bad": {digest: "bad", bytes: 100, fault: "nan"}, "copy": {digest: "bad", bytes: 100, fault: "nan"},
	}
	s.adapters("bad", "good")
	for _, name := range []string{"a@bad", "b@good", "c"} {
		s.must(s.submit(name, 5, 6))
	}
	s.run()
	s.want("b@good", &fakeAdapter{digest: "good"}, 5, 6)
	s.want("c", nil, 5, 6)
	var withdrawn *catalogue.WithdrawnError
	if got := s.take("a@bad"); !errors.As(got.err, &withdrawn) || withdrawn.Digest != "bad" || !strings.Contains(got.err.Error(), `adapter "bad": version bad is not served`) || !strings.Contains(got.err.Error(), "in lora_A") {
		t.Errorf("got %v", got.err)
	}
	if err := s.submit("d@bad", 5, 6); !errors.As(err, &withdrawn) {
		t.Errorf("asked for again: %v", err)
	}
	if e, err := s.c.Lookup("bad"); err != nil || e.State != catalogue.Failed || !errors.As(e.Err, &withdrawn) {
		t.Errorf("%+v, %v", e, err)
	}
	s.must(s.c.Add("copy", "fake://copy"))
	if _, err := s.c.Load(t.Context(), "copy"); !errors.As(err, &withdrawn) {
		t.Errorf("another name: %v", err)
	}
	if used, _ := s.c.Bytes(); used != 100 {
		t.Errorf("%d bytes are held", used)
	}
	s.must(s.c.Replace("bad", "fake://mended"))
	s.must(s.submit("e@bad", 5, 6))
	if _, err := s.c.Load(t.Context(), "bad"); err != nil {
		t.Fatal(err)
	}
	s.run()
	s.want("e@bad", &fakeAdapter{digest: "mended"}, 5, 6)
	s.empty()
}

// TestProbeOfTokenizer: an adapter that brings a tokenizer is probed like any
// other.
func TestProbeOfTokenizer(t *testing.T) {
	own, err := tokenizer.FromJSON([]byte(`{"decoder": {"type": "Fuse"}, "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}`))
	if err != nil {
		t.Fatal(err)
	}
	e, _, _ := live(t, &fakeLoader{}, Options{Log: silent})
	if err := e.Probe(t.Context(), "x", &fakeAdapter{digest: "good", text: own}); err != nil {
		t.Errorf("got %v", err)
	}
	var broken *catalogue.WithdrawnError
	if err := e.Probe(t.Context(), "x", &fakeAdapter{digest: "bad", text: own, fault: "nan"}); !errors.As(err, &broken) {
		t.Errorf("got %v", err)
	}
}

// TestProbe: what overflows is found before a name stands for it, named and
// remembered; a name whose new version is refused means what it meant before.
func TestProbe(t *testing.T) {
	f := &fakeLoader{adapters: map[string]*fakeAdapter{"bad": {digest: "bad", bytes: 100, fault: "nan"}}}
	e, m, c := live(t, f, Options{Log: silent})
	swap := func(ctx context.Context, name, digest string) error {
		_, err := c.Swap(ctx, catalogue.Candidate{Name: name, URI: "fake://" + digest, Probe: func(ctx context.Context, a catalogue.Adapter) error {
			return e.Probe(ctx, name, a)
		}})
		return err
	}
	if err := swap(t.Context(), "x", "one"); err != nil {
		t.Fatal(err)
	}
	before := e.Snapshot()
	var broken *catalogue.WithdrawnError
	err := swap(t.Context(), "x", "bad")
	if !errors.As(err, &broken) || broken.Digest != "bad" || broken.Tensor != "lora_A" || !strings.Contains(err.Error(), "3e+38") {
		t.Fatalf("got %v", err)
	}
	if entry, err := c.Load(t.Context(), "x"); err != nil || entry.Digest != "one" {
		t.Errorf("%+v, %v", entry, err)
	}
	steps := e.Snapshot().Steps
	if n := steps - before.Steps; n == 0 || n > 3 {
		t.Errorf("the probe took %d steps", n)
	}
	for range 2 { // their digests are known
		if err := swap(t.Context(), "y", "bad"); !errors.As(err, &broken) {
			t.Errorf("got %v", err)
		}
		if err := swap(t.Context(), "y", "one"); err != nil {
			t.Errorf("got %v", err)
		}
	}
	if n := e.Snapshot().Steps; n != steps {
		t.Errorf("what is known was probed again: %d steps", n-steps)
	}
	if err := c.Add("by hand", "fake://bad"); err == nil {
		t.Error("a name with a space")
	}
	if err := c.Add("by-hand", "fake://bad"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Load(t.Context(), "by-hand"); !errors.As(err, &broken) {
		t.Errorf("laid by hand: %v", err)
	}
	// An adapter is not blamed for a base that computes NaN by itself.
	f.adapters["innocent"] = &fakeAdapter{digest: "innocent", bytes: 100, fault: "nan"}
	m.broken.Store(true)
	if err := swap(t.Context(), "z", "innocent"); err != nil {
		t.Errorf("got %v", err)
	}
	m.broken.Store(false)
	if err := swap(t.Context(), "z", "innocent"); !errors.As(err, &broken) {
		t.Errorf("remembered in the base's fault: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Probe(ctx, "z", &fakeAdapter{digest: "late"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestProbeFindsRealOverflows probes golden adapters, as they are and with one
// weight of 3.4e38.
func TestProbeFindsRealOverflows(t *testing.T) {
	for _, c := range []struct {
		base       string
		good, huge []string
	}{
		{"llama-gqa", families[1:], []string{"lora", "dora-all-linear", "lora-lm-head-tied", "lora-save-norm", "resized-save"}},
		{"encoders/bert", []string{"lora", "bitfit", "bottleneck-pfeiffer", "prefix", "prompt"}, []string{"lora", "dora", "lora-save-norm", "lora-save-pooler"}},
	} {
		t.Run(c.base, func(t *testing.T) { probed(t, c.base, c.good, c.huge) })
	}
}

func probed(t *testing.T, base string, good, huge []string) {
	g := openGolden(t, base)
	pool := kernels.NewPool(2)
	defer pool.Close()
	e, err := New(g.m, nil, pool, Options{CacheBlocks: 64, Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	for _, name := range good {
		dir := modeltest.Goldens(t, base, "adapters", name)
		a, err := g.load(t.Context(), catalogue.Source{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Probe(t.Context(), name, a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tensor, v := a.Largest(); tensor == "" || !(math.Abs(float64(v)) > 0) {
			t.Errorf("%s: largest %v in %q", name, v, tensor)
		}
	}
	for _, name := range huge {
		dir := adaptertest.Overflowing(t, modeltest.Goldens(t, base, "adapters", name))
		a, err := g.load(t.Context(), catalogue.Source{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		var broken *catalogue.WithdrawnError
		if err := e.Probe(t.Context(), name, a); !errors.As(err, &broken) || broken.Value != 3.4e38 {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestProbeFindsTokens: a row of the embedding that overflows is found, though no
// other token shows it.
func TestProbeFindsTokens(t *testing.T) {
	g := openGolden(t, "llama")
	pool := kernels.NewPool(2)
	defer pool.Close()
	e, err := New(g.m, nil, pool, Options{CacheBlocks: 64, Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	for name, c := range map[string]struct {
		tensor string
		rows   int
	}{
		"tokens":          {"trainable_tokens_delta", 3},
		"resized-tokens":  {"trainable_tokens_delta", 3},
		"lora-save-embed": {"embed_tokens.weight", 96},
	} {
		for _, row := range []int{0, 1, c.rows / 2, c.rows - 1} {
			dir := adaptertest.OverflowingRow(t, modeltest.Goldens(t, "llama", "adapters", name), c.tensor, row)
			a, err := g.load(t.Context(), catalogue.Source{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			var broken *catalogue.WithdrawnError
			if err := e.Probe(t.Context(), name, a); !errors.As(err, &broken) || !strings.HasSuffix(broken.Tensor, c.tensor) {
				t.Errorf("%s, row %d: got %v", name, row, err)
			}
		}
	}
}

// TestOwnVocabulary holds tokens, biases and log-probabilities against the
// adapter's vocabulary, which is larger here than the base's 96 tokens.
func TestOwnVocabulary(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	ask := func(r call) answer {
		r.MaxTokens, r.IgnoreEOS = 1, true
		return g.run(g.engine(1, Options{}), []*call{&r}, nil)[0]
	}
	for _, token := range []int32{0, 95, 96, 102} {
		a := ask(call{Request{Prompt: []int32{102, token}, Logprobs: 103, PromptLogprobs: 2, Sampling: Sampling{Bias: map[int32]float32{token: 1000}}}, "resized-save"})
		if a.err != nil || a.tokens[0] != token || len(a.top[0]) != 103 {
			t.Errorf("token %d: %+v", token, a)
		}
	}
	for what, c := range map[string]struct {
		r    call
		want error
		name string
	}{
		"token":             {call{Request{Prompt: []int32{1, 103}}, "resized-save"}, ErrPrompt, "token 1 is 103, outside the vocabulary of 103"},
		"another's token":   {call{Request{Prompt: []int32{96}}, "lora"}, ErrPrompt, "outside the vocabulary of 96"},
		"bias":              {call{Request{Prompt: []int32{1}, Sampling: Sampling{Bias: map[int32]float32{103: 1}}}, "resized-save"}, ErrSampling, "bias of token 103, outside the vocabulary of 103"},
		"log-probabilities": {call{Request{Prompt: []int32{1}, Logprobs: 104}, "resized-save"}, ErrSampling, "103 tokens"},
	} {
		if a := ask(c.r); !errors.Is(a.err, c.want) || !strings.Contains(a.err.Error(), c.name) {
			t.Errorf("%s: got %v", what, a.err)
		}
	}
	e := g.engine(1, Options{})
	defer e.pool.Close()
	if _, err := e.Submit(t.Context(), &Request{Prompt: []int32{96}, MaxTokens: 1}); !errors.Is(err, ErrPrompt) {
		t.Errorf("the base: %v", err)
	}
}

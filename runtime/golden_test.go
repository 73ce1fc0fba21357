package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// families are golden adapters of the tiny Llama: one of each kind there is,
// with different ranks.
var families = []string{
	"", "lora", "lora-all-linear", "rslora", "dora-all-linear", "ia3", "prefix", "prompt",
	"p-tuning", "lora-embed", "lora-lm-head-tied", "beft", "bottleneck-houlsby", "lora-save-norm",
	"resized-save", "resized-lora-embed", "resized-tokens", "vera", "miss", "adalora", "ln-tuning", "alora", "lora-layers",
}

// kinds are the families and some combinations of them.
var kinds = slices.Concat(families, []string{"lora:0.7,lora-embed:-0.5,lora-lm-head-tied:2", "vera:0.5,miss:-1,adalora:0.25,rslora:1"})

// invoke puts the invocation tokens of the golden aLoRA into the middle of a
// prompt that is for it.
func invoke(adapter string, prompt []int32) {
	if adapter == "alora" {
		copy(prompt[len(prompt)/2:], []int32{7, 8})
	}
}

// golden is a real model with real adapters.
type golden struct {
	t         testing.TB
	m         models.Model
	load      catalogue.Loader
	catalogue *catalogue.Catalogue
}

func openGolden(t testing.TB, base string) *golden {
	t.Helper()
	m := modeltest.Open(t, base)
	load := loader(m)
	c, err := catalogue.New(load, catalogue.Options{Dir: modeltest.Goldens(t, base, "adapters"), Compose: catalogue.ComposeFor(m)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &golden{t, m, load, c}
}

// still ends what the catalogue does beside the test, as looking at its folder once more,
// where allocations are counted. What is in memory may be used.
func (g *golden) still() {
	g.t.Helper()
	if err := g.catalogue.Close(); err != nil {
		g.t.Fatal(err)
	}
}

// engine returns one without a step loop.
func (g *golden) engine(threads int, o Options) *Engine {
	g.t.Helper()
	if o.CacheBlocks == 0 {
		o.CacheBlocks = 128
	}
	pool := kernels.NewPool(threads)
	e, err := newEngine(g.m, nil, pool, o)
	if err != nil {
		g.t.Fatal(err)
	}
	return e
}

// run answers requests, of which those from late[i] on arrive before step i.
func (g *golden) run(e *Engine, requests []*call, arrive func(i int) int) []answer {
	t := g.t
	t.Helper()
	defer e.pool.Close()
	streams := make([]*Stream, len(requests))
	for step, waiting := 0, len(requests); ; step++ {
		for i, r := range requests {
			if streams[i] != nil || arrive != nil && arrive(i) > step {
				continue
			}
			for _, p := range r.parts() {
				if _, err := g.catalogue.Load(context.Background(), p.Name); err != nil {
					t.Fatal(err)
				}
			}
			stream, err := r.submit(context.Background(), e, g.catalogue)
			if err != nil {
				t.Fatal(err)
			}
			streams[i] = stream
			waiting--
		}
		e.intake()
		if !e.step() && waiting == 0 {
			break
		}
		if step > 100000 {
			t.Fatal("the engine never comes to rest")
		}
	}
	answers := make([]answer, len(streams))
	for i, s := range streams {
		answers[i] = collect(context.Background(), s)
	}
	if n := e.blocks.used(); n != 0 {
		t.Errorf("%d blocks are still held", n)
	}
	return answers
}

// same demands equal bits of all that depends on the request alone.
func same(t testing.TB, what string, got, want answer) {
	t.Helper()
	for i := range want.prompt { // NaN is not equal to itself
		if i < len(got.prompt) && math.IsNaN(float64(got.prompt[i].Logprob.Logprob)) && math.IsNaN(float64(want.prompt[i].Logprob.Logprob)) {
			got.prompt, want.prompt = slices.Clone(got.prompt), slices.Clone(want.prompt)
			got.prompt[i].Logprob.Logprob, want.prompt[i].Logprob.Logprob = 0, 0
		}
	}
	got.usage, want.usage = nil, nil
	if errors.Is(got.err, want.err) {
		got.err, want.err = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// requests are n of different prompts, lengths, adapters and samplers.
func requests(n, vocabulary int) []*call {
	var list []*call
	for i := range n {
		r := &call{Request{MaxTokens: 4 + i%13*3, IgnoreEOS: true, Logprobs: i % 4, PromptLogprobs: -1}, kinds[i%len(kinds)]}
		length := 3 + (i*17)%71
		if i%3 == 0 { // short ones with long answers outgrow a small cache
			length, r.MaxTokens = 3+i%30, 60
		}
		for j := range length {
			r.Prompt = append(r.Prompt, int32((i%5*31+j*j*7+j)%vocabulary))
		}
		if strings.HasPrefix(r.adapter, "resized") {
			r.Prompt[0], r.Prompt[length-1] = 102, 97 // which the base has not
		}
		invoke(r.adapter, r.Prompt)
		switch i % 4 {
		case 1:
			r.Sampling = Sampling{Temperature: 0.9, TopK: 20, TopP: 0.9, Seed: uint64(i)}
		case 2:
			r.Sampling = Sampling{Temperature: 1.3, TopP: 0.8, MinP: 0.01, Repetition: 1.2, Seed: 7}
		case 3:
			r.Sampling = Sampling{Presence: 0.4, Frequency: 0.3, Bias: map[int32]float32{3: 1}}
			r.PromptLogprobs = 1
		}
		list = append(list, r)
	}
	return list
}

// TestSameBitsInAnyCompany is law 1 over the engine.
func TestSameBitsInAnyCompany(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	list := requests(2*len(kinds), g.m.Config().Vocabulary)
	answers := map[kernels.Format][]answer{}
	for _, f := range kernels.KVFormats() {
		t.Run(f.String(), func(t *testing.T) { answers[f] = g.sameInAnyCompany(t, list, f) })
	}
	for i := range list { // what is sampled may well be the same, log-probabilities are not
		f32, f16, q8 := answers[kernels.F32][i], answers[kernels.F16][i], answers[kernels.Q8_0][i]
		if list[i].Logprobs > 0 && (reflect.DeepEqual(f32, f16) || reflect.DeepEqual(f32, q8) || reflect.DeepEqual(f16, q8)) {
			t.Errorf("request %d, adapter %q: the same bits in two formats of the cache", i, list[i].adapter)
		}
	}
}

// sameInAnyCompany is law 1 over an engine with keys and values in a format. It
// returns the answers.
func (g *golden) sameInAnyCompany(t *testing.T, list []*call, f kernels.Format) (alone []answer) {
	for _, r := range list {
		a := g.run(g.engine(1, Options{NoPrefixCache: true, CacheFormat: f}), []*call{r}, nil)[0]
		if a.finish != FinishLength || a.err != nil {
			t.Fatalf("%q: %+v", r.adapter, a)
		}
		alone = append(alone, a)
	}
	for _, c := range []struct {
		name    string
		threads int
		options Options
		arrive  func(int) int
	}{
		{"one batch", 1, Options{}, nil},
		{"two threads", 2, Options{}, nil},
		{"chunks of 7", 1, Options{StepTokens: 7}, nil},
		{"chunks of 1", 2, Options{StepTokens: 1}, func(i int) int { return 3 * i }},
		{"preempted", 2, Options{CacheBlocks: 7}, nil},
		{"preempted, without prefixes", 1, Options{CacheBlocks: 7, NoPrefixCache: true, StepTokens: 40}, nil},
		{"three slots", 2, Options{Slots: 3}, func(i int) int { return i }},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.CacheFormat = f
			e := g.engine(c.threads, c.options)
			for i, a := range g.run(e, list, c.arrive) {
				same(t, fmt.Sprintf("request %d, adapter %q", i, list[i].adapter), a, alone[i])
			}
			n := e.Snapshot()
			t.Logf("%d steps, %d preemptions, %d cached tokens", n.Steps, n.Preemptions, n.CachedTokens)
			if c.options.CacheBlocks == 7 && n.Preemptions == 0 {
				t.Error("nothing was preempted")
			}
		})
	}
	return alone
}

// TestBlocksAreShared counts the blocks that requests find which others have
// computed: of the base's, by whoever leaves their keys and values as they are,
// and by nobody else; and the other way round. The bits are those of a run alone.
func TestBlocksAreShared(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	g.save(map[string]map[string]any{
		"head":      {"peft_type": "LORA", "r": 2, "target_modules": []string{"lm_head"}},
		"last-norm": {"peft_type": "LN_TUNING", "target_modules": []string{"model.norm"}},
	})
	const block = kernels.BlockLen
	prompt := longPrompt()
	invoked := func(at int) []int32 {
		p := slices.Clone(prompt)
		copy(p[at:], []int32{7, 8})
		return p
	}
	for _, c := range []struct {
		name          string
		first, second *call
		blocks        int
	}{
		{"a head after the base", ask("", prompt), ask("head", prompt), 3},
		{"the base after a head", ask("head", prompt), ask("", prompt), 3},
		{"a last norm after a head", ask("head", prompt), ask("last-norm", prompt), 3},
		{"a LoRA after the base", ask("", prompt), ask("lora", prompt), 0},
		{"a LoRA after a head", ask("head", prompt), ask("lora", prompt), 0},
		{"an invocation at the end", ask("", prompt), ask("alora", invoked(3*block+4)), 3},
		{"an invocation where a block begins", ask("", prompt), ask("alora", invoked(2*block)), 2},
		{"an invocation where a block ends", ask("", prompt), ask("alora", invoked(2*block-1)), 1},
		{"an invocation at the beginning", ask("", invoked(0)), ask("alora", invoked(0)), 0},
		{"the base after an invocation", ask("alora", invoked(2*block+1)), ask("", invoked(2*block+1)), 2},
		{"the same invocation", ask("alora", invoked(2*block+1)), ask("alora", invoked(2*block+1)), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			alone := g.run(g.engine(1, Options{NoPrefixCache: true}), []*call{c.second}, nil)[0]
			got := g.run(g.engine(2, Options{}), []*call{c.first, c.second}, func(i int) int { return 50 * i })[1]
			same(t, c.name, got, alone)
			if n := got.usage.CachedTokens; n != c.blocks*block {
				t.Errorf("%d tokens of other blocks, want %d blocks", n, c.blocks)
			}
		})
	}
}

// save registers adapters of these configurations, whose values are not their
// first.
func (g *golden) save(configs map[string]map[string]any) {
	for name, config := range configs {
		c, err := adapters.NewConfig(config)
		if err != nil {
			g.t.Fatal(err)
		}
		g.saveAs(name, c)
	}
}

func (g *golden) saveAs(name string, c *adapters.Config) {
	g.t.Helper()
	a, err := adapters.New(g.m, c)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, p := range a.Params() {
		for i := range p.Values().Data {
			p.Values().Data[i] += 0.1 * float32(i%5-2)
		}
	}
	a.Refresh()
	dir := filepath.Join(g.t.TempDir(), name)
	if err := a.Save(dir); err != nil {
		g.t.Fatal(err)
	}
	if err := g.catalogue.Add(name, dir); err != nil {
		g.t.Fatal(err)
	}
}

// longPrompt fills three blocks and begins a fourth.
func longPrompt() []int32 {
	prompt := make([]int32, 3*kernels.BlockLen+9)
	for i := range prompt {
		prompt[i] = int32(11 + i*i%80)
	}
	return prompt
}

func ask(adapter string, prompt []int32) *call {
	return &call{Request{Prompt: prompt, MaxTokens: 4, IgnoreEOS: true, Logprobs: 3, PromptLogprobs: -1}, adapter}
}

// TestPagesAreShared counts the pages of memory, a block of one layer each, that
// two requests of one prompt fill: the lower layers of an adapter that acts in
// the upper ones alone are the base's, and another's like it. The base has three
// layers. The bits are those of a run alone.
func TestPagesAreShared(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	of := func(layers ...int) map[string]any {
		return map[string]any{"peft_type": "LORA", "r": 2, "target_modules": []string{"q_proj", "v_proj"}, "layers_to_transform": layers}
	}
	another, invoked := of(2), of(2)
	another["r"] = 3
	invoked["task_type"], invoked["alora_invocation_tokens"] = "CAUSAL_LM", []int{7, 8}
	g.save(map[string]map[string]any{"third": of(2), "another-third": another, "second": of(1), "first": of(0), "invoked": invoked})
	late := longPrompt()
	copy(late[kernels.BlockLen+3:], []int32{7, 8})
	for _, c := range []struct {
		first, second string
		prompt        []int32
		pages         int
	}{
		{"", "third", longPrompt(), 9 + 3},
		{"third", "", longPrompt(), 9 + 3},
		{"third", "another-third", longPrompt(), 9 + 3},
		{"second", "third", longPrompt(), 9 + 6},
		{"", "second", longPrompt(), 9 + 6},
		{"", "first", longPrompt(), 9 + 9},
		{"first", "third", longPrompt(), 9 + 9},
		{"", "invoked", late, 9 + 2}, // the first block is the base's whole
	} {
		t.Run(c.first+" and "+c.second, func(t *testing.T) {
			second := ask(c.second, c.prompt)
			alone := g.run(g.engine(1, Options{NoPrefixCache: true}), []*call{second}, nil)[0]
			e := g.engine(2, Options{})
			got := g.run(e, []*call{ask(c.first, c.prompt), second}, func(i int) int { return 50 * i })[1]
			same(t, c.second, got, alone)
			if n := len(e.blocks.users) - len(e.blocks.empty); n != c.pages {
				t.Errorf("%d pages, want %d", n, c.pages)
			}
		})
	}
}

// TestNoRoomToShare: a prompt that fills the cache gets in though the blocks that
// it would share pages with are all that there is; they give way.
func TestNoRoomToShare(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	g.save(map[string]map[string]any{"third": {"peft_type": "LORA", "r": 2, "target_modules": []string{"q_proj"}, "layers_to_transform": []int{2}}})
	fills := func(adapter string) *call {
		prompt := make([]int32, 4*kernels.BlockLen)
		for i := range prompt {
			prompt[i] = int32(11 + i*i%80)
		}
		return &call{Request{Prompt: prompt, Logprobs: -1, PromptLogprobs: 1}, adapter}
	}
	alone := g.run(g.engine(1, Options{CacheBlocks: 4, NoPrefixCache: true}), []*call{fills("third")}, nil)[0]
	e := g.engine(1, Options{CacheBlocks: 4})
	streams := []*call{fills(""), fills("third"), fills("")}
	answers := g.run(e, streams, func(i int) int { return 20 * i })
	same(t, "third", answers[1], alone)
}

// TestInvocationIsMissing: the base does not answer for an adapter that would
// not act.
func TestInvocationIsMissing(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	r := &call{Request{Prompt: []int32{3, 7, 9}, MaxTokens: 4, Logprobs: -1, PromptLogprobs: -1}, "alora"}
	if a := g.run(g.engine(1, Options{}), []*call{r}, nil)[0]; !errors.Is(a.err, ErrPrompt) || !strings.Contains(a.err.Error(), "invocation tokens [7 8]") {
		t.Errorf("%+v", a)
	}
}

// TestPrefixCacheGivesTheSameBits runs each request twice in one engine.
func TestPrefixCacheGivesTheSameBits(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	for _, adapter := range kinds {
		r := &call{Request{Prompt: make([]int32, 75), MaxTokens: 12, IgnoreEOS: true, Logprobs: 3, PromptLogprobs: -1}, adapter}
		for i := range r.Prompt {
			r.Prompt[i] = int32(i * i % 96)
		}
		invoke(adapter, r.Prompt)
		e := g.engine(1, Options{})
		answers := g.run(e, []*call{r, r}, func(i int) int { return 50 * i })
		same(t, adapter, answers[1], answers[0])
		if answers[1].usage.CachedTokens < 64-6 || answers[0].usage.CachedTokens != 0 {
			t.Errorf("%q: %d tokens were cached", adapter, answers[1].usage.CachedTokens)
		}
	}
}

// TestGoldenContinuations holds the engine against PEFT: greedy tokens, and
// the log-probabilities of the prompt.
func TestGoldenContinuations(t *testing.T) {
	for _, base := range modeltest.Bases(t) {
		g := openGolden(t, base)
		names := []string{""}
		dirs, _ := filepath.Glob(modeltest.Goldens(t, base, "adapters", "*", "golden.safetensors"))
		for _, d := range dirs {
			names = append(names, filepath.Base(filepath.Dir(d)))
		}
		for _, name := range names {
			file := modeltest.Goldens(t, base, "adapters", name, "golden.safetensors")
			if name == "" {
				file = modeltest.Goldens(t, base, "golden.safetensors")
			}
			t.Run(base+"/"+name, func(t *testing.T) {
				for _, c := range modeltest.Cases(t, file) {
					r := &call{Request{Prompt: c.Tokens, MaxTokens: len(c.Greedy), IgnoreEOS: true, Logprobs: -1, PromptLogprobs: 0}, name}
					a := g.run(g.engine(2, Options{StepTokens: 33}), []*call{r}, nil)[0]
					if a.err != nil {
						t.Fatal(a.err)
					}
					if !slices.Equal(a.tokens, c.Greedy) {
						t.Errorf("greedy tokens are %v, want %v", a.tokens, c.Greedy)
					}
					if c.Logits.Rows != len(c.Tokens) {
						continue
					}
					for i := 1; i < len(c.Tokens); i++ {
						row := c.Logits.Row(i - 1)
						want := float64(row[c.Tokens[i]]) - float64(kernels.LogSumExp(row))
						if d := math.Abs(float64(a.prompt[i].Logprob.Logprob) - want); !(d < 1e-3) {
							t.Fatalf("token %d: log-probability %v, want %v", i, a.prompt[i].Logprob.Logprob, want)
						}
					}
				}
			})
		}
	}
}

// TestRefusedAdapterServesNothing: vLLM#34186, #55193. The base never answers
// in an adapter's place.
func TestRefusedAdapterServesNothing(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	dirs, _ := filepath.Glob(modeltest.Goldens(t, "llama-gqa", "adapters", "refused-*"))
	if len(dirs) == 0 {
		t.Fatal("no refused adapters")
	}
	e := g.engine(1, Options{})
	for _, d := range dirs {
		stream, err := (&call{Request{Prompt: []int32{1}, MaxTokens: 1}, filepath.Base(d)}).submit(context.Background(), e, g.catalogue)
		if err != nil {
			t.Fatal(err)
		}
		for a := (answer{}); a.err == nil; {
			e.intake()
			e.step()
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if a = collect(ctx, stream); len(a.tokens) > 0 {
				t.Fatalf("%s answered", d)
			}
		}
		if entry, err := g.catalogue.Lookup(filepath.Base(d)); err != nil || entry.State != catalogue.Failed {
			t.Errorf("%+v, %v", entry, err)
		}
	}
	e.pool.Close()
}

// TestMetamorphic demands of random mixes of requests, chunk sizes, cache
// sizes, slots and threads the answers that each request has alone.
func TestMetamorphic(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	list := requests(40, g.m.Config().Vocabulary)
	alone := map[int]answer{}
	rapid.Check(t, func(t *rapid.T) {
		picked := rapid.SliceOfN(rapid.IntRange(0, len(list)-1), 1, 12).Draw(t, "requests")
		o := Options{
			Slots:         rapid.IntRange(1, 12).Draw(t, "slots"),
			StepTokens:    rapid.IntRange(1, 120).Draw(t, "step tokens"),
			CacheBlocks:   rapid.IntRange(4, 20).Draw(t, "blocks"),
			NoPrefixCache: rapid.Bool().Draw(t, "no prefix cache"),
		}
		threads := rapid.IntRange(1, 3).Draw(t, "threads")
		arrivals := rapid.SliceOfN(rapid.IntRange(0, 30), len(picked), len(picked)).Draw(t, "arrivals")
		var mix []*call
		for _, i := range picked {
			mix = append(mix, list[i])
			if _, ok := alone[i]; !ok {
				alone[i] = g.run(g.engine(1, Options{NoPrefixCache: true}), list[i:i+1], nil)[0]
			}
		}
		for i, a := range g.run(g.engine(threads, o), mix, func(i int) int { return arrivals[i] }) {
			got, want := a, alone[picked[i]]
			if !slices.Equal(got.tokens, want.tokens) || !slices.Equal(got.logprobs, want.logprobs) || got.finish != want.finish {
				t.Fatalf("request %d (adapter %q): %v %v %v, alone %v %v", picked[i], mix[i].adapter, got.tokens, got.logprobs, got.err, want.tokens, want.logprobs)
			}
		}
	})
}

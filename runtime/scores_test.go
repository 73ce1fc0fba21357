package runtime

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// openHeads is a golden base with its golden adapters that have heads.
func openHeads(t *testing.T, base string) *golden {
	t.Helper()
	g := openGolden(t, base)
	g.still()
	c, err := catalogue.New(g.load, catalogue.Options{Dir: modeltest.Goldens(t, "heads", filepath.Base(base))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	g.catalogue = c
	return g
}

// TestScores holds the scores that the engine answers with against PEFT's, of all
// adapters of a base in one engine, with heads of different tasks and sizes, and their
// bits against those of each request alone.
func TestScores(t *testing.T) {
	byBase := map[string][]string{}
	for _, name := range modeltest.Heads(t, false) {
		base := modeltest.HeadBase(t, name)
		byBase[base] = append(byBase[base], name)
	}
	for base, names := range byBase {
		t.Run(base, func(t *testing.T) {
			g := openHeads(t, base)
			var calls []*call
			var want, alone []kernels.Matrix
			for _, name := range names {
				scores := modeltest.Scores(t, name)
				for i, text := range modeltest.Texts(t, modeltest.Goldens(t, name, "golden.safetensors")) {
					calls = append(calls, &call{Request{Prompt: text.Tokens, Types: text.Types, Encode: EncodeScores, Logprobs: -1, PromptLogprobs: -1}, filepath.Base(name)})
					want = append(want, scores[i])
				}
			}
			for i, c := range calls {
				got := g.encoded(g.engine(1, Options{}), []*call{c}, nil)[0]
				if d := modeltest.MaxDifference(got, want[i]); got.Rows != want[i].Rows || got.Cols != want[i].Cols || !(d <= 1e-4) {
					t.Errorf("call %d, adapter %q: [%d, %d] off by %.3g", i, c.adapter, got.Rows, got.Cols, d)
				}
				alone = append(alone, got)
			}
			for _, o := range []Options{{}, {StepTokens: 9}, {Slots: 3}, {CacheBlocks: 7}} {
				for i, got := range g.encoded(g.engine(2, o), calls, func(i int) int { return i / 3 }) {
					if d := modeltest.MaxDifference(got, alone[i]); d != 0 {
						t.Errorf("%+v: call %d, adapter %q: off by %.3g", o, i, calls[i].adapter, d)
					}
				}
			}
		})
	}
}

// TestHeadsOfOtherForms: adapters whose heads have more linears than the class of the
// base answer beside the others, with the bits that they have alone.
func TestHeadsOfOtherForms(t *testing.T) {
	hub, err := safetensors.Open(modeltest.Goldens(t, "encoders/bert/adapterhub/deep/model_head.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	text := adaptertest.Open(t, modeltest.Goldens(t, "heads/bert/text"))
	tensors := slices.DeleteFunc(text.All(), func(x safetensors.Tensor) bool { return strings.Contains(x.Name, "classifier") })
	for x := range hub.All() {
		x.Name = strings.Replace(x.Name, "heads.golden", "base_model.model.classifier", 1)
		tensors = append(tensors, x)
	}
	dir := t.TempDir()
	for name, pooled := range map[string]bool{"deep": false, "pooled": true} {
		config := *text.Config
		config.Classes = &models.Classes{Form: &models.HeadForm{Layers: 3, Activation: "relu", Pooler: pooled, Bias: true}}
		if err := adapters.NewFolder(name, &config, tensors).Save(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := text.Save(filepath.Join(dir, "text")); err != nil {
		t.Fatal(err)
	}
	g := openGolden(t, "encoders/bert")
	if g.catalogue, err = catalogue.New(g.load, catalogue.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.catalogue.Close() })
	var calls []*call
	var alone []kernels.Matrix
	for i := range 12 {
		prompt := []int32{11, 12, int32(13 + i), 14, 15}[:2+i%4]
		c := &call{Request{Prompt: prompt, Encode: EncodeScores, Logprobs: -1, PromptLogprobs: -1}, []string{"deep", "text", "pooled"}[i%3]}
		calls, alone = append(calls, c), append(alone, g.encoded(g.engine(1, Options{}), []*call{c}, nil)[0])
	}
	for i, got := range g.encoded(g.engine(2, Options{}), calls, nil) {
		if want := []int{4, 3, 4}[i%3]; got.Cols != want {
			t.Errorf("%s: %d scores", calls[i].adapter, got.Cols)
		}
		if d := modeltest.MaxDifference(got, alone[i]); d != 0 {
			t.Errorf("%s: off by %.3g beside others", calls[i].adapter, d)
		}
	}
	if modeltest.MaxDifference(alone[0], g.encoded(g.engine(1, Options{}), []*call{{calls[0].Request, "pooled"}}, nil)[0]) == 0 {
		t.Error("the pooler changes nothing")
	}
}

// TestFewScoresAtOnce: rows go through a head, whose scores may be many, a few at a
// time, and those of the hidden states alone all at once.
func TestFewScoresAtOnce(t *testing.T) {
	head := &models.Head{}
	for _, c := range []struct {
		kind kind
		want int
	}{{&classifying{through: head}, HeadRows}, {&generation{}, HeadRows}, {&encoding{what: EncodeTokens}, 200}} {
		outputs := make([]output, 200, 201)
		for i := range outputs {
			outputs[i].kind = c.kind
		}
		outputs = append(outputs, output{kind: &classifying{through: &models.Head{Task: models.Tag}}})
		if to := sameHead(outputs, 0); to != c.want {
			t.Errorf("%T: %d rows at once", c.kind, to)
		}
		if to := sameHead(outputs, 190); to != 200 {
			t.Errorf("%T: rows of two heads, up to %d", c.kind, to)
		}
	}
}

// TestScoresOfABase: a base with a head of its own answers without an adapter, and a
// decoder that has one in the place of its logits' computes texts whole.
func TestScoresOfABase(t *testing.T) {
	for _, name := range modeltest.Heads(t, true) {
		m, source, err := models.Open(modeltest.OwnHead(t, name), models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		g := &golden{t: t, m: m}
		want := modeltest.Scores(t, name)
		for i, text := range modeltest.Texts(t, modeltest.Goldens(t, name, "golden.safetensors")) {
			got := g.encoded(g.engine(2, Options{}), []*call{{Request{Prompt: text.Tokens, Types: text.Types, Encode: EncodeScores, Logprobs: -1, PromptLogprobs: -1}, ""}}, nil)[0]
			if d := modeltest.MaxDifference(got, want[i]); got.Rows != want[i].Rows || !(d <= 1e-4) {
				t.Errorf("%s: text %d is off by %.3g", name, i, d)
			}
		}
	}
}

// TestNoScores: a request without a head is refused, and an adapter's head is probed
// before a name stands for it.
func TestNoScores(t *testing.T) {
	g := openHeads(t, "encoders/bert")
	e := g.engine(1, Options{})
	defer e.pool.Close()
	_, err := e.Submit(context.Background(), &Request{Prompt: []int32{7}, Encode: EncodeScores, Logprobs: -1, PromptLogprobs: -1})
	if !errors.Is(err, models.ErrTask) || !strings.Contains(err.Error(), "has a head") {
		t.Error(err)
	}
	f, err := adapters.Open(modeltest.Goldens(t, "heads/bert/text"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tensor := range f.All() {
		if strings.HasSuffix(tensor.Name, "classifier.weight") {
			for i := 3; i < len(tensor.Data); i += 4 {
				tensor.Data[i], tensor.Data[i-1] = 0x7f, 0x7f // the largest float32
			}
		}
	}
	broken, err := adapters.Load(g.m, f)
	if err != nil {
		t.Fatal(err)
	}
	running, err := New(g.m, nil, kernels.NewPool(1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close(context.Background())
	var withdrawn *catalogue.WithdrawnError
	if err := running.Probe(context.Background(), "broken", broken); !errors.As(err, &withdrawn) {
		t.Errorf("an adapter whose head overflows is probed: %v", err)
	}
}

// TestOverflowOfAMeanWithdraws: an adapter whose head makes scores of a text's mean that
// are not finite is withdrawn with its first answer, as one with any other head.
func TestOverflowOfAMeanWithdraws(t *testing.T) {
	m, source, err := models.Open(modeltest.OwnHead(t, "heads/modernbert/own-mean"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	g := &golden{t: t, m: m}
	load := loader(m)
	c, err := catalogue.New(func(ctx context.Context, s catalogue.Source) (catalogue.Adapter, error) {
		a, err := load(ctx, s)
		if err == nil {
			broken := a.(*adapters.Adapter)
			for _, p := range broken.Params() {
				if strings.HasSuffix(p.Name, "classifier.bias") {
					p.Values().Data[1] = float32(math.Inf(1))
				}
			}
			broken.Refresh()
		}
		return a, err
	}, catalogue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	g.catalogue = c
	g.saveHeads(map[string]map[string]any{"text": {"peft_type": "LORA", "r": 2, "target_modules": []string{"Wqkv"}, "task_type": "SEQ_CLS", "modules_to_save": []string{"head", "classifier"}}})
	e := g.engine(1, Options{Log: silent})
	got := g.run(e, []*call{{Request{Prompt: []int32{7, 8, 9}, Encode: EncodeScores, Logprobs: -1, PromptLogprobs: -1}, "text"}}, nil)[0]
	var withdrawn *catalogue.WithdrawnError
	if !errors.As(got.err, &withdrawn) || !errors.Is(got.err, ErrNotFinite) || !strings.Contains(got.err.Error(), "classifier.bias") {
		t.Errorf("got %v", got.err)
	}
	if entry, err := c.Lookup("text"); err != nil || entry.State != catalogue.Failed || !errors.As(entry.Err, &withdrawn) {
		t.Errorf("%+v, %v", entry, err)
	}
}

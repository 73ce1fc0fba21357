package plan_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/plan"
)

// TestPeakOfPass records real passes on the tiny bases and holds the account
// against their peak, for each method and several shapes of batch.
func TestPeakOfPass(t *testing.T) {
	pool := modeltest.Pool(t, 2)
	for _, base := range modeltest.Bases(t) {
		path := modeltest.Goldens(t, base)
		shape, err := plan.Open(path, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range choices(shape) {
			for _, batch := range []plan.Batch{{Sequences: 1, Length: 40}, {Sequences: 3, Length: 33, Labels: 5}, {Sequences: 4, Length: 60}, {Sequences: 9, Length: 60}} {
				t.Run(fmt.Sprintf("%s/%s-%v-%g/%v", base, c.Method, c.Targets, c.Dropout, batch), func(t *testing.T) {
					held(t, pool, shape, path, c, batch, func(models.Model) {})
				})
			}
		}
	}
}

// held holds the account of a batch against a pass on the model, once changed.
func held(t *testing.T, pool *kernels.Pool, shape *plan.Base, path string, c plan.Choice, batch plan.Batch, change func(models.Model)) {
	trained, err := shape.Train(c)
	if err != nil {
		t.Fatal(err)
	}
	want, _, ok := trained.Measure(batch)
	if !ok {
		t.Fatal("no account")
	}
	tr := training.NewTrainer(pool, nil, nil)
	m, s, err := models.Open(path, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	change(m)
	tr.Model, tr.Method = m, method(t, m, c, nil)
	tr.Method.Begin(0)
	if _, err := tr.Gradients([][]training.Sequence{sequences(batch)}); err != nil {
		t.Fatal(err)
	}
	now, peak := tr.Live()
	if peak.Total() != want.Total() {
		t.Errorf("planned %+v, measured %+v", want, peak)
	}
	if now.Total() != 0 {
		t.Errorf("%d bytes are still in use", now.Total())
	}
}

// TestPeakOfExperts: the account, of experts that share the rows evenly, is that
// of the worst case too, where every row goes to the same few.
func TestPeakOfExperts(t *testing.T) {
	pool, path := modeltest.Pool(t, 2), modeltest.Goldens(t, "qwen3moe")
	shape, err := plan.Open(path, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range choices(shape) {
		if slices.Contains(c.Targets, "all-linear") { // but the router, which stays as it is below
			c.Targets = []string{"gate_proj", "up_proj", "down_proj"}
		}
		t.Run(fmt.Sprintf("%s-%v", c.Method, c.Targets), func(t *testing.T) {
			held(t, pool, shape, path, c, plan.Batch{Sequences: 4, Length: 60}, func(m models.Model) {
				for _, s := range m.Sites() {
					if s.Module() == "gate" { // of equal logits the first are taken
						s.Linear.W = kernels.WeightOf(kernels.NewMatrix(s.Linear.W.Rows, s.Linear.W.Cols))
					}
				}
			})
		})
	}
}

func choices(base *plan.Base) []plan.Choice {
	of := func(method string, c adapters.Choice) plan.Choice { return plan.Choice{Method: method, Choice: c} }
	all := []plan.Choice{
		{Method: "full"}, {Method: "full", FreezeOutside: true}, {Method: "lisa"}, {Method: "lisa", FreezeOutside: true, LISALayers: 1}, {Method: "block-wise"},
		of("lora", adapters.Choice{Targets: []string{"all-linear"}}), of("dora", adapters.Choice{Targets: []string{"all-linear"}}),
		of("houlsby", adapters.Choice{}), of("pfeiffer", adapters.Choice{}), of("parallel", adapters.Choice{Dropout: 0.1}), of("houlsby", adapters.Choice{AdapterDrop: 1}),
		of("prefix", adapters.Choice{}), of("prompt", adapters.Choice{VirtualTokens: 5}),
		of("lora", adapters.Choice{Save: []string{"lm_head"}, Targets: []string{"all-linear"}}),
	}
	if base.Config().Architecture.Targets != nil { // PEFT's own
		all = append(all, of("lora", adapters.Choice{}), of("lora", adapters.Choice{Dropout: 0.1}), of("rslora", adapters.Choice{R: 2}),
			of("dora", adapters.Choice{Dropout: 0.1}), of("ia3", adapters.Choice{}))
	}
	for _, r := range adapters.Recipes() { // those to come too
		own := adapters.Choice{R: 4, Dropout: 0.1, ZeroBiases: true}
		if base.Config().Architecture.Targets == nil && slices.Contains(r.Reads, "target-modules") {
			own.Targets = []string{"all-linear"}
		}
		fits := r.Check == nil || r.Check(base, &own) == nil // PEFT has no MiSS on Conv1D
		if fits && !slices.ContainsFunc(all, func(c plan.Choice) bool { return c.Method == r.Name }) {
			all = append(all, plan.Choice{Method: r.Name, Choice: own})
		}
	}
	if base.Sites().Find("transformer.wte") >= 0 {
		return all
	}
	return append(all, of("lora", adapters.Choice{Targets: []string{"down_proj"}}), of("lora", adapters.Choice{R: 1, Targets: []string{"embed_tokens", "down_proj"}}),
		of("dora", adapters.Choice{Targets: []string{"embed_tokens"}}), of("lora", adapters.Choice{Save: []string{"embed_tokens"}, Targets: []string{"down_proj"}}))
}

func method(t *testing.T, m models.Model, c plan.Choice, classes *models.Classes) training.Method {
	if recipe, ok := adapters.FindRecipe(c.Method); ok {
		config, err := recipe.Config(m, &c.Choice, classes)
		if err != nil {
			t.Fatal(err)
		}
		a, err := adapters.New(m, config)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range a.Params() { // a zero row has no direction for DoRA
			for i := range p.Values().Data {
				p.Values().Data[i] += 0.01 * float32(i%7+1)
			}
		}
		a.Refresh()
		return training.NewAdapted(m, a, adapters.Training{Dropout: c.Dropout})
	}
	layers := map[string]int{"full": m.Config().Layers, "lisa": 2, "block-wise": 1}[c.Method]
	if c.LISALayers > 0 {
		layers = c.LISALayers
	}
	active := []int{}
	for i := range layers {
		active = append(active, i)
	}
	outside := c.Method == "full" || !c.FreezeOutside // which full does not read
	return training.NewBlocks(m, outside, func(int) []int { return active })
}

func sequences(b plan.Batch) []training.Sequence {
	var all []training.Sequence
	for range b.Sequences {
		s := training.Sequence{}
		for i := range b.Length {
			s.Tokens = append(s.Tokens, int32(3+i%50))
			target := int32(-1)
			if b.Labels == 0 && i < b.Length-1 || b.Labels > 0 && i >= b.Length-b.Labels {
				target = int32(5)
			}
			s.Targets = append(s.Targets, target)
		}
		all = append(all, s)
	}
	return all
}

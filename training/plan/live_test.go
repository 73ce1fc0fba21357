package plan_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
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
		for _, c := range choices(base) {
			for _, batch := range []plan.Batch{{Sequences: 1, Length: 40}, {Sequences: 3, Length: 33, Labels: 5}, {Sequences: 4, Length: 60}, {Sequences: 9, Length: 60}} {
				t.Run(fmt.Sprintf("%s/%s-%v-%g/%v", base, c.Method, c.Targets, c.Dropout, batch), func(t *testing.T) {
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
					tr.Model, tr.Method = m, method(t, m, c)
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
				})
			}
		}
	}
}

func choices(base string) []plan.Choice {
	all := []plan.Choice{
		{Method: "full"}, {Method: "full", FreezeOutside: true}, {Method: "lisa"}, {Method: "lisa", FreezeOutside: true, LISALayers: 1}, {Method: "block-wise"},
		{Method: "lora"}, {Method: "lora", Choice: adapters.Choice{Targets: []string{"all-linear"}}}, {Method: "lora", Choice: adapters.Choice{Dropout: 0.1}},
		{Method: "rslora", Choice: adapters.Choice{R: 2}}, {Method: "dora", Choice: adapters.Choice{Targets: []string{"all-linear"}}}, {Method: "dora", Choice: adapters.Choice{Dropout: 0.1}},
		{Method: "houlsby"}, {Method: "pfeiffer"}, {Method: "parallel", Choice: adapters.Choice{Dropout: 0.1}}, {Method: "houlsby", Choice: adapters.Choice{AdapterDrop: 1}},
		{Method: "prefix"}, {Method: "prompt", Choice: adapters.Choice{VirtualTokens: 5}}, {Method: "ia3"},
	}
	for _, r := range adapters.Recipes() { // those to come too
		if base == "gpt2" && r.Name == "miss" { // PEFT has none on Conv1D
			continue
		}
		if !slices.ContainsFunc(all, func(c plan.Choice) bool { return c.Method == r.Name }) {
			all = append(all, plan.Choice{Method: r.Name, Choice: adapters.Choice{R: 4, Dropout: 0.1, ZeroBiases: true}})
		}
	}
	if base == "gpt2" {
		return all
	}
	return append(all, plan.Choice{Method: "lora", Choice: adapters.Choice{Save: []string{"lm_head"}}}, plan.Choice{Method: "lora", Choice: adapters.Choice{Targets: []string{"down_proj"}}},
		plan.Choice{Method: "lora", Choice: adapters.Choice{R: 1, Targets: []string{"embed_tokens", "q_proj"}}}, plan.Choice{Method: "dora", Choice: adapters.Choice{Targets: []string{"embed_tokens"}}},
		plan.Choice{Method: "lora", Choice: adapters.Choice{Save: []string{"embed_tokens"}}})
}

func method(t *testing.T, m models.Model, c plan.Choice) training.Method {
	if recipe, ok := adapters.FindRecipe(c.Method); ok {
		config, err := recipe.Config(m, &c.Choice)
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

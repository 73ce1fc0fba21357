package training

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// smolRun is what the goldens of SmolLM2 have in common.
type smolRun struct {
	goldenRun
	Batches [][]struct{ Tokens, Labels []int32 } `json:"batches"`
	Ratio   float64                              `json:"loraplus_ratio"`
}

// smolMethod is the golden of one method. Of where training ends it keeps, by
// tensor, how far it has come: the distance, its products with the numbers of
// the tensor's name, and a few last values (testdata/README.md).
type smolMethod struct {
	goldenRun
	Config map[string]any       `json:"config"`
	Bounds map[string]float64   `json:"bounds"`
	Prompt []int32              `json:"prompt"` // the tokens whose embeddings are the first prompt
	Moved  map[string][]float64 `json:"moved"`
}

// probes is the number of products in a fingerprint.
const probes = 2

// TestGoldenSmolLM2 trains the real base, quantised where it is frozen, beside
// PyTorch on the dequantised one.
func TestGoldenSmolLM2(t *testing.T) {
	if testing.Short() {
		t.Skip("twenty steps of each method on a real base take most of a minute")
	}
	path := modeltest.SmolLM2(t)
	var shared smolRun
	readJSON(t, modeltest.Goldens(t, "smollm2", "training", "run.json"), &shared)
	files, err := filepath.Glob(modeltest.Goldens(t, "smollm2", "training", "*.json"))
	if err != nil || len(files) < 2 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if name == "run" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			m, s, err := models.Open(path, models.Options{Context: 64})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			run := smolMethod{goldenRun: shared.goldenRun}
			readJSON(t, file, &run)
			tr := goldenTrainer(t, m, run.method(t, m, name), &run.goldenRun, 0)
			if name == "loraplus" {
				tr.Grouping = LoRAPlus(shared.Ratio, 1e-6, run.Decay)
			}
			was := before(tr.Method)
			run.follow(t, tr, shared.batches())
			run.compare(t, tr.Method, was)
		})
	}
}

func (r *smolRun) batches() (batches [][]Sequence) {
	for _, rows := range r.Batches {
		var batch []Sequence
		for _, row := range rows {
			batch = append(batch, Sequence{Tokens: row.Tokens, Targets: append(slices.Clone(row.Labels[1:]), dataset.None)})
		}
		batches = append(batches, batch)
	}
	return batches
}

// method is the golden's, with the initial values that the names stand for.
func (g *smolMethod) method(t *testing.T, m models.Model, name string) Method {
	switch name {
	case "full":
		return Full(m)
	case "lisa":
		return NewBlocks(m, true, func(step int) []int { return g.Blocks[step/g.Interval] })
	}
	config, err := adapters.NewConfig(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapters.New(m, config)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range a.Params() {
		v := modeltest.Float32s(g.initial(t, m, p))
		to := p.Values()
		for i, x := range v { // in the order of the file
			if p.Transposed {
				i = i%p.Shape[1]*p.Shape[0] + i/p.Shape[1]
			}
			to.Data[i] = x
		}
	}
	a.Refresh()
	return NewAdapted(m, a, adapters.Training{})
}

func (g *smolMethod) initial(t *testing.T, m models.Model, p *adapters.Param) []float64 {
	if len(g.Prompt) > 0 {
		w := m.Sites()[slices.IndexFunc(m.Sites(), func(s models.Site) bool { return s.Kind == models.EmbeddingSite })].Embedding.W
		var v []float64
		row := make([]float32, w.Cols)
		for _, token := range g.Prompt {
			kernels.Decode(row, w.Format, w.Row(int(token)))
			for _, x := range row {
				v = append(v, float64(x))
			}
		}
		return v
	}
	for end, bound := range g.Bounds {
		module, ok := strings.CutSuffix(p.Name, end)
		if !ok {
			continue
		}
		v := modeltest.Numbers(p.Name, p.Len(), bound)
		switch end {
		case "ia3_l":
			for i := range v {
				v[i]++
			}
		case "lora_magnitude_vector":
			site := m.Sites().Find(strings.TrimSuffix(strings.TrimPrefix(module, "base_model.model."), "."))
			for i, n := range modeltest.RowNorms(m.Sites()[site].Linear.W) {
				v[i] = n * (1 + v[i])
			}
		}
		return v
	}
	t.Fatalf("%s: no bound", p.Name)
	return nil
}

// before is what the parameters hold now: a copy, or the base's stored weights.
func before(method Method) map[*Parameter]func() []float32 {
	was := map[*Parameter]func() []float32{}
	if b, ok := method.(*Blocks); ok {
		for _, block := range b.base.blocks {
			for _, t := range block {
				if !t.weight.Empty() {
					was[&t.Parameter] = func() []float32 { return t.weight.Matrix().Data }
				}
			}
		}
	}
	for _, p := range everything(method) {
		if was[p] == nil {
			v := slices.Clone(p.inFileOrder(p.Value))
			was[p] = func() []float32 { return v }
		}
	}
	return was
}

func (g *smolMethod) follow(t *testing.T, tr *Trainer, batches [][]Sequence) {
	var loss, norm float64
	for step := range g.Steps {
		if rate := tr.Rate * tr.Schedule.Factor(step); math.Abs(rate-g.Rates[step]) > 1e-12 {
			t.Errorf("step %d: learning rate %v, want %v", step, rate, g.Rates[step])
		}
		r, err := tr.Advance(batches[step%len(batches):][:1])
		if err != nil {
			t.Fatal(err)
		}
		off := math.Abs(r.Loss-g.Losses[step]) / g.Losses[step]
		if loss = max(loss, off); !(off < 5e-5) {
			t.Errorf("step %d: loss %v, want %v", step, r.Loss, g.Losses[step])
		}
		off = math.Abs(r.Norm-g.Norms[step]) / g.Norms[step]
		if norm = max(norm, off); !(off < 5e-4) {
			t.Errorf("step %d: gradient norm %v, want %v", step, r.Norm, g.Norms[step])
		}
	}
	t.Logf("losses are off by %.1e at most, gradient norms by %.1e", loss, norm)
}

// compare holds how far each tensor has come, and where it ended, against
// PyTorch. With numbers that are uniform in [-1, 1), a difference of two
// tensors has products of a third of its square on average.
func (g *smolMethod) compare(t *testing.T, method Method, was map[*Parameter]func() []float32) {
	var length, apart, last float64
	for _, p := range everything(method) {
		start, end := was[p](), p.inFileOrder(p.Value)
		want, ok := g.Moved[p.Name]
		if !ok {
			if p.Value != nil && !slices.Equal(start, end) {
				t.Errorf("%s has moved, and has not in PyTorch", p.Name)
			}
			continue
		}
		delete(g.Moved, p.Name)
		got := fingerprint(p.Name, start, end, len(want)-1-probes)
		square := 0.0
		for k := range probes {
			d := got[1+k] - want[1+k]
			square += 3 * d * d / probes
		}
		offLength, offApart, offLast := math.Abs(got[0]-want[0])/want[0], math.Sqrt(square)/want[0], 0.0
		for k, w := range want[1+probes:] {
			offLast = max(offLast, math.Abs(got[1+probes+k]-w))
		}
		offLast /= largest(end)
		length, apart, last = max(length, offLength), max(apart, offApart), max(last, offLast)
		if !(offLength < 5e-5) || !(offApart < 2e-3) || !(offLast < 2e-4) {
			t.Errorf("%s has moved by %v, want %v: off by %.1e, %.1e apart; last values are off by %.1e", p.Name, got[0], want[0], offLength, offApart, offLast)
		}
	}
	for name := range g.Moved {
		t.Errorf("%s is not trained", name)
	}
	t.Logf("by tensor, the way is off by %.1e at most and by %.1e in length, the last values by %.1e", apart, length, last)
}

// fingerprint is how smollm2_training.py describes a tensor's way.
func fingerprint(name string, start, end []float32, samples int) []float64 {
	var f [1 + probes]float64
	var streams [probes]modeltest.Stream
	for k := range streams {
		streams[k] = modeltest.NewStream(fmt.Sprintf("%s#%d", name, k))
	}
	for i, v := range end {
		d := float64(v) - float64(start[i])
		f[0] += d * d
		for k := range streams {
			f[1+k] += d * streams[k].Next()
		}
	}
	f[0] = math.Sqrt(f[0])
	all := f[:]
	for k := range samples {
		all = append(all, float64(end[k*(len(end)-1)/(samples-1)]))
	}
	return all
}

func largest(v []float32) float64 {
	most := 0.0
	for _, x := range v {
		most = max(most, math.Abs(float64(x)))
	}
	return most
}

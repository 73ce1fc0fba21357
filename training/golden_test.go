package training

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// goldenRun is a run.json of testdata/goldens/training: twenty steps of
// PyTorch.
type goldenRun struct {
	Losses   []float64 `json:"losses"`
	Norms    []float64 `json:"grad_norms"`
	Rates    []float64 `json:"learning_rates"`
	Micro    int       `json:"micro_batches"`
	Rate     float64   `json:"lr"`
	Betas    []float64 `json:"betas"`
	Epsilon  float64   `json:"eps"`
	Decay    float64   `json:"weight_decay"`
	Warmup   int       `json:"warmup"`
	Steps    int       `json:"steps"`
	Clip     float64   `json:"clip"`
	Interval int       `json:"interval"`
	Blocks   [][]int   `json:"blocks"`
	Groups   []struct {
		Factor float64  `json:"lr_factor"`
		Decay  float64  `json:"weight_decay"`
		Names  []string `json:"names"`
	} `json:"groups"`
}

func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func goldenBatches(t testing.TB, base string) (batches [][]Sequence) {
	var raw [][]struct{ Tokens, Labels []int32 }
	readJSON(t, modeltest.Goldens(t, "training", base, "batches.json"), &raw)
	for _, rows := range raw {
		var batch []Sequence
		for _, r := range rows {
			batch = append(batch, Sequence{Tokens: r.Tokens, Targets: append(slices.Clone(r.Labels[1:]), dataset.None)})
		}
		batches = append(batches, batch)
	}
	return batches
}

// invoke makes a token the second of every sequence and of nothing else, as the
// script does for aLoRA.
func invoke(batches [][]Sequence, token int32) {
	for _, batch := range batches {
		for _, s := range batch {
			for _, list := range [][]int32{s.Tokens, s.Targets} {
				for i, t := range list {
					if t == token {
						list[i] = token + 1
					}
				}
			}
			s.Tokens[1] = token
		}
	}
}

// openGolden opens a base of its own: training changes it.
func openGolden(t testing.TB, base string) models.Model {
	t.Helper()
	m, s, err := models.Open(modeltest.Goldens(t, "training", base), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return m
}

// goldenTrainer sets a Trainer up as the script did.
func goldenTrainer(t testing.TB, m models.Model, method Method, run *goldenRun, threads int) *Trainer {
	tr := NewTrainer(modeltest.Pool(t, threads), m, method)
	tr.Optimizer = &AdamW{Beta1: run.Betas[0], Beta2: run.Betas[1], Epsilon: run.Epsilon}
	tr.Schedule = Schedule{Kind: "linear", Warmup: run.Warmup, Steps: run.Steps}
	tr.Rate, tr.Clip = run.Rate, run.Clip
	tr.Grouping = HuggingFace(run.Decay)
	return tr
}

// follow runs the twenty steps and holds losses, norms, first gradients and
// last values against PyTorch's.
func follow(t *testing.T, tr *Trainer, base, name string, run *goldenRun) {
	batches := goldenBatches(t, base)
	if own := invocation(tr.Method.Adapter()); own != nil {
		invoke(batches, own[0])
	}
	folder := modeltest.Goldens(t, "training", base, name)
	worst, norm := 0.0, 0.0
	for step := range run.Steps {
		var micro [][]Sequence
		for i := range run.Micro {
			micro = append(micro, batches[(step*run.Micro+i)%len(batches)])
		}
		if rate := tr.Rate * tr.Schedule.Factor(step); math.Abs(rate-run.Rates[step]) > 1e-12 {
			t.Errorf("step %d: learning rate %v, want %v", step, rate, run.Rates[step])
		}
		if step == 0 {
			if path := folder + "/grads.safetensors"; exists(path) {
				tr.Method.Begin(0)
				if _, err := tr.Gradients(micro); err != nil {
					t.Fatal(err)
				}
				t.Logf("first gradients are off by %.1e", compare(t, path, tr.Method.Parameters(), 5e-5, func(p *Parameter) []float32 { return p.Grad }))
			}
		}
		r, err := tr.Advance(micro)
		if err != nil {
			t.Fatal(err)
		}
		off := math.Abs(r.Loss-run.Losses[step]) / run.Losses[step]
		worst = max(worst, off)
		if !(off < 2e-5) {
			t.Errorf("step %d: loss %v, want %v", step, r.Loss, run.Losses[step])
		}
		off = math.Abs(r.Norm-run.Norms[step]) / run.Norms[step]
		norm = max(norm, off)
		if !(off < 2e-4) {
			t.Errorf("step %d: gradient norm %v, want %v", step, r.Norm, run.Norms[step])
		}
	}
	if live, _ := tr.Live(); live.Total() != 0 {
		t.Errorf("%d bytes of activations are still in use", live)
	}
	last := compare(t, folder+"/final.safetensors", everything(tr.Method), 1e-4, func(p *Parameter) []float32 { return p.Value })
	t.Logf("losses are off by %.1e at most, gradient norms by %.1e, the final values by %.1e", worst, norm, last)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// everything lists also the parameters that are frozen now.
func everything(m Method) []*Parameter {
	b, ok := m.(*Blocks)
	if !ok {
		return m.Parameters()
	}
	var all []*Parameter
	for _, block := range b.base.blocks {
		for _, t := range block {
			all = append(all, &t.Parameter)
		}
	}
	return all
}

// compare returns the largest difference, relative to the largest value of the
// tensor, and fails where it is over the limit.
func compare(t *testing.T, path string, params []*Parameter, limit float64, values func(*Parameter) []float32) float64 {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	byName := map[string]*Parameter{}
	for _, p := range params {
		byName[p.Name] = p
	}
	most := 0.0
	for tensor := range f.All() {
		p := byName[tensor.Name]
		if p == nil {
			t.Errorf("%s is not trained", tensor.Name)
			continue
		}
		delete(byName, tensor.Name)
		want, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		got := p.inFileOrder(values(p))
		if len(got) != len(want) {
			t.Errorf("%s has %d values, want %d", tensor.Name, len(got), len(want))
			continue
		}
		var off, scale float64
		for i, w := range want {
			if keyBias(tensor, i) {
				continue
			}
			off = max(off, math.Abs(float64(got[i]-w)))
			scale = max(scale, math.Abs(float64(w)))
		}
		if off /= scale + 1e-6; !(off < limit) {
			t.Errorf("%s is off by %.3g of %.3g", tensor.Name, off, scale)
		}
		most = max(most, off)
	}
	for name := range byName {
		t.Errorf("%s is trained, and is not in %s", name, path)
	}
	return most
}

// keyBias marks GPT-2's bias of the keys: it shifts all scores of a query
// alike, so its gradient is zero but for rounding, which Adam turns into steps
// of full size.
func keyBias(t safetensors.Tensor, i int) bool {
	n := t.Len() / 3
	return strings.HasSuffix(t.Name, "c_attn.bias") && i >= n && i < 2*n
}

func TestGoldenFull(t *testing.T) {
	for _, base := range modeltest.TrainingBases(t) {
		t.Run(base, func(t *testing.T) {
			var run goldenRun
			readJSON(t, modeltest.Goldens(t, "training", base, "full", "run.json"), &run)
			m := openGolden(t, base)
			tr := goldenTrainer(t, m, Full(m), &run, 2)
			follow(t, tr, base, "full", &run)
			checkGroups(t, tr, &run)
		})
	}
}

func TestGoldenLISA(t *testing.T) {
	for _, base := range modeltest.TrainingBases(t) {
		t.Run(base, func(t *testing.T) {
			var run goldenRun
			readJSON(t, modeltest.Goldens(t, "training", base, "lisa", "run.json"), &run)
			m := openGolden(t, base)
			method := NewBlocks(m, true, func(step int) []int { return run.Blocks[step/run.Interval] })
			follow(t, goldenTrainer(t, m, method, &run, 2), base, "lisa", &run)
		})
	}
}

// checkGroups holds the group of each parameter against the script's.
func checkGroups(t *testing.T, tr *Trainer, run *goldenRun) {
	t.Helper()
	for _, g := range run.Groups {
		for _, p := range tr.Method.Parameters() {
			if !slices.Contains(g.Names, p.Name) {
				continue
			}
			if got := tr.Grouping.Of(p); got.Factor != g.Factor || got.Decay != g.Decay {
				t.Errorf("%s: factor %v and decay %v, want %v and %v", p.Name, got.Factor, got.Decay, g.Factor, g.Decay)
			}
		}
	}
}

// TestGoldenAdapters trains each method from PEFT's own start.
func TestGoldenAdapters(t *testing.T) {
	for _, base := range modeltest.TrainingBases(t) {
		inits, err := filepath.Glob(modeltest.Goldens(t, "training", base, "*", "init"))
		if err != nil || len(inits) == 0 {
			t.Fatalf("no golden starts: %v", err)
		}
		for _, init := range inits {
			name := filepath.Base(filepath.Dir(init))
			t.Run(base+"/"+name, func(t *testing.T) {
				var run goldenRun
				readJSON(t, filepath.Join(filepath.Dir(init), "run.json"), &run)
				m := openGolden(t, base)
				folder, err := adapters.Open(init)
				if err != nil {
					t.Fatal(err)
				}
				a, err := adapters.Load(m, folder)
				if err != nil {
					t.Fatal(err)
				}
				tr := goldenTrainer(t, m, NewAdapted(m, a, adapters.Training{}), &run, 2)
				if strings.HasSuffix(name, "loraplus") {
					tr.Grouping = LoRAPlus(4, 1e-6, run.Decay)
				}
				follow(t, tr, base, name, &run)
				checkGroups(t, tr, &run)
			})
		}
	}
}

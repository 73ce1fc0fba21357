package training

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// headGolden are some steps of PyTorch's from the golden adapters and bases with heads.
type headGolden struct {
	Steps int        `json:"steps"`
	LR    float64    `json:"lr"`
	Clip  float64    `json:"clip"`
	Cases []headCase `json:"cases"`
}

type headCase struct {
	Folder    string         `json:"folder"`
	Problem   models.Problem `json:"problem"`
	Classes   int            `json:"classes"`
	Weights   []float32      `json:"weights"`
	Smoothing float64        `json:"smoothing"`
	Batches   [][]struct {
		Tokens, Types, Labels []int32
		Values                []float32
	} `json:"batches"`
	Losses  []float64             `json:"losses"`
	Norms   []float64             `json:"grad_norms"`
	Tensors map[string][4]float64 `json:"tensors"`
}

// TestGoldenHeadTraining trains heads with adapters and whole models beside PyTorch and
// peft: losses, gradient norms, first gradients and the way to the last values.
func TestGoldenHeadTraining(t *testing.T) {
	files, err := filepath.Glob(modeltest.Goldens(t, "classifying", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		var golden headGolden
		readJSON(t, file, &golden)
		for i := range golden.Cases {
			c := &golden.Cases[i]
			name := c.Folder + "/" + string(c.Problem)
			if c.Weights != nil {
				name += "/weighted"
			}
			t.Run(name, func(t *testing.T) {
				m, task, method := openHead(t, c.Folder)
				head, err := m.Config().Head(task)
				if err != nil {
					t.Fatal(err)
				}
				tr := NewTrainer(modeltest.Pool(t, 2), m, method)
				tr.Optimizer = &AdamW{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
				tr.Schedule, tr.Rate, tr.Clip, tr.Grouping = Schedule{Kind: "constant", Steps: golden.Steps}, golden.LR, golden.Clip, HuggingFace(0)
				tr.Objective = Objective{Head: head, Problem: c.Problem, Classes: c.Classes, Weights: c.Weights, Smoothing: c.Smoothing}
				var batches [][]Sequence
				for _, rows := range c.Batches {
					var batch []Sequence
					for _, r := range rows {
						s := Sequence{Tokens: r.Tokens, Types: r.Types, Targets: r.Labels, Values: r.Values, Whole: true}
						if task == models.Classify {
							s.Targets = slices.Repeat([]int32{dataset.None}, len(r.Tokens))
							s.Targets[head.Place(r.Tokens, 0)] = append(r.Labels, 0)[0]
						}
						batch = append(batch, s)
					}
					batches = append(batches, batch)
				}
				tr.Method.Begin(0)
				if _, err := tr.Gradients(batches[:1]); err != nil {
					t.Fatal(err)
				}
				begun := map[string][]float32{}
				for _, p := range method.Parameters() {
					begun[p.Name] = slices.Clone(p.Value)
					c.held(t, p, "gradient", p.inFileOrder(p.Grad), 0, 5e-5)
				}
				for name := range c.Tensors {
					if begun[name] == nil && begun["base_model.model."+name] == nil {
						t.Errorf("%s is not trained", name)
					}
				}
				for step := range golden.Steps {
					r, err := tr.Advance([][]Sequence{batches[step%2]})
					if err != nil {
						t.Fatal(err)
					}
					if off := math.Abs(r.Loss-c.Losses[step]) / c.Losses[step]; !(off < 5e-5) {
						t.Errorf("step %d: loss %v, want %v", step, r.Loss, c.Losses[step])
					}
					if off := math.Abs(r.Norm-c.Norms[step]) / c.Norms[step]; !(off < 5e-4) {
						t.Errorf("step %d: gradient norm %v, want %v", step, r.Norm, c.Norms[step])
					}
				}
				for _, p := range method.Parameters() {
					way := slices.Clone(p.Value)
					for i, v := range begun[p.Name] {
						way[i] -= v
					}
					c.held(t, p, "way", p.inFileOrder(way), 2, 2e-3)
				}
			})
		}
	}
}

// held holds the norm of values, and their product with the numbers of the tensor's name,
// against PyTorch's. A tensor that the script leaves out does not reach the loss.
func (c *headCase) held(t *testing.T, p *Parameter, what string, values []float32, at int, tolerance float64) {
	t.Helper()
	want, ok := c.Tensors[strings.TrimPrefix(p.Name, "base_model.model.")]
	var sum, product float64
	for i, u := range modeltest.Numbers(p.Name, len(values), 1) {
		sum, product = sum+float64(values[i])*float64(values[i]), product+float64(values[i])*u
	}
	norm := math.Sqrt(sum)
	switch most := max(c.Norms[0], 1e-3); {
	case !ok && norm > 1e-6*most:
		t.Errorf("%s: PyTorch has no %s of it, and here it is %v", p.Name, what, norm)
	case want[at] < 1e-6*most && norm < 1e-6*most: // a key's bias: nothing but rounding
	case what == "way" && (strings.HasSuffix(p.Name, "key.bias") || strings.HasSuffix(p.Name, "k_lin.bias")): // which Adam moves all the same
	case math.Abs(norm-want[at]) > tolerance*want[at] || math.Abs(product-want[at+1]) > tolerance*want[at]:
		t.Errorf("%s: its %s is %.8g and %.8g, want %.8g and %.8g", p.Name, what, norm, product, want[at], want[at+1])
	}
}

// openHead opens what a golden folder of a head trains.
func openHead(t *testing.T, folder string) (models.Model, models.Task, Method) {
	t.Helper()
	if strings.HasPrefix(filepath.Base(folder), "own-") {
		m := openWith(t, modeltest.OwnHead(t, folder)).Model
		classes := *m.Config().Classes
		m, err := models.WithNewHead(m, classes, nil)
		if err != nil {
			t.Fatal(err)
		}
		return m, classes.Task, Full(m)
	}
	m := openWith(t, modeltest.Goldens(t, modeltest.HeadBase(t, folder))).Model
	f, err := adapters.Open(modeltest.Goldens(t, folder))
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapters.Load(m, f)
	if err != nil {
		t.Fatal(err)
	}
	task := a.Classes().Task
	if m, err = models.WithHead(m, task); err != nil {
		t.Fatal(err)
	}
	return m, task, NewAdapted(m, a, adapters.Training{})
}

package models_test

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// sequence is one row of a golden training batch; labels are by position, -100
// where there is none.
type sequence struct {
	Tokens []int32 `json:"tokens"`
	Labels []int32 `json:"labels"`
}

// TestGoldenGradients trains nothing: it holds the gradients of one batch with
// respect to every base parameter against PyTorch's.
func TestGoldenGradients(t *testing.T) {
	for _, base := range modeltest.TrainingBases(t) {
		t.Run(base, func(t *testing.T) {
			dir := modeltest.Goldens(t, "training", base)
			m, s, err := models.Open(dir, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			gradients := trainEverything(m)
			loss := backward(t, m, batches(t, dir)[0])
			var run struct {
				Losses []float64 `json:"losses"`
			}
			readJSON(t, dir+"/full/run.json", &run)
			if math.Abs(loss-run.Losses[0]) > 1e-5*run.Losses[0] {
				t.Errorf("loss is %v, want %v", loss, run.Losses[0])
			}
			compareGradients(t, m, dir+"/full/grads.safetensors", gradients)
		})
	}
}

func batches(t *testing.T, dir string) (b [][]sequence) {
	readJSON(t, dir+"/batches.json", &b)
	return b
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// trainEverything gives every parameter a gradient, by tensor name.
func trainEverything(m models.Model) map[string][]float32 {
	gradients := map[string][]float32{}
	var embedding kernels.Matrix
	for _, s := range m.Sites() {
		switch s.Kind {
		case models.EmbeddingSite:
			s.Embedding.WGrad = kernels.NewMatrix(s.Embedding.W.Rows, s.Embedding.W.Cols)
			gradients[s.Name+".weight"] = s.Embedding.WGrad.Data
			if embedding.Empty() {
				embedding = s.Embedding.WGrad
			}
		case models.LinearSite:
			if s.Head && m.Config().Tied {
				s.Linear.WGrad = embedding
				continue
			}
			s.Linear.WGrad = kernels.NewMatrix(s.Linear.W.Rows, s.Linear.W.Cols)
			gradients[s.Name+".weight"] = s.Linear.WGrad.Data
			s.Linear.BiasGrad = make([]float32, len(s.Linear.Bias))
			gradients[s.Name+".bias"] = s.Linear.BiasGrad
		case models.NormSite:
			s.Norm.WeightGrad = make([]float32, len(s.Norm.Weight))
			s.Norm.BiasGrad = make([]float32, len(s.Norm.Bias))
			gradients[s.Name+".weight"] = s.Norm.WeightGrad
			gradients[s.Name+".bias"] = s.Norm.BiasGrad
		}
	}
	return gradients
}

// backward runs a batch forward and back and returns its mean loss a label.
func backward(t *testing.T, m models.Model, rows []sequence) float64 {
	t.Helper()
	p := models.NewPass(modeltest.Pool(t, 2))
	var b models.Batch
	var labels []int32
	for i, s := range rows {
		b.Add(s.Tokens, 0, []int32{int32(i)}, nil)
		labels = append(append(labels, s.Labels[1:]...), -100)
	}
	p.Record()
	h := m.Forward(p, &b, nil)
	logits := m.Head(p, &b, 0, h)
	p.Free(h)
	count, loss := 0, 0.0
	for _, l := range labels {
		if l >= 0 {
			count++
		}
	}
	d := p.Grad(logits)
	for r, l := range labels {
		if l < 0 {
			continue
		}
		row := logits.Data.Row(r)
		var sum float64
		for _, v := range row {
			sum += math.Exp(float64(v))
		}
		loss += (math.Log(sum) - float64(row[l])) / float64(count)
		for i, v := range row {
			d.Row(r)[i] = float32(math.Exp(float64(v)) / sum / float64(count))
		}
		d.Row(r)[l] -= 1 / float32(count)
	}
	p.Free(logits)
	p.Backward()
	if live, _ := p.Live(); live.Total() != 0 {
		t.Errorf("%d bytes of values are still in use after the backward pass", live)
	}
	return loss
}

func compareGradients(t *testing.T, m models.Model, golden string, gradients map[string][]float32) {
	t.Helper()
	f, err := safetensors.Open(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	compared := 0
	for tensor := range f.All() {
		got, ok := gradients[tensor.Name]
		if !ok {
			t.Errorf("no gradient for %s", tensor.Name)
			continue
		}
		want, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if site := m.Sites().Find(strings.TrimSuffix(tensor.Name, ".weight")); site >= 0 && m.Sites()[site].Conv1D && len(tensor.Shape) == 2 {
			want = turned(want, tensor.Shape[0], tensor.Shape[1])
		}
		var worst, scale float64
		for i, w := range want {
			worst = max(worst, math.Abs(float64(got[i]-w)))
			scale = max(scale, math.Abs(float64(w)))
		}
		if !(worst <= 2e-5*scale+1e-7) {
			t.Errorf("gradient of %s is off by %.3g of %.3g", tensor.Name, worst, scale)
		}
		compared++
	}
	if compared == 0 {
		t.Fatal("nothing compared")
	}
}

func turned(v []float32, rows, cols int) []float32 {
	out := make([]float32, len(v))
	for r := range rows {
		for c := range cols {
			out[c*rows+r] = v[r*cols+c]
		}
	}
	return out
}

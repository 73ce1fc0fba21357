package models_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// TestInputGradOfVocabulary holds the gradient that a loss sends back through a
// head of many outputs, one large term and many small ones, against float64.
func TestInputGradOfVocabulary(t *testing.T) {
	const outputs, inputs = 49153, 40
	r := rand.New(rand.NewPCG(3, 5))
	w, dy := kernels.NewMatrix(outputs, inputs), kernels.NewMatrix(3, outputs)
	for i := range w.Data {
		w.Data[i] = float32(r.NormFloat64())
	}
	want := make([]float64, 3*inputs)
	for k := range 3 {
		row := dy.Row(k)
		for i := range row {
			row[i] = float32(r.ExpFloat64() / outputs)
		}
		row[17+k] = -1
		for o, d := range row {
			for i, v := range w.Row(o) {
				want[k*inputs+i] += float64(d) * float64(v)
			}
		}
	}
	for _, threads := range []int{1, 3} {
		pool := kernels.NewPool(threads)
		p, dx := models.NewPass(pool), kernels.NewMatrix(3, inputs)
		p.InputGrad(dx, dy, kernels.WeightOf(w))
		pool.Close()
		for i, v := range dx.Data {
			if off := math.Abs(float64(v) - want[i]); !(off < 4e-6) {
				t.Errorf("%d threads: value %d is off by %.2g of %.2g", threads, i, off, want[i])
			}
		}
	}
}

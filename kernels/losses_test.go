package kernels

import (
	"math"
	"testing"
)

// TestHeadLosses holds the gradient of each loss of heads against its differences, and
// the losses against what the formulas give for scores that make them simple.
func TestHeadLosses(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	const rows, classes, scale = 3, 5, 0.25
	targets, weights := []int32{4, 0, 2}, []float32{0.5, 1, 2, 1, 3}
	wanted := NewMatrix(rows, classes)
	for i := range wanted.Data {
		wanted.Data[i] = float32(i % 2)
	}
	for name, loss := range map[string]func(losses []float64, scores Matrix){
		"classes":           func(l []float64, s Matrix) { pool.ClassEntropy(l, s, targets, nil, 0, scale) },
		"weights":           func(l []float64, s Matrix) { pool.ClassEntropy(l, s, targets, weights, 0, scale) },
		"weights, smoothed": func(l []float64, s Matrix) { pool.ClassEntropy(l, s, targets, weights, 0.2, scale) },
		"binary":            func(l []float64, s Matrix) { pool.BinaryEntropy(l, s, wanted, scale) },
		"squares":           func(l []float64, s Matrix) { pool.SquaredError(l, s, wanted, scale) },
	} {
		at := func(change, by int) (losses []float64, gradients Matrix) {
			scores := NewMatrix(rows, classes)
			for i := range scores.Data {
				scores.Data[i] = float32((i*7)%11-5) / 4
			}
			scores.Data[change] += float32(by) / 64
			losses = make([]float64, rows)
			loss(losses, scores)
			return losses, scores
		}
		for i := range rows * classes {
			_, gradients := at(i, 0)
			up, _ := at(i, 1)
			down, _ := at(i, -1)
			got, want := float64(gradients.Data[i]), scale*32*(up[i/classes]-down[i/classes])
			if math.Abs(got-want) > 2e-4 {
				t.Errorf("%s: gradient %d is %v, and differences give %v", name, i, got, want)
			}
		}
	}
	zero, losses := NewMatrix(rows, classes), make([]float64, rows)
	pool.ClassEntropy(losses, zero, targets, weights, 0, 0)
	if want := 3 * math.Log(classes); math.Abs(losses[0]-want) > 1e-12 {
		t.Errorf("of equal scores the loss is %v, want %v", losses[0], want)
	}
	huge := MatrixOf(1, 2, []float32{1000, -1000})
	pool.BinaryEntropy(losses, huge, MatrixOf(1, 2, []float32{1, 0}), 1)
	if losses[0] != 0 || huge.Data[0] != 0 || huge.Data[1] != 0 {
		t.Errorf("of scores that leave no doubt: %v, %v", losses[0], huge.Data)
	}
}

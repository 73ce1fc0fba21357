package kernels

import "math"

// ArgMax returns the index of the largest value, the first of equals, passing
// over NaN; 0 if there is none.
func ArgMax(x []float32) int {
	const chunk = 1024
	top, at := float32(math.Inf(-1)), 0
	for i := 0; i < len(x); i += chunk {
		if m := largest(x[i:min(i+chunk, len(x))]); m > top {
			top, at = m, i
		}
	}
	for i, v := range x[at:] {
		if v == top {
			return at + i
		}
	}
	return 0
}

// largest is the largest value, passing over NaN, or -∞.
func largest(x []float32) float32 {
	if v := active.vectors; v != nil && len(x) > 0 {
		return v.maximum(&x[0], len(x))
	}
	top := float32(math.Inf(-1))
	for _, v := range x {
		if v > top {
			top = v
		}
	}
	return top
}

// LogSumExp returns log Σ exp(x[i]), without overflow.
func LogSumExp(x []float32) float32 {
	top := largest(x)
	if math.IsInf(float64(top), 0) {
		return top
	}
	return top + float32(math.Log(expSum(x, top)))
}

// Softmax sets dst[i] = exp(x[i]) / Σ exp(x[j]). dst may be x.
func Softmax(dst, x []float32) {
	dst = dst[:len(x)]
	sum := expShift(dst, x, largest(x))
	scaled(dst, dst, float32(1/sum))
}

// CrossEntropyGrad returns the loss -log softmax(x)[label] of a row of logits
// and replaces the row by its gradient times scale:
//
//	x[i] = scale * (softmax(x)[i] - (i == label ? 1 : 0))
func CrossEntropyGrad(x []float32, label int, scale float32) float64 {
	top, at := largest(x), x[label]
	sum := expShift(x, x, top)
	scaled(x, x, float32(float64(scale)/sum))
	x[label] -= scale
	return math.Log(sum) + float64(top) - float64(at)
}

// sumChunk is how many exponentials are summed in float32 before the sum goes
// on in float64: a fixed split, counted from the first.
const sumChunk = 4096

// expSum returns Σ exp(x[i]-less).
func expSum(x []float32, less float32) float64 {
	var sum float64
	if v := active.vectors; v != nil {
		for i := 0; i < len(x); i += sumChunk {
			sum += float64(v.expSum(&x[i], less, min(sumChunk, len(x)-i)))
		}
		return sum
	}
	for _, v := range x {
		sum += float64(exp(v - less))
	}
	return sum
}

// expShift sets dst to exp(x[i]-less) and returns the sum.
func expShift(dst, x []float32, less float32) float64 {
	var sum float64
	if v := active.vectors; v != nil {
		for i := 0; i < len(x); i += sumChunk {
			sum += float64(v.expShift(&dst[i], &x[i], less, min(sumChunk, len(x)-i)))
		}
		return sum
	}
	for i, v := range x {
		dst[i] = exp(v - less)
		sum += float64(dst[i])
	}
	return sum
}

// scaled sets dst = a·x.
func scaled(dst, x []float32, a float32) {
	if v := active.vectors; v != nil && len(x) > 0 {
		v.scale(&dst[0], &x[0], a, len(x))
		return
	}
	for i, v := range x {
		dst[i] = v * a
	}
}

// CrossEntropy sets losses to those of the rows of logits against targets, and
// turns the rows into their gradients times scale: see CrossEntropyGrad. A row
// whose target is negative has neither.
func (p *Pool) CrossEntropy(losses []float64, logits Matrix, targets []int32, scale float32) {
	p.Run(logits.Rows, &crossEntropyTask{losses, logits, targets, scale})
}

type crossEntropyTask struct {
	losses  []float64
	logits  Matrix
	targets []int32
	scale   float32
}

func (t *crossEntropyTask) Part(_ *Worker, r int) {
	row, target := t.logits.Row(r), t.targets[r]
	if target < 0 {
		clear(row)
		return
	}
	t.losses[r] = CrossEntropyGrad(row, int(target), t.scale)
}

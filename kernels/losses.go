package kernels

import "math"

// The losses of heads of tasks. As CrossEntropy does, each sets losses to those of the
// rows of scores, and turns the rows into their gradients times scale.

// ClassEntropy is the cross entropy of rows of scores against classes, which have
// weights (empty: 1 each), of labels of which so much is spread evenly over all classes:
// PyTorch's cross_entropy with weight and label_smoothing, as a sum. With n classes,
// p = softmax(x) and the label t it is
//
//	-(1-smoothing)·w[t]·log p[t] - smoothing/n·Σ w[c]·log p[c]
func (p *Pool) ClassEntropy(losses []float64, scores Matrix, targets []int32, weights []float32, smoothing, scale float32) {
	p.Run(scores.Rows, &classEntropyTask{losses, scores, targets, weights, float64(smoothing), float64(scale)})
}

type classEntropyTask struct {
	losses           []float64
	scores           Matrix
	targets          []int32
	weights          []float32
	smoothing, scale float64
}

func (t *classEntropyTask) weight(class int) float64 {
	if len(t.weights) == 0 {
		return 1
	}
	return float64(t.weights[class])
}

// logSumExp64 is LogSumExp in float64.
func logSumExp64(x []float32) float64 {
	top, sum := float64(largest(x)), 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}

func (t *classEntropyTask) Part(_ *Worker, r int) {
	row, label := t.scores.Row(r), int(t.targets[r])
	norm := logSumExp64(row)
	own, even, all := (1-t.smoothing)*t.weight(label), t.smoothing/float64(len(row)), 0.0
	loss := own * (norm - float64(row[label]))
	for c, x := range row {
		all += t.weight(c)
		loss += even * t.weight(c) * (norm - float64(x))
	}
	t.losses[r] = loss
	for c, x := range row {
		d := (own+even*all)*math.Exp(float64(x)-norm) - even*t.weight(c)
		if c == label {
			d -= own
		}
		row[c] = float32(t.scale * d)
	}
}

// BinaryEntropy is the cross entropy of each score, taken as the logit of a yes,
// against a target of 0 or 1: the loss of a row is their sum.
func (p *Pool) BinaryEntropy(losses []float64, scores, targets Matrix, scale float32) {
	p.Run(scores.Rows, &binaryEntropyTask{losses, scores, targets, float64(scale)})
}

type binaryEntropyTask struct {
	losses          []float64
	scores, targets Matrix
	scale           float64
}

func (t *binaryEntropyTask) Part(_ *Worker, r int) {
	row, targets, loss := t.scores.Row(r), t.targets.Row(r), 0.0
	for c, v := range row {
		x, y := float64(v), float64(targets[c])
		loss += max(x, 0) - x*y + math.Log1p(math.Exp(-math.Abs(x)))
		row[c] = float32(t.scale * (1/(1+math.Exp(-x)) - y))
	}
	t.losses[r] = loss
}

// SquaredError is the square of what each score is off its target by: the loss of a row
// is their sum.
func (p *Pool) SquaredError(losses []float64, scores, targets Matrix, scale float32) {
	p.Run(scores.Rows, &squaredErrorTask{losses, scores, targets, float64(scale)})
}

type squaredErrorTask struct {
	losses          []float64
	scores, targets Matrix
	scale           float64
}

func (t *squaredErrorTask) Part(_ *Worker, r int) {
	row, targets, loss := t.scores.Row(r), t.targets.Row(r), 0.0
	for c, v := range row {
		off := float64(v) - float64(targets[c])
		loss += off * off
		row[c] = float32(t.scale * 2 * off)
	}
	t.losses[r] = loss
}

package training

import (
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
	"github.com/peft-serve/peft-serve/training/plan"
)

// crossEntropy returns the losses of the hidden states h, whose rows predict
// targets, and adds the gradient of their sum times scale to h's:
//
//	loss_r = lse(x_r) - x_r[t],  ∂/∂x_r = softmax(x_r) - onehot(t)
//
// It goes through the head in chunks of rows, each of which is computed
// backward at once: the logits of the whole batch are never held, and the
// gradient of a chunk takes the place of its logits.
func crossEntropy(p *models.Pass, m models.Model, b *models.Batch, h *models.Value, targets []int32, scale float32) []float64 {
	rows := plan.ChunkRows(len(targets), m.Config().Vocabulary)
	losses := make([]float64, len(targets))
	for from := 0; from < len(targets); from += rows {
		to := min(from+rows, len(targets))
		mark := p.Mark()
		part := h
		if from > 0 || to < h.Rows() {
			part = p.Slice(h, from, to)
		}
		logits := m.Head(p, b, from, part)
		if part != h {
			p.Free(part)
		}
		p.GradientInPlace(logits)
		t := &lossTask{logits.Data, targets[from:to], losses[from:to], scale}
		p.Pool.Run(to-from, t)
		p.Free(logits)
		p.BackwardTo(mark)
	}
	return losses
}

// lossTask turns a row of logits into its gradient, a row a part.
type lossTask struct {
	x       kernels.Matrix
	targets []int32
	losses  []float64
	scale   float32
}

func (t *lossTask) Part(_ *kernels.Worker, r int) {
	row, target := t.x.Row(r), t.targets[r]
	if target == dataset.None {
		clear(row)
		return
	}
	t.losses[r] = kernels.CrossEntropyGrad(row, int(target), t.scale)
}

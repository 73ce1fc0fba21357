package training

import (
	"github.com/peft-serve/peft-serve/models"
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
		logits := p.Workspace(func() *models.Value { return m.Head(p, b, from, part) })
		if part != h {
			p.Free(part)
		}
		p.GradientInPlace(logits)
		p.CrossEntropy(losses[from:to], logits.Data, targets[from:to], scale)
		p.Free(logits)
		p.BackwardTo(mark)
	}
	return losses
}

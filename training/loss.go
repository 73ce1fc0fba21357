package training

import (
	"github.com/peft-serve/peft-serve/models"
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
	rows := chunkRows(len(targets), m.Config().Vocabulary)
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

// logitBytes bounds the logits that are held at once, unless that were fewer
// than minChunk rows: each chunk reads the whole head.
const (
	logitBytes = 32 << 20
	minChunk   = 64
)

// chunkRows is the number of rows whose logits are computed at once, of a pass
// with the given number that predict: chunks are of like size.
func chunkRows(rows, vocabulary int) int {
	most := max(minChunk, logitBytes/4/max(vocabulary, 1))
	chunks := max(1, (rows+most-1)/most)
	return (rows + chunks - 1) / chunks
}

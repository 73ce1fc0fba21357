package training

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// rows lays sequences out as the rows of a batch. Sequences keep their own
// lengths: nothing is padded, what follows the last position that predicts is
// left out, and the head sees only the rows that predict.
type rows struct {
	models.Batch
	targets []int32
	blocks  []int32
	wanted  []float32 // Values of the sequences
}

// values are what the scores of the rows that predict are to be.
func (r *rows) values(classes int) kernels.Matrix {
	if len(r.wanted) == 0 { // of a plan
		return kernels.ShapeOf(len(r.targets), classes)
	}
	return kernels.MatrixOf(len(r.targets), classes, r.wanted)
}

// passRows bounds the positions that are computed at once: beyond it a
// micro-batch is taken in several passes of whole sequences, whose gradients
// add up, so that the activations of one pass are all that is held. That many
// rows keep the products busy; more would only save the gradients of trained
// weights a trip through memory.
const passRows = 256

// passes cuts a micro-batch, in order, into parts of whole sequences: as many
// as passRows has room for. count is the number of sequences, positions
// that of one's rows.
func passes(count, before int, positions func(i int) int) (ends []int) {
	rows := 0
	for i := range count {
		n := before + positions(i)
		if i > 0 && rows+n > passRows {
			ends = append(ends, i)
			rows = 0
		}
		rows += n
	}
	return append(ends, count)
}

// preceding counts the positions that a puts before the first token: those of
// keys and values, and those of embeddings.
func preceding(a models.Adapter) (prefix, virtual int) {
	if p, ok := a.(preceded); ok {
		return p.PrefixTokens(), p.VirtualTokens()
	}
	return 0, 0
}

// preceded is an adapter that puts positions before the first token.
type preceded interface {
	PrefixTokens() int  // keys and values
	VirtualTokens() int // embeddings
}

// room is the number of tokens for which the context has room under a.
func room(m models.Model, a models.Adapter) int {
	prefix, virtual := preceding(a)
	return m.Config().Context - prefix - virtual
}

// invocation is the tokens from which on a acts (aLoRA); nil: it acts everywhere.
func invocation(a models.Adapter) []int32 {
	if own, ok := a.(interface{ Invocation() []int32 }); ok {
		return own.Invocation()
	}
	return nil
}

// activation is the place from which an adapter of those invocation tokens acts
// on a sequence. One of a plan has no tokens to look for: there it acts
// everywhere.
func activation(s Sequence, invocation []int32) int { return max(s.Activation(invocation), 0) }

// fill lays out a batch under an adapter, whose rows that predict go to a head: nil is the
// model's own. An encoder's texts are whole.
func (r *rows) fill(batch []Sequence, a models.Adapter, head *models.Head) {
	invocation := invocation(a)
	r.Reset()
	r.targets, r.blocks, r.wanted = r.targets[:0], r.blocks[:0], r.wanted[:0]
	prefix, virtual := preceding(a)
	r.Out = []int32{} // nil would mean every row
	for _, s := range batch {
		n := s.Rows()
		tokens := s.Tokens[:n]
		if virtual > 0 {
			tokens = make([]int32, 0, virtual+n)
			for i := range virtual {
				tokens = append(tokens, int32(-1-i))
			}
			tokens = append(tokens, s.Tokens[:n]...)
		}
		start := r.Rows() + virtual
		if s.Whole && invocation == nil {
			var types []int32
			if s.Types != nil {
				types = append(make([]int32, virtual), s.Types...)
			}
			r.AddText(tokens, types, prefix, a)
		} else {
			from := len(r.blocks)
			for n := prefix + len(tokens); n > 0; n -= kernels.BlockLen {
				r.blocks = append(r.blocks, int32(len(r.blocks)))
			}
			r.AddFrom(tokens, prefix, r.blocks[from:len(r.blocks):len(r.blocks)], a, activation(s, invocation))
		}
		if head != nil && head.Task == models.Classify {
			if head.Mean {
				for row := start - virtual; row < start+n; row++ {
					r.Out = append(r.Out, int32(row))
				}
			} else {
				r.Out = append(r.Out, int32(start+head.Place(s.Tokens, virtual)))
			}
			r.targets, r.wanted = append(r.targets, slices.Max(s.Targets)), append(r.wanted, s.Values...)
			continue
		}
		for i, t := range s.Targets {
			if t >= 0 {
				r.Out = append(r.Out, int32(start+i))
				r.targets = append(r.targets, t)
			}
		}
	}
}

package training

import (
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
}

// preceded is an adapter that puts positions before the first token.
type preceded interface {
	PrefixTokens() int  // keys and values
	VirtualTokens() int // embeddings
}

func (r *rows) fill(batch []Sequence, a models.Adapter) {
	r.Reset()
	r.targets, r.blocks = r.targets[:0], r.blocks[:0]
	prefix, virtual := 0, 0
	if l, ok := a.(preceded); ok {
		prefix, virtual = l.PrefixTokens(), l.VirtualTokens()
	}
	r.Out = []int32{} // nil would mean every row
	for _, s := range batch {
		tokens := s.Tokens[:s.Last()+1]
		if virtual > 0 {
			tokens = make([]int32, 0, virtual+len(s.Tokens))
			for i := range virtual {
				tokens = append(tokens, int32(-1-i))
			}
			tokens = append(tokens, s.Tokens[:s.Last()+1]...)
		}
		from := len(r.blocks)
		for n := prefix + len(tokens); n > 0; n -= kernels.BlockLen {
			r.blocks = append(r.blocks, int32(len(r.blocks)))
		}
		start := r.Rows() + virtual
		r.Add(tokens, prefix, r.blocks[from:len(r.blocks):len(r.blocks)], a)
		for i, t := range s.Targets {
			if t >= 0 {
				r.Out = append(r.Out, int32(start+i))
				r.targets = append(r.targets, t)
			}
		}
	}
}

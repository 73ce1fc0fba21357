package runtime

import (
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
)

// folding makes one row of the hidden states of a prompt, as they are computed:
// whatever the prompt is cut into, they come in its order. Virtual tokens are no
// part of the prompt.
type folding struct {
	pool             *pooling.Pool
	from, to         int // the places of the rows that are still looked at
	first, last, all bool

	through *models.Head // that makes scores of the row; nil: the row is wanted
	classes int
}

// newMean is the folding of a prompt whose mean a head reads, with its virtual tokens.
func newMean(s *sequence, hidden int) *folding {
	modes := []pooling.Mode{pooling.Mean}
	k := &folding{pool: pooling.New(modes, hidden, 0), to: s.promptEnd(), through: s.head, classes: s.classes}
	if a := s.lease.Adapter(); a != nil {
		k.from = s.virtual - a.VirtualTokens()
	}
	k.first, k.last, k.all = pooling.Sparse(modes)
	return k
}

func newFolding(s *sequence, hidden int) *folding {
	r := s.request
	k := &folding{pool: pooling.New(r.Pooling, hidden, r.PoolFrom), from: s.virtual + r.PoolFrom, to: s.promptEnd()}
	k.first, k.last, k.all = pooling.Sparse(r.Pooling)
	return k
}

func (k *folding) wants(_ *sequence, place int) bool {
	return place >= k.from && place < k.to && (k.all || k.first && place == k.from || k.last && place == k.to-1)
}

// whole reports whether blocks of the prefix cache cannot stand for what is looked at.
func (k *folding) whole() bool   { return k.first || k.all && k.from < k.to }
func (k *folding) head() passage { return passage{} }

func (k *folding) fill(o *output, _ *choice, hidden []float32) { copy(o.kept, hidden) }

// take moves on, so that a sequence that is computed again adds no row twice.
func (k *folding) take(o *output) {
	k.pool.Add(o.kept)
	k.from, k.first = o.place+1, false
}

func (k *folding) computed(e *Engine, s *sequence) (Finish, error) {
	row := kernels.NewMatrix(1, k.pool.Width())
	k.pool.Write(row.Row(0))
	if k.through != nil {
		var a models.Adapter
		if v := s.lease.Adapter(); v != nil {
			a = v
		}
		made := k.through.OfMean(e.pass, a, row)
		row = kernels.NewMatrix(1, k.classes)
		copy(row.Row(0), made.Data.Row(0))
		e.pass.Free(made)
		if !kernels.Finite(row.Row(0)) {
			return "", ErrNotFinite
		}
	}
	s.last = Event{Token: NoToken, Encoded: row}
	return FinishLength, nil
}

// keep gives the outputs of a step that are folded the memory that their rows are
// kept in until they are taken.
func (e *Engine) keep() {
	n := 0
	for i := range e.outputs {
		if _, ok := e.outputs[i].kind.(*folding); ok {
			n++
		}
	}
	if n > e.kept.Rows {
		e.kept = kernels.NewMatrix(n, e.model.Config().Hidden)
	}
	n = 0
	for i := range e.outputs {
		if _, ok := e.outputs[i].kind.(*folding); ok {
			e.outputs[i].kept = e.kept.Row(n)
			n++
		}
	}
}

// foldable refuses a request for a pooled row of nothing.
func foldable(r *Request) error {
	switch {
	case r.Encode != EncodeFolded && (r.Pooling != nil || r.PoolFrom != 0):
		return fmt.Errorf("%w: pooling is not asked for beside hidden states", ErrPrompt)
	case r.Encode == EncodeFolded && len(r.Pooling) == 0:
		return fmt.Errorf("%w: there is no pooling", ErrPrompt)
	case r.PoolFrom < 0 || r.Encode == EncodeFolded && r.PoolFrom >= len(r.Prompt):
		return fmt.Errorf("%w: pooling begins at token %d of %d", ErrPrompt, r.PoolFrom, len(r.Prompt))
	}
	return nil
}

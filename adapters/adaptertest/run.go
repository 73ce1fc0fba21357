// Package adaptertest is the conformance suite that every adapter method
// passes: Run takes a base and an adapter folder and demands what holds of any
// method, from bits that do not depend on the batch to errors that name what
// was tampered with.
package adaptertest

import (
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Open opens the adapter in dir.
func Open(t testing.TB, dir string) *adapters.Folder {
	t.Helper()
	f, err := adapters.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Load loads the adapter in dir on m.
func Load(t testing.TB, m models.Model, dir string) *adapters.Adapter {
	t.Helper()
	a, err := adapters.Load(m, Open(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Row is one sequence of a batch under an adapter; nil is the base.
type Row struct {
	Tokens  []int32
	Adapter *adapters.Adapter
}

// Logits runs the rows in one batch, after their adapters' prefixes and
// virtual tokens, and returns each row's logits, of an encoder its hidden states, one
// line a token.
func Logits(m models.Model, pool *kernels.Pool, rows ...Row) []kernels.Matrix {
	if !generates(m) {
		return hidden(m, pool, rows)
	}
	var b models.Batch
	out := make([]kernels.Matrix, len(rows))
	c := models.NewCache(m.Config(), len(rows)*blocksFor(m))
	skips := make([]int, len(rows))
	for i, row := range rows {
		blocks := make([]int32, blocksFor(m))
		for j := range blocks {
			blocks[j] = int32(i*len(blocks) + j)
		}
		tokens, acts := row.text(), 0
		if row.Adapter != nil {
			storePrefix(c, row.Adapter, blocks)
			skips[i] = row.Adapter.VirtualTokens()
			if own := row.Adapter.Invocation(); len(own) > 0 {
				if acts = models.Activation(tokens, own); acts < 0 {
					acts = len(tokens)
				}
			}
		}
		b.AddFrom(tokens, row.position(), blocks, row.adapter(), acts)
	}
	p := models.NewPass(pool)
	h := m.Forward(p, &b, c)
	logits := m.Head(p, &b, 0, h)
	from := 0
	for i, row := range rows {
		from += skips[i]
		vocabulary := m.Config().Vocabulary
		if row.Adapter != nil {
			vocabulary = row.Adapter.Vocabulary()
		}
		out[i] = kernels.NewMatrix(len(row.Tokens), vocabulary)
		out[i].Copy(logits.Data.Span(from, from+len(row.Tokens)).Columns(0, vocabulary))
		from += len(row.Tokens)
	}
	return out
}

func generates(m models.Model) bool { return m.Config().Architecture.Does(models.Generate) }

// hidden is Logits of an encoder.
func hidden(m models.Model, pool *kernels.Pool, rows []Row) []kernels.Matrix {
	var b models.Batch
	for _, row := range rows {
		b.AddText(row.text(), nil, row.position(), row.adapter())
	}
	h := m.Forward(models.NewPass(pool), &b, nil)
	out := make([]kernels.Matrix, len(rows))
	for i, row := range rows {
		end := b.Spans[i].End
		out[i] = kernels.NewMatrix(len(row.Tokens), h.Data.Cols)
		out[i].Copy(h.Data.Span(end-len(row.Tokens), end))
	}
	return out
}

// text is the row's tokens after the virtual ones, and position the first one's.
func (r Row) text() (tokens []int32) {
	if r.Adapter != nil {
		for v := range r.Adapter.VirtualTokens() {
			tokens = append(tokens, int32(-1-v))
		}
	}
	return append(tokens, r.Tokens...)
}

func (r Row) position() int {
	if r.Adapter == nil {
		return 0
	}
	return r.Adapter.PrefixTokens()
}

func (r Row) adapter() models.Adapter {
	if r.Adapter == nil {
		return nil
	}
	return r.Adapter
}

func blocksFor(m models.Model) int { return m.Config().Context/kernels.BlockLen + 1 }

func storePrefix(c *models.Cache, a *adapters.Adapter, blocks []int32) {
	for layer, kv := range c.Layers {
		k, v := a.Prefix(layer)
		for n := range k.Rows {
			kv.Store(blocks[n/kernels.BlockLen], n, k.Row(n), v.Row(n))
		}
	}
}

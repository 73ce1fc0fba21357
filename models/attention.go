package models

import "github.com/peft-serve/peft-serve/kernels"

// columns is a run of a Value's columns: GPT-2 and Phi-3 compute query, key and
// value as one.
type columns struct {
	*Value
	from, to int
}

func all(v *Value) columns { return columns{v, 0, v.Data.Cols} }

func (c columns) data() kernels.Matrix { return c.Data.Columns(c.from, c.to) }

// gradient is that of the columns; empty where they carry none.
func (c columns) gradient(p *Pass) kernels.Matrix {
	g := p.Grad(c.Value)
	if g.Empty() {
		return g
	}
	return g.Columns(c.from, c.to)
}

// attend stores the keys and values of the batch in layer i of the cache and
// returns the attention of its queries, [rows, heads*headDim]. q, k and v are
// [rows, heads*headDim] and twice [rows, kvHeads*headDim].
//
// A nil cache stands for sequences computed whole: the prefixes of their
// adapters are stored here, where the server stores them once a sequence.
func attend(p *Pass, b *Batch, c *Cache, config *Config, i int, a kernels.Attention, q, k, v columns) *Value {
	kv, own := c.layer(p, config, b, i)
	p.StoreKV(kv, b.Spans, k.data(), v.data())
	prefixed := own != nil && storePrefixes(p, b, kv, i)
	out := p.New(q.Rows(), q.to-q.from)
	if !p.Tracks(out, prefixed, q.Value, k.Value, v.Value) {
		p.Attend(out.Data, q.data(), kv, b.Spans, a, kernels.Matrix{})
		if own != nil {
			p.Free(own)
		}
		return out
	}
	recordAttention(p, b, i, a, q, k, v, kv, own, out, prefixed)
	return out
}

// recordAttention is attend for a backward pass: what it keeps for that is no cost
// of a step without one.
func recordAttention(p *Pass, b *Batch, i int, a kernels.Attention, q, k, v columns, kv kernels.KV, own, out *Value, prefixed bool) {
	lse := p.New(q.Rows(), a.Heads)
	p.Attend(out.Data, q.data(), kv, b.Spans, a, lse.Data)
	p.OnBackward(out, func(dy kernels.Matrix) {
		grad := p.New(own.Data.Rows, own.Data.Cols)
		p.Zero(grad.Data)
		dkv := kernels.KVOf(grad.Data, kv.Heads, kv.HeadDim)
		dq := p.gradOr(q.Value)
		p.AttendGrad(dq.Data.Columns(q.from, q.to), dkv, dy, out.Data, q.data(), kv, b.Spans, a, lse.Data)
		dk, dv := k.gradient(p), v.gradient(p)
		row := p.New(2, kv.Heads*kv.HeadDim)
		p.LoadKV(dk, dv, dkv, b.Spans, row.Data)
		if prefixed {
			loadPrefixes(p, b, dkv, i, row.Data)
		}
		p.Free(row, grad, dq)
	}, q.Value, out, lse, own)
	p.Free(lse, own)
}

// rotate applies rotary positions to x: in place, or in a new Value while
// recording, since x may be on the tape. It frees x when it returns another.
func rotate(p *Pass, r *kernels.Rope, positions []int32, x columns) columns {
	if !p.recording {
		p.Rope(x.data(), r, positions)
		return x
	}
	y := p.New(x.Rows(), x.to-x.from)
	p.Copy(y.Data, x.data())
	p.Rope(y.Data, r, positions)
	if p.Tracks(y, false, x.Value) {
		p.OnBackward(y, func(dy kernels.Matrix) { p.RopeGrad(x.gradient(p), dy, r, positions) })
	}
	p.Free(x.Value)
	return all(y)
}

package models

import "github.com/peft-serve/peft-serve/kernels"

// selfAttention is grouped-query attention with rotary positions, with norms on
// the heads of query and key where there are some.
type selfAttention struct {
	config       *Config
	layer        int
	q, k, v, o   *Linear
	qkv          *Linear // in the place of q, k and v, as Phi-3 has it; nil: none
	qNorm, kNorm *Norm   // Qwen3 and Gemma 3; nil elsewhere
	rope         *kernels.Rope
	attention    kernels.Attention
}

// mix returns the attention of x's rows, and project what the block adds. Both
// free x.
func (a *selfAttention) mix(p *Pass, b *Batch, c *Cache, x *Value) *Value {
	q, k, v := a.projections(p, b.Segments, x)
	p.Free(x)
	if a.qNorm != nil {
		q = all(a.qNorm.perHead(p, b.Segments, q.Value))
		k = all(a.kNorm.perHead(p, b.Segments, k.Value))
	}
	q = rotate(p, a.rope, b.Positions, q)
	k = rotate(p, a.rope, b.Positions, k)
	out := attend(p, b, c, a.config, a.layer, a.attention, q, k, v)
	p.Free(q.Value, k.Value, v.Value)
	return out
}

// projections returns query, key and value, which each have a use of their own.
func (a *selfAttention) projections(p *Pass, segments []Segment, x *Value) (q, k, v columns) {
	if a.qkv == nil {
		projected := forwardAll(p, segments, x, a.q, a.k, a.v)
		return all(projected[0]), all(projected[1]), all(projected[2])
	}
	y := a.qkv.Forward(p, segments, x)
	n, kv := a.config.Heads*a.config.HeadDim, a.config.KVHeads*a.config.HeadDim
	return columns{y, 0, n}, columns{p.Keep(y), n, n + kv}, columns{p.Keep(y), n + kv, n + 2*kv}
}

func (a *selfAttention) project(p *Pass, segments []Segment, x *Value) *Value {
	y := a.o.Forward(p, segments, x)
	p.Free(x)
	return y
}

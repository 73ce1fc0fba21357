package models

import "github.com/peft-serve/peft-serve/kernels"

// selfAttention is grouped-query attention with rotary positions, with norms on
// the heads of query and key where there are some.
type selfAttention struct {
	config       *Config
	layer        int
	q, k, v, o   *Linear
	qNorm, kNorm *Norm // Qwen3 and Gemma 3; nil elsewhere
	rope         *kernels.Rope
	attention    kernels.Attention
}

// mix returns the attention of x's rows, and project what the block adds. Both
// free x.
func (a *selfAttention) mix(p *Pass, b *Batch, c *Cache, x *Value) *Value {
	projected := forwardAll(p, b.Segments, x, a.q, a.k, a.v)
	q, k, v := projected[0], projected[1], projected[2]
	p.Free(x)
	if a.qNorm != nil {
		q = a.qNorm.perHead(p, b.Segments, q)
		k = a.kNorm.perHead(p, b.Segments, k)
	}
	q = rotate(p, a.rope, b.Positions, q)
	k = rotate(p, a.rope, b.Positions, k)
	out := attend(p, b, c, a.config, a.layer, a.attention, all(q), all(k), all(v))
	p.Free(q, k, v)
	return out
}

func (a *selfAttention) project(p *Pass, segments []Segment, x *Value) *Value {
	y := a.o.Forward(p, segments, x)
	p.Free(x)
	return y
}

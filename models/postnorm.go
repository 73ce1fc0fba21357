package models

import "github.com/peft-serve/peft-serve/kernels"

// blockNames are what an architecture calls the modules of a postNorm, and the
// sublayers after which bottlenecks stand.
type blockNames struct {
	q, k, v, o, norm1, up, down, norm2 string
	attention, mlp                     string
}

// bertBlock are the names of BERT and of those that follow it.
var bertBlock = blockNames{
	q: "attention.self.query", k: "attention.self.key", v: "attention.self.value", o: "attention.output.dense", norm1: "attention.output.LayerNorm",
	up: "intermediate.dense", down: "output.dense", norm2: "output.LayerNorm",
	attention: "attention.output", mlp: "output",
}

// postNorm reads a block.
func (b *layerBuilder) postNorm(c *Config, names *blockNames, act kernels.Activation, eps float32) *postNorm {
	hidden := c.Hidden
	l := &postNorm{
		config: c, layer: b.layer, act: act, last: b.layer == c.Layers-1,
		q: b.linear(names.q, hidden, hidden, with), k: b.linear(names.k, hidden, hidden, with), v: b.linear(names.v, hidden, hidden, with),
		o:         b.linear(names.o, hidden, hidden, with),
		attention: kernels.Attention{Heads: c.Heads, Scale: invSqrt(c.HeadDim)},
	}
	l.norm1 = b.layerNorm(names.norm1, hidden, eps)
	l.attentionInsert = b.sublayerBefore(names.attention, l.norm1)
	l.up, l.down = b.linear(names.up, c.Intermediate, hidden, with), b.linear(names.down, hidden, c.Intermediate, with)
	l.norm2 = b.layerNorm(names.norm2, hidden, eps)
	l.mlpInsert = b.sublayerBefore(names.mlp, l.norm2)
	return l
}

// sublayerBefore numbers a whole sublayer whose sum with the residual has a norm.
func (b *layerBuilder) sublayerBefore(module string, norm *Norm) int {
	return b.site(Site{Name: b.name(module), Kind: SublayerSite, Norm: norm})
}

// pooler reads the linear that acts on the first row of a text, if there is one:
// some checkpoints were saved from models without it. A shape of a configuration alone has it.
func (b *layerBuilder) pooler(module string, hidden int) *Linear {
	if weight := module + ".weight"; !b.s.shape && !b.s.Has(weight) || b.s.of != nil && !b.s.of.Has(weight) {
		return nil
	}
	return b.linear(module, hidden, hidden, with)
}

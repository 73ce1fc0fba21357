package models

// decoder is a causal language model: an embedding, blocks one after the other,
// a norm and a head.
type decoder struct {
	config Config
	sites  Sites

	embed     *Embedding
	positions *Embedding // learned ones, added to the tokens'; nil: none
	blocks    []block
	norm      *Norm
	head      *Linear
}

// block is one layer of a decoder. It frees x.
type block interface {
	forward(p *Pass, b *Batch, c *Cache, x *Value) *Value
}

func (m *decoder) Config() *Config { return &m.config }
func (m *decoder) Sites() Sites    { return m.sites }

func (m *decoder) Forward(p *Pass, b *Batch, c *Cache) *Value {
	x := b.forward(p, m, c, len(m.blocks))
	h := m.norm.Forward(p, b.outSegments(p), x)
	p.Free(x)
	return h
}

// enter implements layered: the embeddings.
func (m *decoder) enter(p *Pass, b *Batch) *Value {
	x := m.embed.Forward(p, b, b.Tokens)
	if m.positions != nil {
		x = sum(p, x, m.positions.Forward(p, b, b.Positions))
	}
	return x
}

// layer implements layered.
func (m *decoder) layer(p *Pass, b *Batch, c *Cache, i int, x *Value) *Value {
	block := m.blocks[i]
	if p.recording && p.recompute {
		return p.block(x, func(x *Value) *Value { return block.forward(p, b, c, x) })
	}
	return block.forward(p, b, c, x)
}

// sliding is a block whose attention may look back on a window alone.
type sliding interface {
	window() int // 0: it sees all
}

func (a *selfAttention) window() int { return a.attention.Window }

// widest is Config.Window of these blocks.
func widest(blocks []block) (most int) {
	for _, b := range blocks {
		s, ok := b.(sliding)
		if !ok || s.window() == 0 {
			return 0
		}
		most = max(most, s.window())
	}
	return most
}

// finish ends the building of a model.
func (m *decoder) finish(s *Source) (Model, error) {
	s.heads(&m.config, nil, true)
	m.sites = s.sites
	m.config.Window = widest(m.blocks)
	return m, s.err()
}

func (m *decoder) Head(p *Pass, b *Batch, from int, h *Value) *Value {
	return m.head.Forward(p, headSegments(p, b, from, h.Rows()), h)
}

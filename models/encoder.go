package models

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// encoder is a model whose rows see the whole of their text: embeddings with a
// norm, blocks one after the other, and a pooler. It keeps no keys and values
// between passes: a text is computed at once.
type encoder struct {
	config Config
	sites  Sites
	bare   Sites // under the names of the class without a head

	words     *Embedding
	positions *Embedding // nil: attention knows them
	types     *Embedding // of tokens; nil: none
	padding   int32      // see places; -1: positions are counted from 0
	norm      *Norm
	project   *Linear // from the embeddings' size to the blocks'; nil: they are equal
	blocks    []encoderBlock
	final     *Norm   // of what the last block returns; nil: it has its own
	pooler    *Linear // nil: none
}

// encoderBlock is one layer of an encoder. It frees x, and the last one returns the
// rows that are wanted.
type encoderBlock interface {
	forward(p *Pass, b *Batch, x *Value) *Value
}

func (m *encoder) Config() *Config { return &m.config }
func (m *encoder) Sites() Sites    { return m.sites }

// Forward implements Model. The cache is not used.
func (m *encoder) Forward(p *Pass, b *Batch, _ *Cache) *Value {
	x := b.forward(p, m, nil, len(m.blocks))
	if m.final != nil {
		x = m.final.replace(p, b.outSegments(p), x)
		b.tellApart()
	}
	return x
}

// layer implements layered.
func (m *encoder) layer(p *Pass, b *Batch, _ *Cache, i int, x *Value) *Value {
	block := m.blocks[i]
	if p.recording && p.recompute {
		return p.block(x, func(x *Value) *Value { return block.forward(p, b, x) })
	}
	return block.forward(p, b, x)
}

// Head implements Model: what the pooler makes of hidden states, which are to be
// those of first tokens.
func (m *encoder) Head(p *Pass, b *Batch, from int, h *Value) *Value {
	return pooled(p, m.pooler, b, from, h)
}

// enter implements layered: the embeddings.
func (m *encoder) enter(p *Pass, b *Batch) *Value {
	x := m.words.Forward(p, b, b.Tokens)
	if m.types != nil {
		x = sum(p, x, m.types.Forward(p, b, p.types(b)))
	}
	if m.positions != nil {
		x = sum(p, x, m.positions.Forward(p, b, m.places(p, b)))
	}
	x = m.norm.replace(p, b.Segments, x)
	if m.project == nil {
		return x
	}
	y := m.project.Forward(p, b.Segments, x)
	p.Free(x)
	return y
}

// places are the rows of the position embedding. Where there is a padding token,
// they are counted from the one after its number, and tokens that are it are
// passed over and have its number: transformers'
// create_position_ids_from_input_ids. Behind virtual tokens, which are embeddings
// alone, none is known to be padding: create_position_ids_from_inputs_embeds.
func (m *encoder) places(p *Pass, b *Batch) []int32 {
	if m.padding < 0 {
		return b.Positions
	}
	places := p.integers(b.Rows())
	for _, s := range b.Spans {
		next := m.padding + int32(s.Position)
		virtual := b.Tokens[s.Start] < 0
		for r := s.Start; r < s.End; r++ {
			if !virtual && b.Tokens[r] == m.padding {
				places[r] = m.padding
				continue
			}
			next++
			places[r] = next
		}
	}
	return places
}

// types are the token types of a batch, 0 where it names none.
func (p *Pass) types(b *Batch) []int32 {
	if len(b.Types) > 0 {
		return b.Types
	}
	if n := b.Rows(); n > len(p.zeros) {
		p.zeros = make([]int32, n)
	}
	return p.zeros[:b.Rows()]
}

// integers returns n integers with arbitrary contents that hold until the next
// call or, while the pass records, as long as the tape.
func (p *Pass) integers(n int) []int32 {
	if p.recording {
		return make([]int32, n)
	}
	p.scratch = slices.Grow(p.scratch[:0], n)[:n]
	return p.scratch
}

// postNorm is a block with a norm after each residual sum (Vaswani et al., 2017):
// self-attention in which every row sees its whole text, and an MLP.
type postNorm struct {
	config                     *Config
	layer                      int
	q, k, v, o                 *Linear
	up, down                   *Linear
	act                        kernels.Activation
	norm1, norm2               *Norm
	attention                  kernels.Attention
	relative                   *disentangled // in the place of attention; nil: none
	attentionInsert, mlpInsert int           // sublayer sites
	last                       bool
}

// forward returns the block's rows, of the last one those that are wanted. It
// frees x.
func (l *postNorm) forward(p *Pass, b *Batch, x *Value) *Value {
	h := l.mix(p, b, x)
	segments := b.Segments
	if l.last {
		x, h, segments = gather(p, x, b.Out), gather(p, h, b.Out), b.outSegments(p)
	}
	y := l.o.Forward(p, segments, h)
	p.Free(h)
	x = l.norm1.replace(p, segments, residual(p, l.attentionInsert, segments, x, y))
	return l.norm2.replace(p, segments, residual(p, l.mlpInsert, segments, x, l.mlp(p, segments, x)))
}

// mix returns the attention of x's rows.
func (l *postNorm) mix(p *Pass, b *Batch, x *Value) *Value {
	projected := forwardAll(p, b.Segments, x, l.q, l.k, l.v)
	q, k, v := projected[0], projected[1], projected[2]
	var out *Value
	if l.relative != nil {
		out = l.relative.attend(p, b, q, k, v)
	} else {
		out = attend(p, b, nil, l.config, l.layer, l.attention, all(q), all(k), all(v))
	}
	p.Free(q, k, v)
	return out
}

// mlp returns what the MLP makes of x, which it leaves.
func (l *postNorm) mlp(p *Pass, segments []Segment, x *Value) *Value {
	h := activated(p, l.act, l.up.Forward(p, segments, x))
	y := l.down.Forward(p, segments, h)
	p.Free(h)
	return y
}

// finish ends the building of a model.
func (m *encoder) finish(s *Source) (Model, error) {
	s.heads(&m.config, m.pooler, false)
	m.sites, m.config.Pooler = s.sites, m.pooler != nil
	m.bare = slices.Clone(m.sites[:m.config.trunk])
	for i := range m.bare {
		if name, ok := s.Architecture.Without(m.bare[i].Name); ok {
			m.bare[i].Name = name
		}
	}
	if m.types != nil {
		m.config.TokenTypes = m.types.W.Rows
	}
	return m, s.err()
}

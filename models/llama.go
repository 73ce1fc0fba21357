package models

import (
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
)

// The Llama family: Llama 2 and 3, SmolLM2, TinyLlama, Mistral, Qwen2 and
// Qwen3. Pre-norm blocks of grouped-query attention with rotary positions and
// a gated MLP; what sets the members apart is read from their configuration
// and their tensors.

func init() {
	for class, modelType := range map[string]string{
		llamaClass: "llama", mistralClass: "mistral", qwen2Class: "qwen2", qwen3Class: "qwen3",
	} {
		a := architecture{modelType: modelType, config: llamaConfig{}, build: newLlama, check: func(s *Source) error {
			_, err := readLlama(s)
			return err
		}}
		switch class {
		case mistralClass:
			a.window = writeMistralWindow
		case qwen2Class, qwen3Class:
			a.window = writeQwenWindow
		}
		register(class, a)
	}
}

const (
	llamaClass   = "LlamaForCausalLM"
	mistralClass = "MistralForCausalLM"
	qwen2Class   = "Qwen2ForCausalLM"
	qwen3Class   = "Qwen3ForCausalLM"
)

// llamaConfig is config.json as transformers writes it.
type llamaConfig struct {
	VocabSize             int         `json:"vocab_size"`
	HiddenSize            int         `json:"hidden_size"`
	IntermediateSize      int         `json:"intermediate_size"`
	NumHiddenLayers       int         `json:"num_hidden_layers"`
	NumAttentionHeads     int         `json:"num_attention_heads"`
	NumKeyValueHeads      int         `json:"num_key_value_heads" null:"unset"`
	HeadDim               int         `json:"head_dim" null:"unset"`
	HiddenAct             string      `json:"hidden_act"`
	MaxPositionEmbeddings int         `json:"max_position_embeddings"`
	RMSNormEps            float32     `json:"rms_norm_eps"`
	TieWordEmbeddings     bool        `json:"tie_word_embeddings" null:"unset"`
	RopeTheta             float64     `json:"rope_theta"`
	RopeScaling           *ropeConfig `json:"rope_scaling"`
	RopeParameters        *ropeConfig `json:"rope_parameters"` // transformers 5
	PartialRotaryFactor   *float64    `json:"partial_rotary_factor"`
	AttentionBias         *bool       `json:"attention_bias"`
	MLPBias               bool        `json:"mlp_bias" null:"unset"`
	SlidingWindow         *int        `json:"sliding_window"`
	UseSlidingWindow      *bool       `json:"use_sliding_window"`
	MaxWindowLayers       *int        `json:"max_window_layers"`
	LayerTypes            []string    `json:"layer_types"`
}

type llama struct {
	config Config
	sites  Sites

	embed  *Embedding
	layers []*llamaLayer
	norm   *Norm
	head   *Linear
}

type llamaLayer struct {
	attention *llamaAttention
	mlp       *llamaMLP

	inputNorm, postNorm        *Norm
	attentionInsert, mlpInsert int // sublayer sites
	last                       bool
}

type llamaAttention struct {
	config       *Config
	layer        int
	q, k, v, o   *Linear
	qNorm, kNorm *Norm // Qwen3; nil elsewhere
	rope         *kernels.Rope
	attention    kernels.Attention
}

type llamaMLP struct {
	gate, up, down *Linear
	act            kernels.Activation
}

func (m *llama) Config() *Config { return &m.config }
func (m *llama) Sites() Sites    { return m.sites }

func (m *llama) Forward(p *Pass, b *Batch, c *Cache) *Value {
	x := m.embed.Forward(p, b, b.Tokens)
	for _, layer := range m.layers {
		if p.recording && p.recompute {
			x = p.block(x, func(x *Value) *Value { return layer.forward(p, b, c, x) })
			continue
		}
		x = layer.forward(p, b, c, x)
	}
	h := m.norm.Forward(p, b.outSegments(p), x)
	p.Free(x)
	return h
}

func (m *llama) Head(p *Pass, b *Batch, from int, h *Value) *Value {
	return m.head.Forward(p, headSegments(p, b, from, h.Rows()), h)
}

func (l *llamaLayer) forward(p *Pass, b *Batch, c *Cache, x *Value) *Value {
	h := l.inputNorm.Forward(p, b.Segments, x)
	h = l.attention.mix(p, b, c, h)
	segments := b.Segments
	if l.last { // only the rows wanted go on
		x, h, segments = gather(p, x, b.Out), gather(p, h, b.Out), b.outSegments(p)
	}
	h = l.attention.project(p, segments, h)
	x = residual(p, l.attentionInsert, segments, x, h)

	h = l.postNorm.Forward(p, segments, x)
	h = l.mlp.forward(p, segments, h)
	return residual(p, l.mlpInsert, segments, x, h)
}

// mix returns the attention of x's rows, and project what the block adds.
func (a *llamaAttention) mix(p *Pass, b *Batch, c *Cache, x *Value) *Value {
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

func (a *llamaAttention) project(p *Pass, segments []Segment, x *Value) *Value {
	y := a.o.Forward(p, segments, x)
	p.Free(x)
	return y
}

func (f *llamaMLP) forward(p *Pass, segments []Segment, x *Value) *Value {
	projected := forwardAll(p, segments, x, f.gate, f.up)
	p.Free(x)
	h := gated(p, f.act, projected[0], projected[1])
	y := f.down.Forward(p, segments, h)
	p.Free(h)
	return y
}

func newLlama(s *Source, o Options) (Model, error) {
	c, err := readLlama(s)
	if err != nil {
		return nil, err
	}
	m := &llama{config: Config{
		Architecture: s.Architecture, Vocabulary: c.VocabSize, Hidden: c.HiddenSize, Intermediate: c.IntermediateSize,
		Layers: c.NumHiddenLayers, Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		Context: o.context(c.MaxPositionEmbeddings), Tied: c.TieWordEmbeddings,
	}}
	l := llamaBuilder{c, &m.config, s.newRope(c.HeadDim, c.RopeTheta, c.RopeScaling, c.MaxPositionEmbeddings, m.config.Context)}
	b := s.build(-1)
	m.embed = b.embedding("model.embed_tokens", c.VocabSize, c.HiddenSize)
	for i := range c.NumHiddenLayers {
		m.layers = append(m.layers, l.layer(s.build(i)))
	}
	m.norm = b.rms("model.norm", c.HiddenSize, c.RMSNormEps)
	m.head = b.head("lm_head", m.embed, c.TieWordEmbeddings)
	m.sites = s.sites
	return m, s.err()
}

// llamaBuilder is what the layers have in common.
type llamaBuilder struct {
	*llamaConfig
	config *Config
	rope   *kernels.Rope
}

func (c llamaBuilder) layer(b *layerBuilder) *llamaLayer {
	i := b.layer
	name := fmt.Sprintf("model.layers.%d.", i)
	heads, kvHeads := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	qkv, o, mlp := c.biases(b.s)
	act, _ := kernels.ActivationByName(c.HiddenAct)
	l := &llamaLayer{
		inputNorm: b.rms(name+"input_layernorm", c.HiddenSize, c.RMSNormEps),
		attention: &llamaAttention{
			config: c.config, layer: i,
			q:    b.linear(name+"self_attn.q_proj", heads, c.HiddenSize, qkv),
			k:    b.linear(name+"self_attn.k_proj", kvHeads, c.HiddenSize, qkv),
			v:    b.linear(name+"self_attn.v_proj", kvHeads, c.HiddenSize, qkv),
			o:    b.linear(name+"self_attn.o_proj", c.HiddenSize, heads, o),
			rope: c.rope,
			attention: kernels.Attention{
				Heads: c.NumAttentionHeads, Scale: invSqrt(c.HeadDim), Causal: true, Window: c.window(b.s.Architecture, i),
			},
		},
		attentionInsert: b.sublayer(name + "self_attn"),
		postNorm:        b.rms(name+"post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
		mlp: &llamaMLP{
			gate: b.linear(name+"mlp.gate_proj", c.IntermediateSize, c.HiddenSize, mlp),
			up:   b.linear(name+"mlp.up_proj", c.IntermediateSize, c.HiddenSize, mlp),
			down: b.linear(name+"mlp.down_proj", c.HiddenSize, c.IntermediateSize, mlp),
			act:  act,
		},
		mlpInsert: b.sublayer(name + "mlp"),
		last:      i == c.NumHiddenLayers-1,
	}
	if b.s.Architecture == qwen3Class {
		l.attention.qNorm = b.rms(name+"self_attn.q_norm", c.HeadDim, c.RMSNormEps)
		l.attention.kNorm = b.rms(name+"self_attn.k_norm", c.HeadDim, c.RMSNormEps)
	}
	return l
}

package models

import (
	"regexp"

	"github.com/peft-serve/peft-serve/kernels"
)

// NomicBERT (Nussbaum et al., 2024): BERT's post-norm blocks with rotary positions, a
// gated MLP, and no biases but those of norms. Modules are called as in its files.

func init() {
	register(&Architecture{
		Class: "NomicBertModel", ModelType: "nomic_bert", Tasks: []Task{Encode},
		config: nomicBERTConfig{}, build: newNomicBERT,
		check:  func(s *Source) error { _, err := readNomicBERT(s); return err },
		prefix: "nomic_bert.", blocks: "nomic_bert.encoder.layers.", gguf: ggufOfNomicBERT,
		headless: regexp.MustCompile(`^(nomic_bert\.)?pooler\.`),
		inert:    map[string]inert{"tie_word_embeddings": {why: ofTask}},
	})
}

// nomicBERTConfig is config.json as transformers 5 writes it.
type nomicBERTConfig struct {
	Vocab        int         `json:"vocab_size"`
	Hidden       int         `json:"hidden_size"`
	Intermediate int         `json:"intermediate_size"`
	Layers       int         `json:"num_hidden_layers"`
	Heads        int         `json:"num_attention_heads"`
	HeadDim      *int        `json:"head_dim"`
	Positions    int         `json:"max_position_embeddings"`
	Types        int         `json:"type_vocab_size"`
	Activation   string      `json:"hidden_act"`
	Epsilon      float32     `json:"layer_norm_eps"`
	Theta        float64     `json:"rope_theta"`
	Rope         *ropeConfig `json:"rope_parameters"`
}

// readNomicBERT reads and checks the configuration.
func readNomicBERT(s *Source) (*nomicBERTConfig, error) {
	c := &nomicBERTConfig{
		Vocab: 30528, Hidden: 768, Intermediate: 3072, Layers: 12, Heads: 12, Positions: 2048, Types: 2, Activation: "silu", Epsilon: 1e-12, Theta: 1000,
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if err := s.positive("vocab_size", c.Vocab, "hidden_size", c.Hidden, "intermediate_size", c.Intermediate, "num_hidden_layers", c.Layers,
		"num_attention_heads", c.Heads, "max_position_embeddings", c.Positions, "type_vocab_size", c.Types); err != nil {
		return nil, err
	}
	switch _, known := kernels.ActivationByName(c.Activation); {
	case c.Hidden%c.Heads != 0:
		return nil, s.wrong("hidden_size %d is no multiple of num_attention_heads %d", c.Hidden, c.Heads)
	case c.HeadDim != nil && *c.HeadDim != c.Hidden/c.Heads:
		return nil, s.wrong("head_dim is %d, and hidden_size by num_attention_heads %d: another is not implemented", *c.HeadDim, c.Hidden/c.Heads)
	case !(c.Epsilon >= 0):
		return nil, s.wrong("layer_norm_eps is %g", c.Epsilon)
	case !known:
		return nil, s.wrong("hidden_act %q is not implemented", c.Activation)
	case c.Rope.kind() != "default":
		return nil, s.wrong("rope_parameters of type %q is not implemented for this architecture", c.Rope.kind())
	}
	_, err := s.readRope(nil, c.Rope, &c.Theta, nil, c.Hidden/c.Heads, c.Positions)
	return c, err
}

// nomicBERTLayer is a block whose norms come after the residual sums.
type nomicBERTLayer struct {
	attention                  *selfAttention
	mlp                        *gatedMLP
	norm1, norm2               *Norm
	attentionInsert, mlpInsert int // sublayer sites
	last                       bool
}

func (l *nomicBERTLayer) forward(p *Pass, b *Batch, x *Value) *Value {
	h := l.attention.mix(p, b, nil, p.Keep(x))
	segments := b.Segments
	if l.last { // only the rows wanted go on
		x, h, segments = gather(p, x, b.Out), gather(p, h, b.Out), b.outSegments(p)
	}
	x = l.norm1.replace(p, segments, residual(p, l.attentionInsert, segments, x, l.attention.project(p, segments, h)))
	h = l.mlp.forward(p, segments, p.Keep(x))
	return l.norm2.replace(p, segments, residual(p, l.mlpInsert, segments, x, h))
}

func newNomicBERT(s *Source, o Options) (Model, error) {
	c, err := readNomicBERT(s)
	if err != nil {
		return nil, err
	}
	m := &encoder{padding: -1, config: Config{
		Architecture: s.Architecture, Vocabulary: c.Vocab, Hidden: c.Hidden, Intermediate: c.Intermediate,
		Layers: c.Layers, Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.Hidden / c.Heads, Context: o.context(c.Positions),
	}}
	b := s.build(-1)
	m.words = b.embedding("nomic_bert.embeddings.word_embeddings", c.Vocab, c.Hidden)
	m.types = b.embedding("nomic_bert.embeddings.token_type_embeddings", c.Types, c.Hidden)
	m.norm = b.layerNorm("nomic_bert.emb_ln", c.Hidden, c.Epsilon)
	rope := s.newRope(m.config.HeadDim, c.Theta, nil, c.Positions, m.config.Context)
	for i := range c.Layers {
		l := c.layer(s.build(i), &m.config)
		l.attention.rope = rope
		m.blocks = append(m.blocks, l)
	}
	return m.finish(s)
}

func (c *nomicBERTConfig) layer(b *layerBuilder, config *Config) *nomicBERTLayer {
	act, _ := kernels.ActivationByName(c.Activation)
	l := &nomicBERTLayer{last: b.layer == c.Layers-1}
	l.attention = &selfAttention{
		config: config, layer: b.layer,
		qkv:       b.linear("attn.Wqkv", 3*c.Hidden, c.Hidden, without),
		o:         b.linear("attn.out_proj", c.Hidden, c.Hidden, without),
		attention: kernels.Attention{Heads: c.Heads, Scale: invSqrt(config.HeadDim)},
	}
	l.norm1 = b.layerNorm("norm1", c.Hidden, c.Epsilon)
	l.attentionInsert = b.sublayerBefore("attn", l.norm1)
	l.mlp = &gatedMLP{
		gate: b.linear("mlp.fc12", c.Intermediate, c.Hidden, without),
		up:   b.linear("mlp.fc11", c.Intermediate, c.Hidden, without),
		down: b.linear("mlp.fc2", c.Hidden, c.Intermediate, without),
		act:  act,
	}
	l.norm2 = b.layerNorm("norm2", c.Hidden, c.Epsilon)
	l.mlpInsert = b.sublayerBefore("mlp", l.norm2)
	return l
}

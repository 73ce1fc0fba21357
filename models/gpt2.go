package models

import (
	"regexp"

	"github.com/peft-serve/peft-serve/kernels"
)

// GPT-2 (Radford et al., 2019): pre-norm blocks with LayerNorm, learned
// positions, one projection for query, key and value, biases everywhere.

func init() {
	register(&Architecture{
		Class: "GPT2LMHeadModel", ModelType: "gpt2", Tasks: []Task{Generate, Encode, Classify, Tag},
		Targets:     map[string][]string{"LORA": {"c_attn"}, "ADALORA": {"c_attn"}, "IA3": {"c_attn", "mlp.c_proj"}, "LN_TUNING": {"ln_1", "ln_2", "ln_f"}},
		Feedforward: []string{"mlp.c_proj"},
		idleEnd:     50256,
		heads: map[Task]headForm{
			Classify: {class: "GPT2ForSequenceClassification", out: "score"}, Tag: {class: "GPT2ForTokenClassification", out: "classifier", bias: with},
		},
		config: gpt2Config{}, build: newGPT2,
		check:  func(s *Source) error { _, err := readGPT2(s); return err },
		prefix: "transformer.", blocks: "transformer.h.",
		conv1D: []string{"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"},
		strays: []*regexp.Regexp{regexp.MustCompile(`^(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)$`)}, // the causal mask
		gguf: &ggufForm{
			name: "gpt2", class: "GPT2LMHeadModel", read: readGPT2Metadata,
			outside: map[string]string{"transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm", "lm_head": "output"},
			inside: map[string]string{
				"ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
				"mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
			},
		},
	})
}

// gpt2Config is config.json as transformers writes it.
type gpt2Config struct {
	VocabSize         int     `json:"vocab_size"`
	NEmbd             int     `json:"n_embd"`
	NInner            int     `json:"n_inner" null:"unset"`
	NLayer            int     `json:"n_layer"`
	NHead             int     `json:"n_head"`
	NPositions        int     `json:"n_positions"`
	Activation        string  `json:"activation_function"`
	Epsilon           float32 `json:"layer_norm_epsilon"`
	TieWordEmbeddings bool    `json:"tie_word_embeddings"`
	ScaleWeights      bool    `json:"scale_attn_weights"`
	ScaleByLayer      bool    `json:"scale_attn_by_inverse_layer_idx" null:"unset"`
}

type gpt2Layer struct {
	config                     *Config
	layer                      int
	norm1, norm2               *Norm
	qkv, proj                  *Linear
	up, down                   *Linear
	act                        kernels.Activation
	attention                  kernels.Attention
	attentionInsert, mlpInsert int // sublayer sites
	last                       bool
}

func (l *gpt2Layer) forward(p *Pass, b *Batch, c *Cache, x *Value) *Value {
	h := l.norm1.Forward(p, b.Segments, x)
	h = l.mix(p, b, c, h)
	segments := b.Segments
	if l.last { // only the rows wanted go on
		x, h, segments = gather(p, x, b.Out), gather(p, h, b.Out), b.outSegments(p)
	}
	h = l.project(p, segments, h)
	x = residual(p, l.attentionInsert, segments, x, h)

	h = l.norm2.Forward(p, segments, x)
	h = l.mlp(p, segments, h)
	return residual(p, l.mlpInsert, segments, x, h)
}

// mix returns the attention of x's rows, and project what the block adds.
func (l *gpt2Layer) mix(p *Pass, b *Batch, c *Cache, x *Value) *Value {
	qkv := l.qkv.Forward(p, b.Segments, x)
	p.Free(x)
	n := qkv.Data.Cols / 3
	out := attend(p, b, c, l.config, l.layer, l.attention, columns{qkv, 0, n}, columns{qkv, n, 2 * n}, columns{qkv, 2 * n, 3 * n})
	p.Free(qkv)
	return out
}

func (l *gpt2Layer) project(p *Pass, segments []Segment, x *Value) *Value {
	y := l.proj.Forward(p, segments, x)
	p.Free(x)
	return y
}

func (l *gpt2Layer) mlp(p *Pass, segments []Segment, x *Value) *Value {
	up := l.up.Forward(p, segments, x)
	p.Free(x)
	h := activated(p, l.act, up)
	y := l.down.Forward(p, segments, h)
	p.Free(h)
	return y
}

// readGPT2 reads and checks the configuration.
func readGPT2(s *Source) (*gpt2Config, error) {
	c := &gpt2Config{Activation: "gelu_new", Epsilon: 1e-5, TieWordEmbeddings: true, ScaleWeights: true}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if c.NInner == 0 {
		c.NInner = 4 * c.NEmbd
	}
	if err := s.positive("vocab_size", c.VocabSize, "n_embd", c.NEmbd, "n_inner", c.NInner, "n_layer", c.NLayer,
		"n_head", c.NHead, "n_positions", c.NPositions); err != nil {
		return nil, err
	}
	if c.NEmbd%c.NHead != 0 {
		return nil, s.wrong("n_embd %d is no multiple of n_head %d", c.NEmbd, c.NHead)
	}
	if !(c.Epsilon >= 0) {
		return nil, s.wrong("layer_norm_epsilon is %g", c.Epsilon)
	}
	if _, ok := kernels.ActivationByName(c.Activation); !ok {
		return nil, s.wrong("activation_function %q is not implemented", c.Activation)
	}
	return c, nil
}

// readGPT2Metadata reads the metadata of a GGUF file.
func readGPT2Metadata(k *ggufKeys) map[string]any {
	c := map[string]any{"activation_function": "gelu_new"}
	k.int(c, "n_embd", "embedding_length")
	k.int(c, "n_inner", "feed_forward_length")
	k.int(c, "n_layer", "block_count")
	k.int(c, "n_head", "attention.head_count")
	k.int(c, "n_positions", "context_length")
	k.float(c, "layer_norm_epsilon", "attention.layer_norm_epsilon")
	if n, ok := k.number("attention.head_count_kv"); ok && int(n) != c["n_head"] {
		k.s.fault("metadata: gpt2.attention.head_count_kv is %g of %v heads, which is not implemented", n, c["n_head"])
	}
	return c
}

func newGPT2(s *Source, o Options) (Model, error) {
	c, err := readGPT2(s)
	if err != nil {
		return nil, err
	}
	act, _ := kernels.ActivationByName(c.Activation)
	m := &decoder{config: Config{
		Architecture: s.Architecture, Vocabulary: c.VocabSize, Hidden: c.NEmbd, Intermediate: c.NInner,
		Layers: c.NLayer, Heads: c.NHead, KVHeads: c.NHead, HeadDim: c.NEmbd / c.NHead,
		Context: o.context(c.NPositions), Tied: c.TieWordEmbeddings,
	}}
	b := s.build(-1)
	m.embed = b.embedding("transformer.wte", c.VocabSize, c.NEmbd)
	m.positions = b.embedding("transformer.wpe", c.NPositions, c.NEmbd)
	for i := range c.NLayer {
		m.blocks = append(m.blocks, newGPT2Layer(s.build(i), &m.config, c, act))
	}
	m.norm = b.layerNorm("transformer.ln_f", c.NEmbd, c.Epsilon)
	m.head = b.head(m.embed, c.TieWordEmbeddings)
	return m.finish(s)
}

func newGPT2Layer(b *layerBuilder, config *Config, c *gpt2Config, act kernels.Activation) *gpt2Layer {
	i := b.layer
	scale := float32(1)
	if c.ScaleWeights {
		scale = invSqrt(c.NEmbd / c.NHead)
	}
	if c.ScaleByLayer {
		scale /= float32(i + 1)
	}
	return &gpt2Layer{
		config: config, layer: i,
		norm1:           b.layerNorm("ln_1", c.NEmbd, c.Epsilon),
		qkv:             b.linear("attn.c_attn", 3*c.NEmbd, c.NEmbd, with),
		proj:            b.linear("attn.c_proj", c.NEmbd, c.NEmbd, with),
		attention:       kernels.Attention{Heads: c.NHead, Scale: scale, Causal: true},
		attentionInsert: b.sublayer("attn"),
		norm2:           b.layerNorm("ln_2", c.NEmbd, c.Epsilon),
		up:              b.linear("mlp.c_fc", c.NInner, c.NEmbd, with),
		down:            b.linear("mlp.c_proj", c.NEmbd, c.NInner, with),
		act:             act,
		mlpInsert:       b.sublayer("mlp"),
		last:            i == c.NLayer-1,
	}
}

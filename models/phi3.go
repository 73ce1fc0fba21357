package models

import (
	"encoding/json"
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
)

// Phi-3 and Phi-4 (Abdin et al., 2024): Llama's blocks, with one projection for
// query, key and value and one for gate and up.

const phi3Class = "Phi3ForCausalLM"

func init() {
	register(&Architecture{
		Class: phi3Class, ModelType: "phi3", Tasks: []Task{Generate, Encode, Classify, Tag}, // of which PEFT has no default targets
		heads:  decoderHeads("Phi3"),
		config: phi3Config{}, build: newPhi3,
		check: func(s *Source) error { _, err := readPhi3(s); return err },
		window: func(values map[string]json.RawMessage, n int) {
			values["sliding_window"] = json.RawMessage("null")
			if n > 0 {
				values["sliding_window"] = fmt.Appendf(nil, "%d", n)
			}
		},
		prefix: "model.", blocks: "model.layers.", strays: rotaryStrays,
		gguf: &ggufForm{
			name: "phi3", class: phi3Class, read: readPhi3Metadata,
			outside: map[string]string{"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"},
			inside: map[string]string{
				"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.qkv_proj": "attn_qkv",
				"self_attn.o_proj": "attn_output", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
			},
		},
	})
}

// phi3Config is config.json as transformers writes it.
type phi3Config struct {
	VocabSize             int         `json:"vocab_size"`
	HiddenSize            int         `json:"hidden_size"`
	IntermediateSize      int         `json:"intermediate_size"`
	NumHiddenLayers       int         `json:"num_hidden_layers"`
	NumAttentionHeads     int         `json:"num_attention_heads"`
	NumKeyValueHeads      int         `json:"num_key_value_heads" null:"unset"`
	HeadDim               int         `json:"head_dim" null:"unset"`
	HiddenAct             string      `json:"hidden_act"`
	MaxPositionEmbeddings int         `json:"max_position_embeddings"`
	Original              int         `json:"original_max_position_embeddings"` // of a scaling
	RMSNormEps            float32     `json:"rms_norm_eps"`
	TieWordEmbeddings     bool        `json:"tie_word_embeddings"`
	RopeTheta             float64     `json:"rope_theta"`
	RopeScaling           *ropeConfig `json:"rope_scaling"`
	RopeParameters        *ropeConfig `json:"rope_parameters"` // transformers 5
	PartialRotaryFactor   *float64    `json:"partial_rotary_factor"`
	AttentionBias         bool        `json:"attention_bias"`
	SlidingWindow         *int        `json:"sliding_window"`
}

// readPhi3 reads and checks the configuration. What is absent has transformers'
// default.
func readPhi3(s *Source) (*phi3Config, error) {
	c := &phi3Config{
		VocabSize: 32064, HiddenSize: 3072, IntermediateSize: 8192, NumHiddenLayers: 32, NumAttentionHeads: 32, HiddenAct: "silu",
		MaxPositionEmbeddings: 4096, RMSNormEps: 1e-5, RopeTheta: 10000,
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if c.NumKeyValueHeads == 0 {
		c.NumKeyValueHeads = c.NumAttentionHeads
	}
	if c.HeadDim == 0 && c.NumAttentionHeads > 0 {
		c.HeadDim = c.HiddenSize / c.NumAttentionHeads
	}
	if err := s.positive("vocab_size", c.VocabSize, "hidden_size", c.HiddenSize, "intermediate_size", c.IntermediateSize,
		"num_hidden_layers", c.NumHiddenLayers, "num_attention_heads", c.NumAttentionHeads,
		"num_key_value_heads", c.NumKeyValueHeads, "head_dim", c.HeadDim, "max_position_embeddings", c.MaxPositionEmbeddings); err != nil {
		return nil, err
	}
	_, known := kernels.ActivationByName(c.HiddenAct)
	switch {
	case c.NumAttentionHeads%c.NumKeyValueHeads != 0:
		return nil, s.wrong("num_attention_heads %d is no multiple of num_key_value_heads %d", c.NumAttentionHeads, c.NumKeyValueHeads)
	case !(c.RMSNormEps >= 0):
		return nil, s.wrong("rms_norm_eps is %g", c.RMSNormEps)
	case !known:
		return nil, s.wrong("hidden_act %q is not implemented", c.HiddenAct)
	case c.AttentionBias:
		return nil, s.wrong("attention_bias is true, and a Phi-3 has no biases")
	case c.SlidingWindow != nil && *c.SlidingWindow <= 0:
		return nil, s.wrong("sliding_window is %d", *c.SlidingWindow)
	}
	var err error
	c.RopeScaling, err = s.readRope(c.RopeScaling, c.RopeParameters, &c.RopeTheta, c.PartialRotaryFactor, c.HeadDim, c.MaxPositionEmbeddings)
	if kind := c.RopeScaling.kind(); err == nil && kind != "default" { // transformers knows longrope alone
		return nil, s.wrong("rope_type %q is not implemented", kind)
	}
	return c, err
}

// readPhi3Metadata reads the metadata of a GGUF file.
func readPhi3Metadata(k *ggufKeys) map[string]any {
	c := k.decoder()
	c["hidden_act"] = "silu"
	if n, ok := k.number("attention.sliding_window"); ok && n > 0 {
		c["sliding_window"] = int(n)
	}
	return c
}

func newPhi3(s *Source, o Options) (Model, error) {
	c, err := readPhi3(s)
	if err != nil {
		return nil, err
	}
	m := &decoder{config: Config{
		Architecture: s.Architecture, Vocabulary: c.VocabSize, Hidden: c.HiddenSize, Intermediate: c.IntermediateSize,
		Layers: c.NumHiddenLayers, Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		Context: o.context(c.MaxPositionEmbeddings), Tied: c.TieWordEmbeddings,
	}}
	rope := s.newRope(c.HeadDim, c.RopeTheta, c.RopeScaling, c.MaxPositionEmbeddings, m.config.Context)
	b := s.build(-1)
	m.embed = b.embedding("model.embed_tokens", c.VocabSize, c.HiddenSize)
	for i := range c.NumHiddenLayers {
		m.blocks = append(m.blocks, newPhi3Layer(s.build(i), c, &m.config, rope))
	}
	m.norm = b.rms("model.norm", c.HiddenSize, c.RMSNormEps)
	m.head = b.head(m.embed, c.TieWordEmbeddings)
	return m.finish(s)
}

func newPhi3Layer(b *layerBuilder, c *phi3Config, config *Config, rope *kernels.Rope) *llamaLayer {
	heads, kvHeads := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	act, _ := kernels.ActivationByName(c.HiddenAct)
	window := 0
	if c.SlidingWindow != nil {
		window = *c.SlidingWindow
	}
	return &llamaLayer{
		inputNorm: b.rms("input_layernorm", c.HiddenSize, c.RMSNormEps),
		attention: &selfAttention{
			config: config, layer: b.layer,
			qkv:       b.linear("self_attn.qkv_proj", heads+2*kvHeads, c.HiddenSize, without),
			o:         b.linear("self_attn.o_proj", c.HiddenSize, heads, without),
			rope:      rope,
			attention: kernels.Attention{Heads: c.NumAttentionHeads, Scale: invSqrt(c.HeadDim), Causal: true, Window: window},
		},
		attentionInsert: b.sublayer("self_attn"),
		postNorm:        b.rms("post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
		mlp: &gatedMLP{
			gateUp: b.linear("mlp.gate_up_proj", 2*c.IntermediateSize, c.HiddenSize, without),
			down:   b.linear("mlp.down_proj", c.HiddenSize, c.IntermediateSize, without),
			act:    act,
		},
		mlpInsert: b.sublayer("mlp"),
		last:      b.layer == c.NumHiddenLayers-1,
	}
}

package models

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// Qwen3-MoE (Qwen Team, 2025): Qwen3's attention, and in all blocks or some a
// mixture of experts in the place of the MLP.

const qwen3MoeClass = "Qwen3MoeForCausalLM"

func init() {
	inside := maps.Clone(ggufLlamaInside)
	inside["mlp.gate"] = "ffn_gate_inp"
	register(&Architecture{
		Class: qwen3MoeClass, ModelType: "qwen3_moe", Tasks: []Task{Generate, Encode, Classify, Tag}, // of which PEFT has no default targets
		Biases: map[string][]string{"attention_bias": {"q_proj", "k_proj", "v_proj", "o_proj"}},
		heads:  decoderHeads("Qwen3Moe"),
		config: qwen3MoeConfig{}, build: newQwen3Moe,
		check: func(s *Source) error { _, err := readQwen3Moe(s); return err },
		window: func(values map[string]json.RawMessage, n int) {
			writeMistralWindow(values, n)
			values["use_sliding_window"] = fmt.Appendf(nil, "%t", n > 0)
		},
		prefix: "model.", blocks: "model.layers.", strays: rotaryStrays,
		gguf: &ggufForm{
			name: "qwen3moe", class: qwen3MoeClass, read: readQwen3MoeMetadata,
			outside: ggufLlamaOutside, inside: inside,
			experts: map[string]string{
				"mlp.experts.*.gate_proj": "ffn_gate_exps", "mlp.experts.*.up_proj": "ffn_up_exps", "mlp.experts.*.down_proj": "ffn_down_exps",
			},
		},
	})
}

// qwen3MoeConfig is config.json as transformers writes it.
type qwen3MoeConfig struct {
	VocabSize             int         `json:"vocab_size"`
	HiddenSize            int         `json:"hidden_size"`
	IntermediateSize      int         `json:"intermediate_size"` // of the blocks without experts
	NumHiddenLayers       int         `json:"num_hidden_layers"`
	NumAttentionHeads     int         `json:"num_attention_heads"`
	NumKeyValueHeads      int         `json:"num_key_value_heads"`
	HeadDim               int         `json:"head_dim"`
	HiddenAct             string      `json:"hidden_act"`
	MaxPositionEmbeddings int         `json:"max_position_embeddings"`
	RMSNormEps            float32     `json:"rms_norm_eps"`
	TieWordEmbeddings     bool        `json:"tie_word_embeddings"`
	RopeTheta             float64     `json:"rope_theta"`
	RopeScaling           *ropeConfig `json:"rope_scaling"`
	RopeParameters        *ropeConfig `json:"rope_parameters"` // transformers 5
	PartialRotaryFactor   *float64    `json:"partial_rotary_factor"`
	AttentionBias         bool        `json:"attention_bias"`
	UseSlidingWindow      bool        `json:"use_sliding_window"`
	SlidingWindow         *int        `json:"sliding_window"`
	MaxWindowLayers       *int        `json:"max_window_layers"` // of Qwen3; every layer has the window here
	NumExperts            int         `json:"num_experts"`
	NumLocalExperts       *int        `json:"num_local_experts"` // transformers 5
	NumExpertsPerTok      int         `json:"num_experts_per_tok"`
	MoeIntermediateSize   int         `json:"moe_intermediate_size"`
	NormTopkProb          bool        `json:"norm_topk_prob"`
	DecoderSparseStep     int         `json:"decoder_sparse_step"`
	MLPOnlyLayers         []int       `json:"mlp_only_layers"`
}

// sparse reports whether a layer has experts.
func (c *qwen3MoeConfig) sparse(layer int) bool {
	return c.NumExperts > 0 && (layer+1)%c.DecoderSparseStep == 0 && !slices.Contains(c.MLPOnlyLayers, layer)
}

// maxExperts bounds the experts of all layers together: nothing of that size
// exists.
const maxExperts = 1 << 16

// readQwen3Moe reads and checks the configuration. What is absent has
// transformers' default.
func readQwen3Moe(s *Source) (*qwen3MoeConfig, error) {
	c := &qwen3MoeConfig{
		VocabSize: 151936, HiddenSize: 2048, IntermediateSize: 6144, NumHiddenLayers: 24, NumAttentionHeads: 32, NumKeyValueHeads: 4,
		HiddenAct: "silu", MaxPositionEmbeddings: 32768, RMSNormEps: 1e-6, RopeTheta: 10000, SlidingWindow: new(4096),
		NumExperts: 128, NumExpertsPerTok: 8, MoeIntermediateSize: 768, DecoderSparseStep: 1,
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if c.HeadDim == 0 && c.NumAttentionHeads > 0 {
		c.HeadDim = c.HiddenSize / c.NumAttentionHeads
	}
	if err := s.positive("vocab_size", c.VocabSize, "hidden_size", c.HiddenSize, "intermediate_size", c.IntermediateSize,
		"num_hidden_layers", c.NumHiddenLayers, "num_attention_heads", c.NumAttentionHeads, "num_key_value_heads", c.NumKeyValueHeads,
		"head_dim", c.HeadDim, "max_position_embeddings", c.MaxPositionEmbeddings,
		"moe_intermediate_size", c.MoeIntermediateSize, "decoder_sparse_step", c.DecoderSparseStep); err != nil {
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
	case c.UseSlidingWindow && c.SlidingWindow != nil && *c.SlidingWindow <= 0:
		return nil, s.wrong("sliding_window is %d", *c.SlidingWindow)
	case c.UseSlidingWindow && c.MaxWindowLayers != nil && *c.MaxWindowLayers > 0:
		return nil, s.wrong("max_window_layers is %d, and every layer of %s has its window", *c.MaxWindowLayers, s.Architecture)
	}
	if err := c.readExperts(s); err != nil {
		return nil, err
	}
	var err error
	c.RopeScaling, err = s.readRope(c.RopeScaling, c.RopeParameters, &c.RopeTheta, c.PartialRotaryFactor, c.HeadDim, c.MaxPositionEmbeddings)
	return c, err
}

// readExperts settles the number of experts, which transformers 4 and 5 write
// under different names.
func (c *qwen3MoeConfig) readExperts(s *Source) error {
	if n := c.NumLocalExperts; n != nil {
		if s.writes("num_experts") && c.NumExperts != *n {
			return s.wrong("num_experts is %d and num_local_experts %d", c.NumExperts, *n)
		}
		c.NumExperts = *n
	}
	switch {
	case c.NumExperts < 0 || c.NumExperts > maxExperts/c.NumHiddenLayers:
		return s.wrong("num_experts is %d", c.NumExperts)
	case c.NumExperts > 0 && (c.NumExpertsPerTok <= 0 || c.NumExpertsPerTok > c.NumExperts):
		return s.wrong("num_experts_per_tok is %d of %d experts", c.NumExpertsPerTok, c.NumExperts)
	}
	return nil
}

// readQwen3MoeMetadata reads the metadata of a GGUF file, and supplies what
// llama.cpp does without being told (its models/qwen3moe.cpp).
func readQwen3MoeMetadata(k *ggufKeys) map[string]any {
	c := k.llama()
	if c["sliding_window"] != nil {
		c["use_sliding_window"] = true
	}
	for _, key := range [][2]string{
		{"num_experts", "expert_count"}, {"num_experts_per_tok", "expert_used_count"}, {"moe_intermediate_size", "expert_feed_forward_length"},
	} {
		if k.int(c, key[0], key[1]); c[key[0]] == nil {
			k.s.fault("metadata: %s%s is missing", k.prefix, key[1])
		}
	}
	c["norm_topk_prob"] = true
	return c
}

func newQwen3Moe(s *Source, o Options) (Model, error) {
	c, err := readQwen3Moe(s)
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
		m.blocks = append(m.blocks, newQwen3MoeLayer(s.build(i), c, &m.config, rope))
	}
	m.norm = b.rms("model.norm", c.HiddenSize, c.RMSNormEps)
	m.head = b.head(m.embed, c.TieWordEmbeddings)
	return m.finish(s)
}

func newQwen3MoeLayer(b *layerBuilder, c *qwen3MoeConfig, config *Config, rope *kernels.Rope) *llamaLayer {
	heads, kvHeads := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	biases, window := without, 0
	if c.AttentionBias {
		biases = with
		if b.s.GGUF != nil {
			biases = perhaps
		}
	}
	if c.UseSlidingWindow && c.SlidingWindow != nil {
		window = *c.SlidingWindow
	}
	return &llamaLayer{
		inputNorm: b.rms("input_layernorm", c.HiddenSize, c.RMSNormEps),
		attention: &selfAttention{
			config: config, layer: b.layer,
			q:         b.linear("self_attn.q_proj", heads, c.HiddenSize, biases),
			k:         b.linear("self_attn.k_proj", kvHeads, c.HiddenSize, biases),
			v:         b.linear("self_attn.v_proj", kvHeads, c.HiddenSize, biases),
			o:         b.linear("self_attn.o_proj", c.HiddenSize, heads, biases),
			qNorm:     b.rms("self_attn.q_norm", c.HeadDim, c.RMSNormEps),
			kNorm:     b.rms("self_attn.k_norm", c.HeadDim, c.RMSNormEps),
			rope:      rope,
			attention: kernels.Attention{Heads: c.NumAttentionHeads, Scale: invSqrt(c.HeadDim), Causal: true, Window: window},
		},
		attentionInsert: b.sublayer("self_attn"),
		postNorm:        b.rms("post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
		mlp:             newQwen3MoeMLP(b, c),
		mlpInsert:       b.sublayer("mlp"),
		last:            b.layer == c.NumHiddenLayers-1,
	}
}

// newQwen3MoeMLP builds the MLP of a block, or its experts.
func newQwen3MoeMLP(b *layerBuilder, c *qwen3MoeConfig) feedForward {
	act, _ := kernels.ActivationByName(c.HiddenAct)
	if !c.sparse(b.layer) {
		return &gatedMLP{
			gate: b.linear("mlp.gate_proj", c.IntermediateSize, c.HiddenSize, without),
			up:   b.linear("mlp.up_proj", c.IntermediateSize, c.HiddenSize, without),
			down: b.linear("mlp.down_proj", c.HiddenSize, c.IntermediateSize, without),
			act:  act,
		}
	}
	f := &sparseMLP{act: act, each: c.NumExpertsPerTok, normalise: c.NormTopkProb, router: b.linear("mlp.gate", c.NumExperts, c.HiddenSize, without)}
	if fused := b.name("mlp.experts.gate_up_proj"); b.s.GGUF == nil && b.s.Has(fused) {
		b.s.fault("tensor %q holds all experts of a layer, which is not implemented: save the model with save_original_format=True, as transformers does unless it is told otherwise", fused)
		return f
	}
	for e := range c.NumExperts {
		expert := fmt.Sprintf("mlp.experts.%d.", e)
		f.gate = append(f.gate, b.linear(expert+"gate_proj", c.MoeIntermediateSize, c.HiddenSize, without))
		f.up = append(f.up, b.linear(expert+"up_proj", c.MoeIntermediateSize, c.HiddenSize, without))
		f.down = append(f.down, b.linear(expert+"down_proj", c.HiddenSize, c.MoeIntermediateSize, without))
	}
	return f
}

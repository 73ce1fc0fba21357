package models

import (
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
)

// The Llama family: Llama 2 and 3, SmolLM2, TinyLlama, Mistral, Qwen2 and
// Qwen3. Pre-norm blocks of grouped-query attention with rotary positions and
// a gated MLP; what sets the members apart is read from their configuration
// and their tensors.

func init() {
	attention, norms := []string{"q_proj", "k_proj", "v_proj", "o_proj"}, []string{"input_layernorm", "post_attention_layernorm", "norm"}
	for _, a := range []*Architecture{
		{
			Class: llamaClass, ModelType: "llama", Targets: llamaTargets([]string{"k_proj", "v_proj", "down_proj"}, norms, true),
			Biases: map[string][]string{"attention_bias": attention, "mlp_bias": {"gate_proj", "up_proj", "down_proj"}},
			gguf:   ggufOfLlama,
		},
		{
			Class: mistralClass, ModelType: "mistral", Targets: llamaTargets([]string{"k_proj", "v_proj", "down_proj"}, norms, false),
			window: writeMistralWindow, gguf: ggufOfLlama,
		},
		{
			Class: qwen2Class, ModelType: "qwen2", Targets: llamaTargets([]string{"q_proj", "v_proj", "down_proj"}, norms[1:2], true),
			window: writeQwenWindow, gguf: ggufOfQwen("qwen2", qwen2Class),
		},
		{
			Class: qwen3Class, ModelType: "qwen3", Targets: llamaTargets([]string{"q_proj", "v_proj", "down_proj"}, norms[1:2], true),
			Biases: map[string][]string{"attention_bias": attention},
			window: writeQwenWindow, gguf: ggufOfQwen("qwen3", qwen3Class),
		},
	} {
		a.Tasks, a.Feedforward = []Task{Generate, Encode, Classify, Tag}, []string{"down_proj"}
		a.heads = decoderHeads(strings.TrimSuffix(a.Class, "ForCausalLM"))
		a.config, a.build = llamaConfig{}, newLlama
		a.check = func(s *Source) error { _, err := readLlama(s); return err }
		a.prefix, a.blocks, a.strays = "model.", "model.layers.", rotaryStrays
		register(a)
	}
}

const (
	llamaClass   = "LlamaForCausalLM"
	mistralClass = "MistralForCausalLM"
	qwen2Class   = "Qwen2ForCausalLM"
	qwen3Class   = "Qwen3ForCausalLM"
)

// llamaTargets are PEFT's for one member: adaLoRA tells whether AdaLoRA has any.
func llamaTargets(ia3, norms []string, adaLoRA bool) map[string][]string {
	queries := []string{"q_proj", "v_proj"}
	targets := map[string][]string{"LORA": queries, "IA3": ia3, "BEFT": {"v_proj"}, "LN_TUNING": norms}
	if adaLoRA {
		targets["ADALORA"] = queries
	}
	return targets
}

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

type llamaLayer struct {
	attention *selfAttention
	mlp       feedForward

	inputNorm, postNorm        *Norm
	attentionInsert, mlpInsert int // sublayer sites
	last                       bool
}

func (l *llamaLayer) window() int { return l.attention.window() }

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

func newLlama(s *Source, o Options) (Model, error) {
	c, err := readLlama(s)
	if err != nil {
		return nil, err
	}
	m := &decoder{config: Config{
		Architecture: s.Architecture, Vocabulary: c.VocabSize, Hidden: c.HiddenSize, Intermediate: c.IntermediateSize,
		Layers: c.NumHiddenLayers, Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		Context: o.context(c.MaxPositionEmbeddings), Tied: c.TieWordEmbeddings,
	}}
	l := llamaBuilder{c, &m.config, s.newRope(c.HeadDim, c.RopeTheta, c.RopeScaling, c.MaxPositionEmbeddings, m.config.Context)}
	b := s.build(-1)
	m.embed = b.embedding("model.embed_tokens", c.VocabSize, c.HiddenSize)
	for i := range c.NumHiddenLayers {
		m.blocks = append(m.blocks, l.layer(s.build(i)))
	}
	m.norm = b.rms("model.norm", c.HiddenSize, c.RMSNormEps)
	m.head = b.head(m.embed, c.TieWordEmbeddings)
	return m.finish(s)
}

// llamaBuilder is what the layers have in common.
type llamaBuilder struct {
	*llamaConfig
	config *Config
	rope   *kernels.Rope
}

func (c llamaBuilder) layer(b *layerBuilder) *llamaLayer {
	i := b.layer
	heads, kvHeads := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	qkv, o, mlp := c.biases(b.s)
	act, _ := kernels.ActivationByName(c.HiddenAct)
	l := &llamaLayer{
		inputNorm: b.rms("input_layernorm", c.HiddenSize, c.RMSNormEps),
		attention: &selfAttention{
			config: c.config, layer: i,
			q:    b.linear("self_attn.q_proj", heads, c.HiddenSize, qkv),
			k:    b.linear("self_attn.k_proj", kvHeads, c.HiddenSize, qkv),
			v:    b.linear("self_attn.v_proj", kvHeads, c.HiddenSize, qkv),
			o:    b.linear("self_attn.o_proj", c.HiddenSize, heads, o),
			rope: c.rope,
			attention: kernels.Attention{
				Heads: c.NumAttentionHeads, Scale: invSqrt(c.HeadDim), Causal: true, Window: c.window(b.s.Architecture.Class, i),
			},
		},
		attentionInsert: b.sublayer("self_attn"),
		postNorm:        b.rms("post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
		mlp: &gatedMLP{
			gate: b.linear("mlp.gate_proj", c.IntermediateSize, c.HiddenSize, mlp),
			up:   b.linear("mlp.up_proj", c.IntermediateSize, c.HiddenSize, mlp),
			down: b.linear("mlp.down_proj", c.HiddenSize, c.IntermediateSize, mlp),
			act:  act,
		},
		mlpInsert: b.sublayer("mlp"),
		last:      i == c.NumHiddenLayers-1,
	}
	if b.s.Architecture.Class == qwen3Class {
		l.attention.qNorm = b.rms("self_attn.q_norm", c.HeadDim, c.RMSNormEps)
		l.attention.kNorm = b.rms("self_attn.k_norm", c.HeadDim, c.RMSNormEps)
	}
	return l
}

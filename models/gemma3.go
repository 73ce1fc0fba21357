package models

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// Gemma 3 (Gemma Team, 2025), the text model: norms before and after each
// sublayer and on the heads of query and key, whose weights act with 1 added;
// embeddings times √hidden; layers that see a window, with rotary positions of
// their own, between some that see everything.

const gemma3Class = "Gemma3ForCausalLM"

func init() {
	register(&Architecture{
		Class: gemma3Class, ModelType: "gemma3_text", Tasks: []Task{Generate, Encode, Classify},
		Targets: map[string][]string{
			"LORA": {"q_proj", "v_proj"}, "ADALORA": {"q_proj", "v_proj"}, "IA3": {"q_proj", "v_proj", "down_proj"}, "BEFT": {"v_proj"},
			"LN_TUNING": {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm", "norm"},
		},
		Feedforward: []string{"down_proj"},
		Biases:      map[string][]string{"attention_bias": {"q_proj", "k_proj", "v_proj", "o_proj"}},
		heads:       map[Task]headForm{Classify: {class: "Gemma3TextForSequenceClassification", out: "score"}},
		config:      gemma3Config{}, build: newGemma3, window: writeGemma3Window,
		check:  func(s *Source) error { _, err := readGemma3(s); return err },
		prefix: "model.", blocks: "model.layers.", normOffset: 1,
		gguf: &ggufForm{
			name: "gemma3", class: gemma3Class, read: readGemma3Metadata,
			outside: map[string]string{"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"},
			inside: map[string]string{
				"input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm",
				"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
				"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
				"pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
				"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
			},
		},
	})
}

// gemma3Config is config.json as transformers writes it.
type gemma3Config struct {
	VocabSize             int          `json:"vocab_size"`
	HiddenSize            int          `json:"hidden_size"`
	IntermediateSize      int          `json:"intermediate_size"`
	NumHiddenLayers       int          `json:"num_hidden_layers"`
	NumAttentionHeads     int          `json:"num_attention_heads"`
	NumKeyValueHeads      int          `json:"num_key_value_heads"`
	HeadDim               int          `json:"head_dim"`
	HiddenActivation      string       `json:"hidden_activation"`
	MaxPositionEmbeddings int          `json:"max_position_embeddings"`
	RMSNormEps            float32      `json:"rms_norm_eps"`
	TieWordEmbeddings     bool         `json:"tie_word_embeddings"`
	QueryPreAttnScalar    float64      `json:"query_pre_attn_scalar"`
	AttentionBias         bool         `json:"attention_bias"`
	Bidirectional         bool         `json:"use_bidirectional_attention" null:"unset"`
	RopeTheta             float64      `json:"rope_theta"`
	RopeLocalBaseFreq     float64      `json:"rope_local_base_freq"`
	RopeScaling           *ropeConfig  `json:"rope_scaling"`
	RopeParameters        *gemma3Ropes `json:"rope_parameters"` // transformers 5
	SlidingWindow         int          `json:"sliding_window"`
	LayerTypes            []string     `json:"layer_types"`
	// Every Nth layer sees everything, where layer_types is absent; saved again,
	// transformers notes it under another name.
	Pattern *int `json:"sliding_window_pattern"`
	Noted   *int `json:"_sliding_window_pattern"`
}

// gemma3Ropes are the rotary positions by the type of layer.
type gemma3Ropes struct {
	Full    *ropeConfig `json:"full_attention"`
	Sliding *ropeConfig `json:"sliding_attention"`
}

// UnmarshalJSON refuses other keys: those of one rope for all layers, which
// transformers would not read.
func (r *gemma3Ropes) UnmarshalJSON(b []byte) error {
	type plain gemma3Ropes
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode((*plain)(r)); err != nil {
		return fmt.Errorf("rope_parameters has full_attention and sliding_attention, each with its own: %w", err)
	}
	return nil
}

type gemma3Layer struct {
	attention *selfAttention
	mlp       *gatedMLP

	beforeAttention, afterAttention *Norm
	beforeMLP, afterMLP             *Norm
	attentionInsert, mlpInsert      int // sublayer sites
	last                            bool
}

func (l *gemma3Layer) window() int { return l.attention.window() }

func (l *gemma3Layer) forward(p *Pass, b *Batch, c *Cache, x *Value) *Value {
	h := l.beforeAttention.Forward(p, b.Segments, x)
	h = l.attention.mix(p, b, c, h)
	segments := b.Segments
	if l.last { // only the rows wanted go on
		x, h, segments = gather(p, x, b.Out), gather(p, h, b.Out), b.outSegments(p)
	}
	h = l.attention.project(p, segments, h)
	h = l.afterAttention.replace(p, segments, h)
	x = residual(p, l.attentionInsert, segments, x, h)

	h = l.beforeMLP.Forward(p, segments, x)
	h = l.mlp.forward(p, segments, h)
	h = l.afterMLP.replace(p, segments, h)
	return residual(p, l.mlpInsert, segments, x, h)
}

// readGemma3 reads and checks the configuration. What is absent has
// transformers' default.
func readGemma3(s *Source) (*gemma3Config, error) {
	c := &gemma3Config{
		VocabSize: 262208, HiddenSize: 2304, IntermediateSize: 9216, NumHiddenLayers: 26, NumAttentionHeads: 8, NumKeyValueHeads: 4,
		HeadDim: 256, HiddenActivation: "gelu_pytorch_tanh", MaxPositionEmbeddings: 131072, RMSNormEps: 1e-6, TieWordEmbeddings: true,
		QueryPreAttnScalar: 256, RopeTheta: 1e6, RopeLocalBaseFreq: 1e4, SlidingWindow: 4096,
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if err := s.positive("vocab_size", c.VocabSize, "hidden_size", c.HiddenSize, "intermediate_size", c.IntermediateSize,
		"num_hidden_layers", c.NumHiddenLayers, "num_attention_heads", c.NumAttentionHeads, "num_key_value_heads", c.NumKeyValueHeads,
		"head_dim", c.HeadDim, "max_position_embeddings", c.MaxPositionEmbeddings, "sliding_window", c.SlidingWindow); err != nil {
		return nil, err
	}
	_, known := kernels.ActivationByName(c.HiddenActivation)
	switch {
	case c.NumAttentionHeads%c.NumKeyValueHeads != 0:
		return nil, s.wrong("num_attention_heads %d is no multiple of num_key_value_heads %d", c.NumAttentionHeads, c.NumKeyValueHeads)
	case c.HeadDim%2 != 0:
		return nil, s.wrong("head_dim is %d", c.HeadDim)
	case !(c.RMSNormEps >= 0):
		return nil, s.wrong("rms_norm_eps is %g", c.RMSNormEps)
	case !(c.QueryPreAttnScalar > 0):
		return nil, s.wrong("query_pre_attn_scalar is %g", c.QueryPreAttnScalar)
	case !known:
		return nil, s.wrong("hidden_activation %q is not implemented", c.HiddenActivation)
	case c.Bidirectional:
		return nil, s.wrong("use_bidirectional_attention is true, which is not implemented")
	}
	if err := c.readLayerTypes(s); err != nil {
		return nil, err
	}
	return c, c.readRopes(s)
}

// readLayerTypes says of each layer whether it sees a window or everything.
func (c *gemma3Config) readLayerTypes(s *Source) error {
	if len(c.LayerTypes) > 0 {
		if n := len(c.LayerTypes); n != c.NumHiddenLayers {
			return s.wrong("layer_types has %d entries for %d layers", n, c.NumHiddenLayers)
		}
		for _, t := range c.LayerTypes {
			if t != fullAttention && t != slidingAttention {
				return s.wrong("layer_types: %q is not implemented", t)
			}
		}
		return nil
	}
	pattern := 6
	if c.Pattern != nil {
		pattern = *c.Pattern
	}
	if pattern <= 0 {
		return s.wrong("sliding_window_pattern is %d", pattern)
	}
	if c.Noted != nil && *c.Noted != pattern {
		return s.wrong("_sliding_window_pattern is %d, and without layer_types transformers takes %d: write layer_types", *c.Noted, pattern)
	}
	c.LayerTypes = gemma3Layers(c.NumHiddenLayers, pattern)
	return nil
}

// gemma3Layers are the types of n layers of which every pattern-th sees
// everything.
func gemma3Layers(n, pattern int) []string {
	types := make([]string, n)
	for i := range types {
		types[i] = slidingAttention
		if (i+1)%pattern == 0 {
			types[i] = fullAttention
		}
	}
	return types
}

// readRopes settles the base frequencies and the scalings, which transformers 4
// and 5 write in different places.
func (c *gemma3Config) readRopes(s *Source) error {
	if c.RopeParameters == nil {
		c.RopeParameters = &gemma3Ropes{Full: c.RopeScaling}
	} else if c.RopeScaling != nil {
		return s.wrong("rope_scaling and rope_parameters are both there")
	}
	for _, r := range []struct {
		rope    **ropeConfig
		in, key string
		theta   *float64
	}{
		{&c.RopeParameters.Full, "full_attention", "rope_theta", &c.RopeTheta},
		{&c.RopeParameters.Sliding, "sliding_attention", "rope_local_base_freq", &c.RopeLocalBaseFreq},
	} {
		if *r.rope == nil {
			*r.rope = &ropeConfig{}
		}
		rope, in := *r.rope, "rope_parameters."+r.in
		if c.RopeScaling == rope {
			in = "rope_scaling"
		}
		if rope.Theta != nil {
			if s.writes(r.key) && *rope.Theta != *r.theta {
				return s.wrong("%s is %g, and %g in %s", r.key, *r.theta, *rope.Theta, in)
			}
			*r.theta = *rope.Theta
		}
		if f := rope.PartialRotaryFactor; f != nil && *f != 1 {
			return s.wrong("%s: partial_rotary_factor is %g: heads of which a part is rotated are not implemented", in, *f)
		}
		if !(*r.theta > 0) {
			return s.wrong("%s is %g", r.key, *r.theta)
		}
		if err := rope.check(s, in, c.MaxPositionEmbeddings); err != nil {
			return err
		}
	}
	return nil
}

// writeGemma3Window writes another window into a configuration; one as long as
// the context is none.
func writeGemma3Window(values map[string]json.RawMessage, n int) {
	if n > 0 {
		values["sliding_window"] = fmt.Appendf(nil, "%d", n)
		return
	}
	values["sliding_window"] = json.RawMessage("131072")
	if context, ok := values["max_position_embeddings"]; ok {
		values["sliding_window"] = context
	}
}

// readGemma3Metadata reads the metadata of a GGUF file, and supplies what
// llama.cpp knows without it (its models/gemma3.cpp).
func readGemma3Metadata(k *ggufKeys) map[string]any {
	c := k.decoder()
	c["hidden_activation"] = "gelu_pytorch_tanh"
	c["attention_bias"] = k.anyTensor("attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias")
	k.float(c, "rope_local_base_freq", "rope.freq_base_swa")
	layers, _ := c["num_hidden_layers"].(int)
	heads, _ := c["num_attention_heads"].(int)
	hidden, _ := c["hidden_size"].(int)
	c["query_pre_attn_scalar"] = c["head_dim"]
	if layers == 62 && heads > 0 { // the one of 27B
		c["query_pre_attn_scalar"] = hidden / heads
	}
	pattern := 6
	if n, ok := k.number("attention.sliding_window_pattern"); ok && n > 0 {
		pattern = int(n)
	}
	if n, ok := k.number("attention.sliding_window"); ok && n > 0 {
		c["sliding_window"] = int(n)
	} else {
		pattern = 1
	}
	if layers > 0 && layers <= maxLayers {
		c["layer_types"] = gemma3Layers(layers, pattern)
	}
	return c
}

func newGemma3(s *Source, o Options) (Model, error) {
	c, err := readGemma3(s)
	if err != nil {
		return nil, err
	}
	m := &decoder{config: Config{
		Architecture: s.Architecture, Vocabulary: c.VocabSize, Hidden: c.HiddenSize, Intermediate: c.IntermediateSize,
		Layers: c.NumHiddenLayers, Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		Context: o.context(c.MaxPositionEmbeddings), Tied: c.TieWordEmbeddings,
	}}
	rope := func(r *ropeConfig, theta float64) *kernels.Rope {
		return s.newRope(c.HeadDim, theta, r, c.MaxPositionEmbeddings, m.config.Context)
	}
	l := gemma3Builder{
		gemma3Config: c, config: &m.config,
		full: rope(c.RopeParameters.Full, c.RopeTheta), sliding: rope(c.RopeParameters.Sliding, c.RopeLocalBaseFreq),
	}
	b := s.build(-1)
	m.embed = b.embedding("model.embed_tokens", c.VocabSize, c.HiddenSize)
	m.embed.Scale = float32(math.Sqrt(float64(c.HiddenSize))) // in bfloat16 transformers rounds it; here all is float32
	for i := range c.NumHiddenLayers {
		m.blocks = append(m.blocks, l.layer(s.build(i)))
	}
	m.norm = b.rms("model.norm", c.HiddenSize, c.RMSNormEps)
	m.head = b.head(m.embed, c.TieWordEmbeddings)
	return m.finish(s)
}

// gemma3Builder is what the layers have in common.
type gemma3Builder struct {
	*gemma3Config
	config        *Config
	full, sliding *kernels.Rope
}

func (c gemma3Builder) layer(b *layerBuilder) *gemma3Layer {
	i, rope, window := b.layer, c.full, 0
	if c.LayerTypes[i] == slidingAttention {
		rope, window = c.sliding, c.SlidingWindow
	}
	heads, kvHeads := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	biases := without
	if c.AttentionBias {
		biases = with
		if b.s.GGUF != nil {
			biases = perhaps
		}
	}
	act, _ := kernels.ActivationByName(c.HiddenActivation)
	return &gemma3Layer{
		beforeAttention: b.rms("input_layernorm", c.HiddenSize, c.RMSNormEps),
		attention: &selfAttention{
			config: c.config, layer: i,
			q:     b.linear("self_attn.q_proj", heads, c.HiddenSize, biases),
			k:     b.linear("self_attn.k_proj", kvHeads, c.HiddenSize, biases),
			v:     b.linear("self_attn.v_proj", kvHeads, c.HiddenSize, biases),
			o:     b.linear("self_attn.o_proj", c.HiddenSize, heads, biases),
			qNorm: b.rms("self_attn.q_norm", c.HeadDim, c.RMSNormEps),
			kNorm: b.rms("self_attn.k_norm", c.HeadDim, c.RMSNormEps),
			rope:  rope,
			attention: kernels.Attention{
				Heads: c.NumAttentionHeads, Scale: float32(1 / math.Sqrt(c.QueryPreAttnScalar)), Causal: true, Window: window,
			},
		},
		afterAttention:  b.rms("post_attention_layernorm", c.HiddenSize, c.RMSNormEps),
		attentionInsert: b.sublayer("self_attn"),
		beforeMLP:       b.rms("pre_feedforward_layernorm", c.HiddenSize, c.RMSNormEps),
		mlp: &gatedMLP{
			gate: b.linear("mlp.gate_proj", c.IntermediateSize, c.HiddenSize, without),
			up:   b.linear("mlp.up_proj", c.IntermediateSize, c.HiddenSize, without),
			down: b.linear("mlp.down_proj", c.HiddenSize, c.IntermediateSize, without),
			act:  act,
		},
		afterMLP:  b.rms("post_feedforward_layernorm", c.HiddenSize, c.RMSNormEps),
		mlpInsert: b.sublayer("mlp"),
		last:      i == c.NumHiddenLayers-1,
	}
}

package models

import (
	"regexp"

	"github.com/peft-serve/peft-serve/kernels"
)

// ModernBERT (Warner et al., 2024): pre-norm blocks with a gated MLP, rotary positions,
// and no biases; every third layer sees the whole text, the others what is near,
// with rotary positions of their own. No token types, no pooler.

func init() {
	register(&Architecture{
		Class: "ModernBertModel", ModelType: "modernbert", Tasks: []Task{Encode, Classify, Tag},
		Heads: []string{
			"ModernBertForMaskedLM", "ModernBertForSequenceClassification", "ModernBertForTokenClassification", "ModernBertForQuestionAnswering",
			"ModernBertForMultipleChoice",
		},
		Biases: map[string][]string{"attention_bias": {"attn.Wqkv", "attn.Wo"}, "mlp_bias": {"mlp.Wi", "mlp.Wo"}},
		heads:  modernBERTHeads(&modernBERTConfig{ClassifierActivation: "gelu"}),
		config: modernBERTConfig{}, build: newModernBERT,
		check:  func(s *Source) error { _, err := readModernBERT(s); return err },
		prefix: "model.", blocks: "model.layers.", gguf: ggufOfModernBERT,
		headless: regexp.MustCompile(`^(head|decoder|classifier|qa_outputs)\.`),
		inert: map[string]inert{
			"initializer_cutoff_factor": {why: ofTraining}, "sparse_prediction": {why: ofTask}, "sparse_pred_ignore_index": {why: ofTask}, "decoder_bias": {why: ofTask},
			"tie_word_embeddings": {why: ofTask},
			"embedding_dropout":   {why: ofDropout}, "mlp_dropout": {why: ofDropout},
			"reference_compile": {why: ofSpeed}, "deterministic_flash_attn": {why: ofSpeed}, "repad_logits_with_grad": {why: ofSpeed},
			"position_embedding_type": {why: "rotary, whatever it says"}, "layer_norm_eps": {why: "norm_eps counts"},
			"is_decoder": {why: "false: every token of a text sees all of it", only: []string{"false"}},
		},
	})
}

// modernBERTHeads are a dense layer, an activation and a norm before the scores, of each
// token, of the first or of the mean of all.
func modernBERTHeads(c *modernBERTConfig) map[Task]headForm {
	act, _ := kernels.ActivationByName(c.ClassifierActivation)
	norm := &headNorm{module: "head.norm", epsilon: c.Epsilon, biased: c.NormBias}
	heads := encoderHeads("ModernBert", headForm{})
	for task, form := range heads {
		form.dense, form.plain, form.act, form.norm, form.out = "head.dense", !c.ClassifierBias, act, norm, "classifier"
		form.mean = task == Classify && c.ClassifierPooling == "mean"
		heads[task] = form
	}
	return heads
}

// modernBERTConfig is config.json as transformers writes it.
type modernBERTConfig struct {
	Vocab         int          `json:"vocab_size"`
	Hidden        int          `json:"hidden_size"`
	Intermediate  int          `json:"intermediate_size"`
	Layers        int          `json:"num_hidden_layers"`
	Heads         int          `json:"num_attention_heads"`
	Activation    string       `json:"hidden_activation"`
	Positions     int          `json:"max_position_embeddings"`
	Epsilon       float32      `json:"norm_eps"`
	NormBias      bool         `json:"norm_bias"`
	AttentionBias bool         `json:"attention_bias"`
	MLPBias       bool         `json:"mlp_bias"`
	Every         int          `json:"global_attn_every_n_layers"`
	Local         int          `json:"local_attention"`
	GlobalTheta   float64      `json:"global_rope_theta"`
	LocalTheta    *float64     `json:"local_rope_theta"`
	RopeScaling   *ropeConfig  `json:"rope_scaling"`
	Ropes         *gemma3Ropes `json:"rope_parameters"` // transformers 5
	LayerTypes    []string     `json:"layer_types"`

	ClassifierPooling    string `json:"classifier_pooling"`
	ClassifierBias       bool   `json:"classifier_bias"`
	ClassifierActivation string `json:"classifier_activation"`
}

// readModernBERT reads and checks the configuration.
func readModernBERT(s *Source) (*modernBERTConfig, error) {
	c := &modernBERTConfig{
		Vocab: 50368, Hidden: 768, Intermediate: 1152, Layers: 22, Heads: 12, Activation: "gelu", Positions: 8192, Epsilon: 1e-5,
		Every: 3, Local: 128, GlobalTheta: 160000, LocalTheta: new(float64(10000)),
		ClassifierPooling: "cls", ClassifierActivation: "gelu",
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if err := s.positive("vocab_size", c.Vocab, "hidden_size", c.Hidden, "intermediate_size", c.Intermediate, "num_hidden_layers", c.Layers,
		"num_attention_heads", c.Heads, "max_position_embeddings", c.Positions, "global_attn_every_n_layers", c.Every, "local_attention", c.Local); err != nil {
		return nil, err
	}
	if c.LocalTheta == nil {
		c.LocalTheta = &c.GlobalTheta
	}
	if c.Ropes != nil {
		if err := c.readRopes(s); err != nil {
			return nil, err
		}
	}
	_, classifies := kernels.ActivationByName(c.ClassifierActivation)
	switch _, known := kernels.ActivationByName(c.Activation); {
	case c.Hidden%c.Heads != 0:
		return nil, s.wrong("hidden_size %d is no multiple of num_attention_heads %d", c.Hidden, c.Heads)
	case c.Hidden/c.Heads%2 != 0:
		return nil, s.wrong("hidden_size %d by num_attention_heads %d makes heads of %d, which are not rotated", c.Hidden, c.Heads, c.Hidden/c.Heads)
	case !(c.Epsilon >= 0):
		return nil, s.wrong("norm_eps is %g", c.Epsilon)
	case !known:
		return nil, s.wrong("hidden_activation %q is not implemented", c.Activation)
	case !classifies:
		return nil, s.wrong("classifier_activation %q is not implemented", c.ClassifierActivation)
	case c.ClassifierPooling != "cls" && c.ClassifierPooling != "mean":
		return nil, s.wrong("classifier_pooling is %q, want cls or mean", c.ClassifierPooling)
	case c.RopeScaling.kind() != "default":
		return nil, s.wrong("rope_scaling of type %q is not implemented for this architecture", c.RopeScaling.kind())
	case !(c.GlobalTheta > 0) || !(*c.LocalTheta > 0):
		return nil, s.wrong("global_rope_theta and local_rope_theta are %g and %g", c.GlobalTheta, *c.LocalTheta)
	}
	return c, c.readLayerTypes(s)
}

// readRopes takes the base frequencies from where transformers 5 writes them.
func (c *modernBERTConfig) readRopes(s *Source) error {
	for _, r := range []struct {
		in, key string
		rope    *ropeConfig
		theta   *float64
	}{{"full_attention", "global_rope_theta", c.Ropes.Full, &c.GlobalTheta}, {"sliding_attention", "local_rope_theta", c.Ropes.Sliding, c.LocalTheta}} {
		switch {
		case r.rope == nil:
			continue
		case r.rope.kind() != "default":
			return s.wrong("rope_parameters.%s of type %q is not implemented for this architecture", r.in, r.rope.kind())
		case r.rope.PartialRotaryFactor != nil && *r.rope.PartialRotaryFactor != 1:
			return s.wrong("rope_parameters.%s: partial_rotary_factor is %g: heads of which a part is rotated are not implemented", r.in, *r.rope.PartialRotaryFactor)
		case r.rope.Theta == nil:
			continue
		case s.writes(r.key) && *r.rope.Theta != *r.theta:
			return s.wrong("%s is %g, and %g in rope_parameters.%s", r.key, *r.theta, *r.rope.Theta, r.in)
		}
		*r.theta = *r.rope.Theta
	}
	return nil
}

// readLayerTypes says of each layer whether it sees what is near or everything.
func (c *modernBERTConfig) readLayerTypes(s *Source) error {
	if len(c.LayerTypes) == 0 {
		for i := range c.Layers {
			kind := slidingAttention
			if i%c.Every == 0 {
				kind = fullAttention
			}
			c.LayerTypes = append(c.LayerTypes, kind)
		}
	}
	if n := len(c.LayerTypes); n != c.Layers {
		return s.wrong("layer_types has %d entries for %d layers", n, c.Layers)
	}
	for i, t := range c.LayerTypes {
		switch {
		case t != fullAttention && t != slidingAttention:
			return s.wrong("layer_types: %q is not implemented", t)
		case s.writes("global_attn_every_n_layers") && (i%c.Every == 0) != (t == fullAttention):
			return s.wrong("layer_types says %s of layer %d, and global_attn_every_n_layers is %d", t, i, c.Every)
		}
	}
	return nil
}

// modernBERTLayer is a block whose norms come before its sublayers.
type modernBERTLayer struct {
	attention                  *selfAttention
	mlp                        *gatedMLP
	norm1, norm2               *Norm // norm1 of the first layer: nil
	attentionInsert, mlpInsert int   // sublayer sites
	last                       bool
}

func (l *modernBERTLayer) forward(p *Pass, b *Batch, x *Value) *Value {
	h := p.Keep(x)
	if l.norm1 != nil {
		h = l.norm1.replace(p, b.Segments, h)
	}
	h = l.attention.mix(p, b, nil, h)
	segments := b.Segments
	if l.last { // only the rows wanted go on
		x, h, segments = gather(p, x, b.Out), gather(p, h, b.Out), b.outSegments(p)
	}
	x = residual(p, l.attentionInsert, segments, x, l.attention.project(p, segments, h))
	h = l.norm2.Forward(p, segments, x)
	return residual(p, l.mlpInsert, segments, x, l.mlp.forward(p, segments, h))
}

func newModernBERT(s *Source, o Options) (Model, error) {
	c, err := readModernBERT(s)
	if err != nil {
		return nil, err
	}
	m := &encoder{padding: -1, config: Config{
		Architecture: s.Architecture, Vocabulary: c.Vocab, Hidden: c.Hidden, Intermediate: c.Intermediate,
		Layers: c.Layers, Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.Hidden / c.Heads, Context: o.context(c.Positions),
	}}
	s.forms = modernBERTHeads(c)
	b := s.build(-1)
	m.words = b.embedding("model.embeddings.tok_embeddings", c.Vocab, c.Hidden)
	m.norm = c.layerNorm(b, "model.embeddings.norm")
	full := s.newRope(m.config.HeadDim, c.GlobalTheta, nil, c.Positions, m.config.Context)
	sliding := s.newRope(m.config.HeadDim, *c.LocalTheta, nil, c.Positions, m.config.Context)
	for i := range c.Layers {
		l := c.layer(s.build(i), &m.config)
		if l.attention.rope = full; c.LayerTypes[i] == slidingAttention {
			l.attention.rope, l.attention.attention.Window = sliding, c.Local/2+1
		}
		m.blocks = append(m.blocks, l)
	}
	m.final = c.layerNorm(b, "model.final_norm")
	return m.finish(s)
}

func (c *modernBERTConfig) layer(b *layerBuilder, config *Config) *modernBERTLayer {
	act, _ := kernels.ActivationByName(c.Activation)
	l := &modernBERTLayer{last: b.layer == c.Layers-1}
	if b.layer > 0 {
		l.norm1 = c.layerNorm(b, "attn_norm")
	}
	l.attention = &selfAttention{
		config: config, layer: b.layer,
		qkv:       b.linear("attn.Wqkv", 3*c.Hidden, c.Hidden, biasIf(c.AttentionBias)),
		o:         b.linear("attn.Wo", c.Hidden, c.Hidden, biasIf(c.AttentionBias)),
		attention: kernels.Attention{Heads: c.Heads, Scale: invSqrt(config.HeadDim)},
	}
	l.attentionInsert = b.sublayer("attn")
	l.norm2 = c.layerNorm(b, "mlp_norm")
	l.mlp = &gatedMLP{
		gateUp: b.linear("mlp.Wi", 2*c.Intermediate, c.Hidden, biasIf(c.MLPBias)),
		down:   b.linear("mlp.Wo", c.Hidden, c.Intermediate, biasIf(c.MLPBias)),
		act:    act,
	}
	l.mlpInsert = b.sublayer("mlp")
	return l
}

func (c *modernBERTConfig) layerNorm(b *layerBuilder, module string) *Norm {
	return b.layerNormBiased(module, c.Hidden, c.Epsilon, biasIf(c.NormBias))
}

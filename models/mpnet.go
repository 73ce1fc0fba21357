package models

import (
	"math"
	"regexp"

	"github.com/peft-serve/peft-serve/kernels"
)

// MPNet (Song et al., 2020): RoBERTa without token types, with a bias on the scores
// of attention that depends on how far a key is from its query, the same in every
// block (T5's, Raffel et al., 2020).

func init() {
	register(&Architecture{
		Class: "MPNetModel", ModelType: "mpnet", Tasks: []Task{Encode, Classify, Tag},
		Heads: []string{
			"MPNetForMaskedLM", "MPNetForSequenceClassification", "MPNetForTokenClassification", "MPNetForQuestionAnswering", "MPNetForMultipleChoice",
		},
		heads:  encoderHeads("MPNet", denseHead(kernels.Tanh)),
		config: mpnetConfig{}, build: newMPNet,
		check:  func(s *Source) error { _, err := readMPNet(s); return err },
		prefix: "mpnet.", blocks: "mpnet.encoder.layer.",
		strays:   []*regexp.Regexp{regexp.MustCompile(`^(mpnet\.)?embeddings\.position_ids$`)}, // 0, 1, 2, …
		headless: regexp.MustCompile(`^(lm_head|classifier|qa_outputs)\.`),
		inert: map[string]inert{
			"tie_word_embeddings": {why: ofTask},
			"is_decoder":          {why: "false: every token of a text sees all of it", only: []string{"false"}},
		},
	})
}

// mpnetConfig is config.json as transformers writes it.
type mpnetConfig struct {
	Vocab        int     `json:"vocab_size"`
	Hidden       int     `json:"hidden_size"`
	Intermediate int     `json:"intermediate_size"`
	Layers       int     `json:"num_hidden_layers"`
	Heads        int     `json:"num_attention_heads"`
	Positions    int     `json:"max_position_embeddings"`
	Activation   string  `json:"hidden_act"`
	Epsilon      float32 `json:"layer_norm_eps"`
	Buckets      int     `json:"relative_attention_num_buckets"`
}

// mpnetBlock are the names of the modules of a block.
var mpnetBlock = blockNames{
	q: "attention.attn.q", k: "attention.attn.k", v: "attention.attn.v", o: "attention.attn.o", norm1: "attention.LayerNorm",
	up: "intermediate.dense", down: "output.dense", norm2: "output.LayerNorm",
	attention: "attention", mlp: "output",
}

const (
	mpnetPadding  = 1   // from whose number positions are counted, whatever pad_token_id is
	mpnetBuckets  = 32  // of distances, whatever relative_attention_num_buckets is
	mpnetFarthest = 128 // distance that has a bucket of its own
)

// readMPNet reads and checks the configuration.
func readMPNet(s *Source) (*mpnetConfig, error) {
	c := &mpnetConfig{
		Vocab: 30527, Hidden: 768, Intermediate: 3072, Layers: 12, Heads: 12, Positions: 512,
		Activation: "gelu", Epsilon: 1e-12, Buckets: mpnetBuckets,
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	bert := c.bert()
	if err := bert.check(s); err != nil {
		return nil, err
	}
	if c.Buckets < mpnetBuckets || c.Buckets > maxSize {
		return nil, s.wrong("relative_attention_num_buckets is %d, and distances have %d buckets", c.Buckets, mpnetBuckets)
	}
	return c, s.pads(mpnetPadding, c.Vocab, c.Positions)
}

// bert is the configuration of a BERT with those values.
func (c *mpnetConfig) bert() *bertConfig {
	return &bertConfig{
		Vocab: c.Vocab, Hidden: c.Hidden, Intermediate: c.Intermediate, Layers: c.Layers, Heads: c.Heads, Positions: c.Positions, Types: 1,
		Activation: c.Activation, Epsilon: c.Epsilon, PositionType: "absolute",
	}
}

func newMPNet(s *Source, o Options) (Model, error) {
	c, err := readMPNet(s)
	if err != nil {
		return nil, err
	}
	act, _ := kernels.ActivationByName(c.Activation)
	m := &encoder{config: c.bert().shape(s.Architecture), padding: mpnetPadding}
	m.config.Context = o.context(c.Positions - mpnetPadding - 1)
	b := s.build(-1)
	m.words = b.embedding("mpnet.embeddings.word_embeddings", c.Vocab, c.Hidden)
	m.positions = b.embedding("mpnet.embeddings.position_embeddings", c.Positions, c.Hidden)
	m.norm = b.layerNorm("mpnet.embeddings.LayerNorm", c.Hidden, c.Epsilon)
	bias := b.distances("mpnet.encoder.relative_attention_bias", &m.config, c.Buckets)
	for i := range c.Layers {
		block := s.build(i).postNorm(&m.config, &mpnetBlock, act, c.Epsilon)
		block.attention.Bias = bias
		m.blocks = append(m.blocks, block)
	}
	m.pooler = b.pooler("mpnet.pooler.dense", c.Hidden)
	return m.finish(s)
}

// distances reads the biases of distances, [buckets, heads]. No adapter acts on
// them: they are no site.
func (b *layerBuilder) distances(module string, c *Config, buckets int) *kernels.PositionBias {
	w := b.weight(module+".weight", buckets, c.Heads)
	if w.Empty() || b.s.shape {
		return nil
	}
	values := w.Matrix()
	return kernels.NewPositionBias(c.Heads, c.Context, invSqrt(c.HeadDim), func(head, distance int) float32 {
		return values.Row(distanceBucket(distance))[head]
	})
}

// distanceBucket is MPNetEncoder.relative_position_bucket, in the precision in
// which PyTorch computes it: one bucket for each of the nearest distances, then
// ones that widen with the logarithm; half of them for keys that follow.
func distanceBucket(distance int) int {
	const half, exact = mpnetBuckets / 2, mpnetBuckets / 4
	first := 0
	if distance > 0 {
		first = half
	} else {
		distance = -distance
	}
	if distance < exact {
		return first + distance
	}
	ratio := float32(math.Log(float64(float32(distance)/exact))) / float32(math.Log(mpnetFarthest/exact))
	return first + min(exact+int(ratio*(half-exact)), half-1)
}

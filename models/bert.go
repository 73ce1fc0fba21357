package models

import (
	"regexp"

	"github.com/peft-serve/peft-serve/kernels"
)

// BERT (Devlin et al., 2019): post-norm blocks, learned positions, token types, a
// pooler.

func init() {
	register(&Architecture{
		Class: "BertModel", ModelType: "bert", Tasks: []Task{Encode, Classify, Tag},
		Heads: []string{
			"BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification", "BertForTokenClassification", "BertForQuestionAnswering",
			"BertForMultipleChoice", "BertForNextSentencePrediction",
		},
		Targets: map[string][]string{
			"LORA": {"query", "value"}, "ADALORA": {"query", "value"}, "IA3": {"key", "value", "output.dense"}, "BEFT": {"value"},
		},
		Feedforward: []string{"output.dense"},
		heads:       encoderHeads("Bert", headForm{pooled: true, out: "classifier"}),
		config:      bertConfig{}, build: newBERT,
		check:  func(s *Source) error { _, err := readBERT(s); return err },
		prefix: "bert.", blocks: "bert.encoder.layer.", gguf: ggufOfBERT,
		strays:   []*regexp.Regexp{regexp.MustCompile(`^(bert\.)?embeddings\.position_ids$`)}, // 0, 1, 2, …
		headless: regexp.MustCompile(`^(cls|classifier|qa_outputs)\.`),
		inert: map[string]inert{
			"tie_word_embeddings": {why: ofTask}, "directionality": {why: ofTooling},
			"pooler_fc_size": {why: ofTooling}, "pooler_num_attention_heads": {why: ofTooling}, "pooler_num_fc_layers": {why: ofTooling},
			"pooler_size_per_head": {why: ofTooling}, "pooler_type": {why: ofTooling, only: []string{`"first_token_transform"`}},
		},
	})
}

// bertConfig is config.json as transformers writes it.
type bertConfig struct {
	Vocab        int     `json:"vocab_size"`
	Hidden       int     `json:"hidden_size"`
	Intermediate int     `json:"intermediate_size"`
	Layers       int     `json:"num_hidden_layers"`
	Heads        int     `json:"num_attention_heads"`
	Positions    int     `json:"max_position_embeddings"`
	Types        int     `json:"type_vocab_size"`
	Activation   string  `json:"hidden_act"`
	Epsilon      float32 `json:"layer_norm_eps"`
	PositionType string  `json:"position_embedding_type" null:"unset"`
	IsDecoder    bool    `json:"is_decoder" null:"unset"`
}

// readBERT reads and checks the configuration.
func readBERT(s *Source) (*bertConfig, error) {
	c := &bertConfig{
		Vocab: 30522, Hidden: 768, Intermediate: 3072, Layers: 12, Heads: 12, Positions: 512, Types: 2,
		Activation: "gelu", Epsilon: 1e-12, PositionType: "absolute",
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	return c, c.check(s)
}

// check refuses what the forward pass does not honour.
func (c *bertConfig) check(s *Source) error {
	if err := s.positive("vocab_size", c.Vocab, "hidden_size", c.Hidden, "intermediate_size", c.Intermediate, "num_hidden_layers", c.Layers,
		"num_attention_heads", c.Heads, "max_position_embeddings", c.Positions, "type_vocab_size", c.Types); err != nil {
		return err
	}
	switch _, known := kernels.ActivationByName(c.Activation); {
	case c.Hidden%c.Heads != 0:
		return s.wrong("hidden_size %d is no multiple of num_attention_heads %d", c.Hidden, c.Heads)
	case !(c.Epsilon >= 0):
		return s.wrong("layer_norm_eps is %g", c.Epsilon)
	case !known:
		return s.wrong("hidden_act %q is not implemented", c.Activation)
	case c.PositionType != "absolute":
		return s.wrong("position_embedding_type %q is not implemented (only absolute)", c.PositionType)
	case c.IsDecoder:
		return s.wrong("is_decoder is true, which is not implemented: every token of a text sees all of it")
	}
	return nil
}

// shape is what every architecture has in common.
func (c *bertConfig) shape(a *Architecture) Config {
	return Config{
		Architecture: a, Vocabulary: c.Vocab, Hidden: c.Hidden, Intermediate: c.Intermediate,
		Layers: c.Layers, Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.Hidden / c.Heads,
	}
}

func newBERT(s *Source, o Options) (Model, error) {
	c, err := readBERT(s)
	if err != nil {
		return nil, err
	}
	m := &encoder{config: c.shape(s.Architecture), padding: -1}
	m.config.Context = o.context(c.Positions)
	return m.build(s, "bert", c)
}

// build reads BERT's modules, or those of a model that has them under another name.
func (m *encoder) build(s *Source, name string, c *bertConfig) (Model, error) {
	act, _ := kernels.ActivationByName(c.Activation)
	b := s.build(-1)
	m.words = b.embedding(name+".embeddings.word_embeddings", c.Vocab, c.Hidden)
	m.positions = b.embedding(name+".embeddings.position_embeddings", c.Positions, c.Hidden)
	m.types = b.embedding(name+".embeddings.token_type_embeddings", c.Types, c.Hidden)
	m.norm = b.layerNorm(name+".embeddings.LayerNorm", c.Hidden, c.Epsilon)
	for i := range c.Layers {
		m.blocks = append(m.blocks, s.build(i).postNorm(&m.config, &bertBlock, act, c.Epsilon))
	}
	m.pooler = b.pooler(name+".pooler.dense", c.Hidden)
	return m.finish(s)
}

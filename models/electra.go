package models

import (
	"regexp"

	"github.com/peft-serve/peft-serve/kernels"
)

// ELECTRA (Clark et al., 2020): BERT with embeddings of a size of their own and
// without a pooler.

func init() {
	register(&Architecture{
		Class: "ElectraModel", ModelType: "electra", Tasks: []Task{Encode, Classify, Tag},
		Heads: []string{
			"ElectraForPreTraining", "ElectraForMaskedLM", "ElectraForSequenceClassification", "ElectraForTokenClassification",
			"ElectraForQuestionAnswering", "ElectraForMultipleChoice",
		},
		Targets: map[string][]string{"LORA": {"query", "value"}},
		heads:   encoderHeads("Electra", denseHead(kernels.GELU)), // whatever hidden_act is
		config:  electraConfig{}, build: newELECTRA,
		check:  func(s *Source) error { _, err := readELECTRA(s); return err },
		prefix: "electra.", blocks: "electra.encoder.layer.",
		strays:   []*regexp.Regexp{regexp.MustCompile(`^(electra\.)?embeddings\.position_ids$`)}, // 0, 1, 2, …
		headless: regexp.MustCompile(`^(discriminator_predictions|generator_predictions|generator_lm_head|sequence_summary|classifier|qa_outputs)\.`),
		inert:    map[string]inert{"tie_word_embeddings": {why: ofTask}, "summary_last_dropout": {why: ofTask}},
	})
}

// electraConfig is config.json as transformers writes it.
type electraConfig struct {
	Vocab        int     `json:"vocab_size"`
	Embedding    int     `json:"embedding_size"`
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

// bert is the configuration of a BERT with those values.
func (c *electraConfig) bert() *bertConfig {
	return &bertConfig{
		Vocab: c.Vocab, Hidden: c.Hidden, Intermediate: c.Intermediate, Layers: c.Layers, Heads: c.Heads, Positions: c.Positions, Types: c.Types,
		Activation: c.Activation, Epsilon: c.Epsilon, PositionType: c.PositionType, IsDecoder: c.IsDecoder,
	}
}

// readELECTRA reads and checks the configuration.
func readELECTRA(s *Source) (*electraConfig, error) {
	c := &electraConfig{
		Vocab: 30522, Embedding: 128, Hidden: 256, Intermediate: 1024, Layers: 12, Heads: 4, Positions: 512, Types: 2,
		Activation: "gelu", Epsilon: 1e-12, PositionType: "absolute",
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if err := s.positive("embedding_size", c.Embedding); err != nil {
		return nil, err
	}
	return c, c.bert().check(s)
}

func newELECTRA(s *Source, o Options) (Model, error) {
	c, err := readELECTRA(s)
	if err != nil {
		return nil, err
	}
	act, _ := kernels.ActivationByName(c.Activation)
	m := &encoder{config: c.bert().shape(s.Architecture), padding: -1}
	m.config.Context = o.context(c.Positions)
	b := s.build(-1)
	m.words = b.embedding("electra.embeddings.word_embeddings", c.Vocab, c.Embedding)
	m.positions = b.embedding("electra.embeddings.position_embeddings", c.Positions, c.Embedding)
	m.types = b.embedding("electra.embeddings.token_type_embeddings", c.Types, c.Embedding)
	m.norm = b.layerNorm("electra.embeddings.LayerNorm", c.Embedding, c.Epsilon)
	if c.Embedding != c.Hidden {
		m.project = b.linear("electra.embeddings_project", c.Hidden, c.Embedding, with)
	}
	for i := range c.Layers {
		m.blocks = append(m.blocks, s.build(i).postNorm(&m.config, &bertBlock, act, c.Epsilon))
	}
	return m.finish(s)
}

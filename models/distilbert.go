package models

import (
	"regexp"

	"github.com/peft-serve/peft-serve/kernels"
)

// DistilBERT (Sanh et al., 2019): BERT without token types and pooler, under names
// of its own.

func init() {
	register(&Architecture{
		Class: "DistilBertModel", ModelType: "distilbert", Tasks: []Task{Encode, Classify, Tag},
		Heads: []string{
			"DistilBertForMaskedLM", "DistilBertForSequenceClassification", "DistilBertForTokenClassification", "DistilBertForQuestionAnswering",
			"DistilBertForMultipleChoice",
		},
		heads:  encoderHeads("DistilBert", headForm{dense: "pre_classifier", act: kernels.ReLU, out: "classifier"}),
		config: distilbertConfig{}, build: newDistilBERT,
		check:  func(s *Source) error { _, err := readDistilBERT(s); return err },
		prefix: "distilbert.", blocks: "distilbert.transformer.layer.",
		strays:   []*regexp.Regexp{regexp.MustCompile(`^(distilbert\.)?embeddings\.position_ids$`)}, // 0, 1, 2, …
		headless: regexp.MustCompile(`^(vocab_transform|vocab_layer_norm|vocab_projector|pre_classifier|classifier|qa_outputs)\.`),
		inert: map[string]inert{
			"tie_word_embeddings": {why: ofTask}, "tie_weights_": {why: ofTask}, "qa_dropout": {why: ofTask}, "seq_classif_dropout": {why: ofTask},
			"dropout": {why: ofDropout}, "sinusoidal_pos_embds": {why: "how the positions began: the file has them"},
			"is_decoder": {why: "false: every token of a text sees all of it", only: []string{"false"}},
		},
	})
}

// distilbertConfig is config.json as transformers writes it.
type distilbertConfig struct {
	Vocab      int    `json:"vocab_size"`
	Dim        int    `json:"dim"`
	HiddenDim  int    `json:"hidden_dim"`
	Layers     int    `json:"n_layers"`
	Heads      int    `json:"n_heads"`
	Positions  int    `json:"max_position_embeddings"`
	Activation string `json:"activation"`
}

// distilbertBlock are the names of the modules of a block.
var distilbertBlock = blockNames{
	q: "attention.q_lin", k: "attention.k_lin", v: "attention.v_lin", o: "attention.out_lin", norm1: "sa_layer_norm",
	up: "ffn.lin1", down: "ffn.lin2", norm2: "output_layer_norm",
	attention: "attention", mlp: "ffn",
}

// distilbertEpsilon is that of every norm.
const distilbertEpsilon = 1e-12

// readDistilBERT reads and checks the configuration.
func readDistilBERT(s *Source) (*distilbertConfig, error) {
	c := &distilbertConfig{Vocab: 30522, Dim: 768, HiddenDim: 3072, Layers: 6, Heads: 12, Positions: 512, Activation: "gelu"}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if err := s.positive("vocab_size", c.Vocab, "dim", c.Dim, "hidden_dim", c.HiddenDim, "n_layers", c.Layers, "n_heads", c.Heads,
		"max_position_embeddings", c.Positions); err != nil {
		return nil, err
	}
	if c.Dim%c.Heads != 0 {
		return nil, s.wrong("dim %d is no multiple of n_heads %d", c.Dim, c.Heads)
	}
	if _, ok := kernels.ActivationByName(c.Activation); !ok {
		return nil, s.wrong("activation %q is not implemented", c.Activation)
	}
	return c, nil
}

func newDistilBERT(s *Source, o Options) (Model, error) {
	c, err := readDistilBERT(s)
	if err != nil {
		return nil, err
	}
	act, _ := kernels.ActivationByName(c.Activation)
	m := &encoder{padding: -1, config: Config{
		Architecture: s.Architecture, Vocabulary: c.Vocab, Hidden: c.Dim, Intermediate: c.HiddenDim,
		Layers: c.Layers, Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.Dim / c.Heads, Context: o.context(c.Positions),
	}}
	b := s.build(-1)
	m.words = b.embedding("distilbert.embeddings.word_embeddings", c.Vocab, c.Dim)
	m.positions = b.embedding("distilbert.embeddings.position_embeddings", c.Positions, c.Dim)
	m.norm = b.layerNorm("distilbert.embeddings.LayerNorm", c.Dim, distilbertEpsilon)
	for i := range c.Layers {
		m.blocks = append(m.blocks, s.build(i).postNorm(&m.config, &distilbertBlock, act, distilbertEpsilon))
	}
	return m.finish(s)
}

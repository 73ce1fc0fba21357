package models

import (
	"regexp"

	"github.com/peft-serve/peft-serve/kernels"
)

// RoBERTa (Liu et al., 2019) and what has its code: XLM-RoBERTa (Conneau et al.,
// 2020) and CamemBERT (Martin et al., 2020). BERT, whose positions are counted from
// the one after the padding token's number.

func init() {
	queries := []string{"query", "value"}
	for _, a := range []*Architecture{
		{
			Class: "RobertaModel", ModelType: "roberta", Feedforward: []string{"output.dense"},
			Targets: map[string][]string{
				"LORA": queries, "ADALORA": {"query", "key", "value", "dense"}, "IA3": {"key", "value", "output.dense"}, "BEFT": {"value"},
			},
		},
		{Class: "XLMRobertaModel", ModelType: "xlm-roberta", Targets: map[string][]string{"LORA": queries}},
		{Class: "CamembertModel", ModelType: "camembert"},
	} {
		for _, head := range []string{"MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice"} {
			a.Heads = append(a.Heads, a.Class[:len(a.Class)-len("Model")]+"For"+head)
		}
		a.Tasks = []Task{Encode, Classify, Tag}
		a.heads = encoderHeads(a.Class[:len(a.Class)-len("Model")], denseHead(kernels.Tanh))
		a.config, a.build = robertaConfig{}, newRoBERTa
		a.check = func(s *Source) error { _, err := readRoBERTa(s); return err }
		a.prefix, a.blocks = "roberta.", "roberta.encoder.layer."
		a.strays = []*regexp.Regexp{regexp.MustCompile(`^(roberta\.)?embeddings\.position_ids$`)} // 0, 1, 2, …
		a.headless = regexp.MustCompile(`^(lm_head|classifier|qa_outputs)\.`)
		a.inert = map[string]inert{"tie_word_embeddings": {why: ofTask}}
		register(a)
	}
}

// robertaConfig is config.json as transformers writes it.
type robertaConfig struct {
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
	Padding      int     `json:"pad_token_id"`
}

// bert is the configuration of a BERT with those values.
func (c *robertaConfig) bert() *bertConfig {
	return &bertConfig{
		Vocab: c.Vocab, Hidden: c.Hidden, Intermediate: c.Intermediate, Layers: c.Layers, Heads: c.Heads, Positions: c.Positions, Types: c.Types,
		Activation: c.Activation, Epsilon: c.Epsilon, PositionType: c.PositionType, IsDecoder: c.IsDecoder,
	}
}

// readRoBERTa reads and checks the configuration.
func readRoBERTa(s *Source) (*robertaConfig, error) {
	c := &robertaConfig{
		Vocab: 50265, Hidden: 768, Intermediate: 3072, Layers: 12, Heads: 12, Positions: 512, Types: 2,
		Activation: "gelu", Epsilon: 1e-12, PositionType: "absolute", Padding: 1,
	}
	if s.Architecture.ModelType != "roberta" {
		c.Vocab = 30522
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if err := c.bert().check(s); err != nil {
		return nil, err
	}
	return c, s.pads(c.Padding, c.Vocab, c.Positions)
}

// pads refuses a padding token from whose number positions cannot be counted.
func (s *Source) pads(padding, vocabulary, positions int) error {
	if padding < 0 || padding >= vocabulary || padding+1 >= positions {
		return s.wrong("pad_token_id is %d: positions are counted from the one after it, of %d (max_position_embeddings), and the vocabulary has %d", padding, positions, vocabulary)
	}
	return nil
}

func newRoBERTa(s *Source, o Options) (Model, error) {
	c, err := readRoBERTa(s)
	if err != nil {
		return nil, err
	}
	bert := c.bert()
	m := &encoder{config: bert.shape(s.Architecture), padding: int32(c.Padding)}
	m.config.Context = o.context(c.Positions - c.Padding - 1)
	return m.build(s, "roberta", bert)
}

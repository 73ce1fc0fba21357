package plan

import (
	"fmt"

	"github.com/peft-serve/peft-serve/models"
)

// convolved is the class of DeBERTa-v2 whose first block has a convolution beside it,
// which no forward pass here has: what trains is counted, and no activations.
var convolved = &models.Architecture{Class: "DebertaV2Model", ModelType: "deberta-v2", Tasks: []models.Task{models.Encode}, Feedforward: []string{"output.dense"}}

// encoderConfig is what config.json says of DeBERTa.
type encoderConfig struct {
	Vocab        int  `json:"vocab_size"`
	Hidden       int  `json:"hidden_size"`
	Intermediate int  `json:"intermediate_size"`
	Layers       int  `json:"num_hidden_layers"`
	Heads        int  `json:"num_attention_heads"`
	Positions    int  `json:"max_position_embeddings"`
	Types        int  `json:"type_vocab_size"`
	Conv         int  `json:"conv_kernel_size"`
	Buckets      int  `json:"position_buckets"`
	SharedKey    bool `json:"share_att_key"`
}

func readEncoder(config []byte) (*encoderConfig, error) {
	c := &encoderConfig{}
	err := decode(config, c, func() map[string]int {
		return map[string]int{
			"vocab_size": c.Vocab, "hidden_size": c.Hidden, "intermediate_size": c.Intermediate, "num_hidden_layers": c.Layers,
			"num_attention_heads": c.Heads, "max_position_embeddings": c.Positions,
		}
	})
	if err == nil && c.Hidden%c.Heads != 0 {
		err = fmt.Errorf("hidden_size %d is no multiple of num_attention_heads %d", c.Hidden, c.Heads)
	}
	if err == nil && (c.Types < 0 || c.Types > largestSize || c.Conv < 0 || c.Conv > 64 || c.Buckets < 0 || c.Buckets > largestSize) {
		err = fmt.Errorf("type_vocab_size %d, conv_kernel_size %d, position_buckets %d", c.Types, c.Conv, c.Buckets)
	}
	return c, err
}

func (c *encoderConfig) base(l *layout) *Base {
	return &Base{
		sites: l.sites,
		config: models.Config{
			Vocabulary: c.Vocab, Hidden: c.Hidden, Intermediate: c.Intermediate, Layers: c.Layers,
			Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.Hidden / c.Heads, Context: c.Positions,
		},
	}
}

// block lays out one post-norm block, whose attention modules have the given
// names.
func (c *encoderConfig) block(l *layout, name string, attention ...string) {
	for _, a := range attention {
		l.linear(name+"attention.self."+a, c.Hidden, c.Hidden)
	}
	l.linear(name+"attention.output.dense", c.Hidden, c.Hidden)
	l.sublayer(name + "attention.output")
	l.norm(name+"attention.output.LayerNorm", c.Hidden)
	l.linear(name+"intermediate.dense", c.Intermediate, c.Hidden)
	l.linear(name+"output.dense", c.Hidden, c.Intermediate)
	l.sublayer(name + "output")
	l.norm(name+"output.LayerNorm", c.Hidden)
}

// readDeBERTa lays out DeBERTa-v2: shared relative positions and, where
// conv_kernel_size is set, a convolution beside the first block.
func readDeBERTa(config []byte) (*Base, error) {
	c, err := readEncoder(config)
	if err != nil {
		return nil, err
	}
	if !c.SharedKey {
		return nil, fmt.Errorf("share_att_key false is not known")
	}
	l := &layout{layer: -1}
	l.embedding("deberta.embeddings.word_embeddings", c.Vocab, c.Hidden)
	l.norm("deberta.embeddings.LayerNorm", c.Hidden)
	for i := range c.Layers {
		l.layer = i
		c.block(l, fmt.Sprintf("deberta.encoder.layer.%d.", i), "query_proj", "key_proj", "value_proj")
	}
	l.layer = -1
	l.embedding("deberta.encoder.rel_embeddings", 2*max(c.Buckets, 1), c.Hidden)
	l.norm("deberta.encoder.LayerNorm", c.Hidden)
	if c.Conv > 0 {
		l.linear("deberta.encoder.conv.conv", c.Hidden, c.Hidden*c.Conv)
		l.norm("deberta.encoder.conv.LayerNorm", c.Hidden)
	}
	return c.base(l), nil
}

package plan

import (
	"fmt"

	"github.com/peft-serve/peft-serve/models"
)

// readLlama lays out the Llama family, as models/llama.go builds it.
func readLlama(config []byte, kind string) (*Base, error) {
	c := struct {
		Vocab        int  `json:"vocab_size"`
		Hidden       int  `json:"hidden_size"`
		Intermediate int  `json:"intermediate_size"`
		Layers       int  `json:"num_hidden_layers"`
		Heads        int  `json:"num_attention_heads"`
		KVHeads      int  `json:"num_key_value_heads"`
		HeadDim      int  `json:"head_dim"`
		Context      int  `json:"max_position_embeddings"`
		Tied         bool `json:"tie_word_embeddings"`
		Bias         bool `json:"attention_bias"`
		MLPBias      bool `json:"mlp_bias"`
	}{Context: 2048}
	if kind == "qwen3" {
		c.HeadDim = 128
	}
	err := decode(config, &c, func() map[string]int {
		if c.KVHeads == 0 {
			c.KVHeads = c.Heads
		}
		if c.HeadDim == 0 && c.Heads > 0 {
			c.HeadDim = c.Hidden / c.Heads
		}
		return map[string]int{
			"vocab_size": c.Vocab, "hidden_size": c.Hidden, "intermediate_size": c.Intermediate, "num_hidden_layers": c.Layers,
			"num_attention_heads": c.Heads, "num_key_value_heads": c.KVHeads, "head_dim": c.HeadDim, "max_position_embeddings": c.Context,
		}
	})
	if err == nil && c.Heads%c.KVHeads != 0 {
		err = fmt.Errorf("num_attention_heads %d is no multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	}
	if err != nil {
		return nil, err
	}
	l := &layout{layer: -1}
	l.embedding("model.embed_tokens", c.Vocab, c.Hidden)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for i := range c.Layers {
		l.layer = i
		name := fmt.Sprintf("model.layers.%d.", i)
		l.norm(name+"input_layernorm", c.Hidden, false)
		l.linear(name+"self_attn.q_proj", q, c.Hidden, c.Bias || kind == "qwen2")
		l.linear(name+"self_attn.k_proj", kv, c.Hidden, c.Bias || kind == "qwen2")
		l.linear(name+"self_attn.v_proj", kv, c.Hidden, c.Bias || kind == "qwen2")
		l.linear(name+"self_attn.o_proj", c.Hidden, q, c.Bias && kind != "qwen2")
		if kind == "qwen3" {
			l.norm(name+"self_attn.q_norm", c.HeadDim, false)
			l.norm(name+"self_attn.k_norm", c.HeadDim, false)
		}
		l.sublayer(name + "self_attn")
		l.norm(name+"post_attention_layernorm", c.Hidden, false)
		l.linear(name+"mlp.gate_proj", c.Intermediate, c.Hidden, c.MLPBias)
		l.linear(name+"mlp.up_proj", c.Intermediate, c.Hidden, c.MLPBias)
		l.linear(name+"mlp.down_proj", c.Hidden, c.Intermediate, c.MLPBias)
		l.sublayer(name + "mlp")
	}
	l.layer = -1
	l.norm("model.norm", c.Hidden, false)
	l.head("lm_head", c.Vocab, c.Hidden)
	return &Base{
		sites: l.sites,
		config: models.Config{
			Vocabulary: c.Vocab, Hidden: c.Hidden, Intermediate: c.Intermediate, Layers: c.Layers,
			Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Context: c.Context, Tied: c.Tied,
		},
		shape: shape{decoder: true, gated: true, queryNorm: kind == "qwen3"},
	}, nil
}

// readGPT2 lays out GPT-2, as models/gpt2.go builds it.
func readGPT2(config []byte, _ string) (*Base, error) {
	c := struct {
		Vocab     int  `json:"vocab_size"`
		Hidden    int  `json:"n_embd"`
		Inner     int  `json:"n_inner"`
		Layers    int  `json:"n_layer"`
		Heads     int  `json:"n_head"`
		Positions int  `json:"n_positions"`
		Tied      bool `json:"tie_word_embeddings"`
	}{Tied: true}
	err := decode(config, &c, func() map[string]int {
		if c.Inner == 0 {
			c.Inner = 4 * c.Hidden
		}
		return map[string]int{
			"vocab_size": c.Vocab, "n_embd": c.Hidden, "n_inner": c.Inner, "n_layer": c.Layers, "n_head": c.Heads, "n_positions": c.Positions,
		}
	})
	if err == nil && c.Hidden%c.Heads != 0 {
		err = fmt.Errorf("n_embd %d is no multiple of n_head %d", c.Hidden, c.Heads)
	}
	if err != nil {
		return nil, err
	}
	l := &layout{layer: -1}
	l.embedding("transformer.wte", c.Vocab, c.Hidden)
	l.embedding("transformer.wpe", c.Positions, c.Hidden)
	for i := range c.Layers {
		l.layer = i
		name := fmt.Sprintf("transformer.h.%d.", i)
		l.norm(name+"ln_1", c.Hidden, true)
		l.conv1D(name+"attn.c_attn", 3*c.Hidden, c.Hidden)
		l.conv1D(name+"attn.c_proj", c.Hidden, c.Hidden)
		l.sublayer(name + "attn")
		l.norm(name+"ln_2", c.Hidden, true)
		l.conv1D(name+"mlp.c_fc", c.Inner, c.Hidden)
		l.conv1D(name+"mlp.c_proj", c.Hidden, c.Inner)
		l.sublayer(name + "mlp")
	}
	l.layer = -1
	l.norm("transformer.ln_f", c.Hidden, true)
	l.head("lm_head", c.Vocab, c.Hidden)
	return &Base{
		sites: l.sites,
		config: models.Config{
			Vocabulary: c.Vocab, Hidden: c.Hidden, Intermediate: c.Inner, Layers: c.Layers,
			Heads: c.Heads, KVHeads: c.Heads, HeadDim: c.Hidden / c.Heads, Context: c.Positions, Tied: c.Tied,
		},
		shape: shape{decoder: true, fused: true},
	}, nil
}

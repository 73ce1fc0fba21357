package plan

import (
	"fmt"

	"github.com/peft-serve/peft-serve/models"
)

// published lists models by the configurations on their Hugging Face pages, so
// that a plan needs no file at all.
var published = []publication{
	{"roberta-base", 125e6, encoder("roberta", 50265, 768, 3072, 12, 12, 514, 1, "")},
	{"roberta-large", 355e6, encoder("roberta", 50265, 1024, 4096, 24, 16, 514, 1, "")},
	{"deberta-v2-xxlarge", 1.5e9, encoder("deberta-v2", 128100, 1536, 6144, 48, 24, 512, 0,
		`, "relative_attention": true, "share_att_key": true, "pos_att_type": "p2c|c2p", "norm_rel_ebd": "layer_norm", "position_biased_input": false,
		"max_relative_positions": -1, "position_buckets": 256, "conv_kernel_size": 3, "conv_act": "gelu", "layer_norm_eps": 1e-7`)},
	{"llama-7b", 7e9, decoder("Llama", 32000, 4096, 11008, 32, 32, 32, 2048, false)},
	{"llama-13b", 13e9, decoder("Llama", 32000, 5120, 13824, 40, 40, 40, 2048, false)},
	{"llama-2-7b", 7e9, decoder("Llama", 32000, 4096, 11008, 32, 32, 32, 4096, false)},
	{"llama-3-8b", 8e9, decoder("Llama", 128256, 4096, 14336, 32, 32, 8, 8192, false)},
	{"mistral-7b", 7e9, decoder("Mistral", 32000, 4096, 14336, 32, 32, 8, 32768, false)},
	{"tinyllama", 1.1e9, decoder("Llama", 32000, 2048, 5632, 22, 32, 4, 2048, false)},
	{"smollm2-135m", 135e6, decoder("Llama", 49152, 576, 1536, 30, 9, 3, 8192, true)},
	{"gpt2-small", 124e6, `{"architectures": ["GPT2LMHeadModel"], "dtype": "float32", "vocab_size": 50257,
		"n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}`},
}

type publication struct {
	name    string
	nominal float64
	config  string
}

// Published lists the names of the models whose shapes are known by name.
func Published() []string {
	var names []string
	for _, p := range published {
		names = append(names, p.name)
	}
	return names
}

func (p publication) base() (*Base, error) {
	b, err := Parse(p.name, []byte(p.config), models.Options{})
	if err != nil {
		return nil, err
	}
	b.Nominal = p.nominal
	return b, nil
}

func encoder(kind string, vocabulary, hidden, intermediate, layers, heads, positions, types int, more string) string {
	return fmt.Sprintf(`{"model_type": %q, "dtype": "float32", "vocab_size": %d, "hidden_size": %d, "intermediate_size": %d,
		"num_hidden_layers": %d, "num_attention_heads": %d, "max_position_embeddings": %d, "type_vocab_size": %d%s}`,
		kind, vocabulary, hidden, intermediate, layers, heads, positions, types, more)
}

func decoder(class string, vocabulary, hidden, intermediate, layers, heads, kvHeads, context int, tied bool) string {
	return fmt.Sprintf(`{"architectures": ["%sForCausalLM"], "dtype": "bfloat16", "vocab_size": %d, "hidden_size": %d,
		"intermediate_size": %d, "num_hidden_layers": %d, "num_attention_heads": %d, "num_key_value_heads": %d,
		"max_position_embeddings": %d, "tie_word_embeddings": %t}`,
		class, vocabulary, hidden, intermediate, layers, heads, kvHeads, context, tied)
}

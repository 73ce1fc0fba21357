package models

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/gguf"
)

// ggufArchitectures maps general.architecture to transformers' class. Mistral
// is written as "llama".
var ggufArchitectures = map[string]string{
	"llama": "LlamaForCausalLM",
	"qwen2": "Qwen2ForCausalLM",
	"qwen3": "Qwen3ForCausalLM",
	"gpt2":  "GPT2LMHeadModel",
}

func openGGUF(path string, private bool) (*Source, error) {
	open := gguf.Open
	if private {
		open = gguf.OpenPrivate
	}
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	name, ok := f.String("general.architecture")
	if !ok {
		return nil, fmt.Errorf("%s: general.architecture is missing", path)
	}
	class, ok := ggufArchitectures[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w: %q", path, ErrArchitecture, name)
	}
	t := &ggufTensors{File: f, rename: ggufLlamaName}
	if private {
		t.turned = map[string]bool{}
	}
	config, err := ggufLlamaConfig(f, name)
	if name == "gpt2" {
		t.rename = ggufGPT2Name
		config, err = ggufGPT2Config(f)
	}
	if name == "llama" {
		// Its converter interleaves the rotary halves of each head.
		t.heads, _ = f.Int("llama.attention.head_count")
		t.kvHeads = t.heads
		if n, ok := f.Int("llama.attention.head_count_kv"); ok {
			t.kvHeads = n
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	config["architectures"], config["model_type"] = []string{class}, name
	bos, eos := ggufSpecial(f)
	if bos >= 0 {
		config["bos_token_id"] = bos
	}
	if len(eos) > 0 {
		config["eos_token_id"] = eos
	}
	b, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Source{Name: path, Architecture: class, GGUF: f, config: b, tensors: t}, nil
}

// ggufTensors reads tensors of a GGUF file under transformers' names.
type ggufTensors struct {
	*gguf.File
	rename         func(string) string
	heads, kvHeads int // above 0: rows of q and k are interleaved by head
	// turned holds the names of tensors whose rows have been put in order
	// where they are; nil where the file cannot be written to.
	turned map[string]bool
}

func (t *ggufTensors) Has(name string) bool {
	_, ok := t.Lookup(t.rename(name))
	return ok
}

func (t *ggufTensors) Weight(name string) (kernels.Weight, error) {
	w, err := t.File.Weight(t.rename(name))
	if err != nil || t.heads == 0 {
		return w, err
	}
	switch {
	case strings.HasSuffix(name, "self_attn.q_proj.weight"):
		return t.halved(name, w, w.Rows, t.heads), nil
	case strings.HasSuffix(name, "self_attn.k_proj.weight"):
		return t.halved(name, w, w.Rows, t.kvHeads), nil
	case strings.HasSuffix(name, "self_attn.q_proj.bias"):
		return t.halved(name, w, w.Cols, t.heads), nil
	case strings.HasSuffix(name, "self_attn.k_proj.bias"):
		return t.halved(name, w, w.Cols, t.kvHeads), nil
	}
	return w, nil
}

// halved undoes the permutation of llama.cpp's converter (LlamaModel.permute):
// within each head its rows 2i and 2i+1 are transformers' rows i and i+dim/2.
// n is the number of outputs. It is done in place where the file can be
// written to, so that no weight is held twice.
func (t *ggufTensors) halved(name string, w kernels.Weight, n, heads int) kernels.Weight {
	if n == 0 || heads == 0 || n%(2*heads) != 0 || t.turned[name] { // another shape is refused later, by name
		return w
	}
	to := w.Data
	if t.turned == nil {
		to = make([]byte, len(w.Data))
	} else {
		t.turned[name] = true
	}
	size, dim := len(w.Data)/n, n/heads
	head := make([]byte, dim*size)
	for h := range heads {
		copy(head, w.Data[h*dim*size:])
		for i := range dim {
			from := 2*(i%(dim/2)) + i/(dim/2)
			copy(to[(h*dim+i)*size:][:size], head[from*size:])
		}
	}
	return kernels.NewWeight(w.Format, w.Rows, w.Cols, to)
}

var blockName = regexp.MustCompile(`^(?:model\.layers|transformer\.h)\.(\d+)\.(.*)\.(weight|bias)$`)

// ggufNames renames by exact module, and inside block N to "blk.N.…".
func ggufNames(outside, inside map[string]string) func(string) string {
	return func(name string) string {
		if m := blockName.FindStringSubmatch(name); m != nil {
			if to, ok := inside[m[2]]; ok {
				return "blk." + m[1] + "." + to + "." + m[3]
			}
			return name
		}
		i := strings.LastIndexByte(name, '.')
		if to, ok := outside[name[:max(i, 0)]]; ok {
			return to + name[i:]
		}
		return name
	}
}

var ggufLlamaName = ggufNames(
	map[string]string{"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"},
	map[string]string{
		"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
		"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
		"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
		"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
	})

var ggufGPT2Name = ggufNames(
	map[string]string{"transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm", "lm_head": "output"},
	map[string]string{
		"ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
		"mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
	})

// ggufLlamaConfig writes GGUF metadata as transformers' configuration.
func ggufLlamaConfig(f *gguf.File, prefix string) (map[string]any, error) {
	k := ggufKeys{f, prefix + "."}
	c := map[string]any{"hidden_act": "silu", "attention_bias": false}
	k.int(c, "hidden_size", "embedding_length")
	k.int(c, "intermediate_size", "feed_forward_length")
	k.int(c, "num_hidden_layers", "block_count")
	k.int(c, "num_attention_heads", "attention.head_count")
	k.int(c, "num_key_value_heads", "attention.head_count_kv")
	k.int(c, "head_dim", "attention.key_length")
	k.int(c, "max_position_embeddings", "context_length")
	k.float(c, "rms_norm_eps", "attention.layer_norm_rms_epsilon")
	k.float(c, "rope_theta", "rope.freq_base")
	k.int(c, "sliding_window", "attention.sliding_window")
	if d, ok := f.Int(k.prefix + "rope.dimension_count"); ok {
		if h, ok := c["head_dim"].(int); ok && h != d {
			return nil, fmt.Errorf("rope.dimension_count %d of heads of %d is not implemented", d, h)
		}
		c["head_dim"] = d
	}
	if kind, ok := f.String(k.prefix + "rope.scaling.type"); ok && kind != "none" {
		scaling := map[string]any{"rope_type": kind}
		k.float(scaling, "factor", "rope.scaling.factor")
		k.int(scaling, "original_max_position_embeddings", "rope.scaling.original_context_length")
		c["rope_scaling"] = scaling
	}
	return c, k.vocabulary(c)
}

func ggufGPT2Config(f *gguf.File) (map[string]any, error) {
	k := ggufKeys{f, "gpt2."}
	c := map[string]any{"activation_function": "gelu_new"}
	k.int(c, "n_embd", "embedding_length")
	k.int(c, "n_inner", "feed_forward_length")
	k.int(c, "n_layer", "block_count")
	k.int(c, "n_head", "attention.head_count")
	k.int(c, "n_positions", "context_length")
	k.float(c, "layer_norm_epsilon", "attention.layer_norm_epsilon")
	return c, k.vocabulary(c)
}

// ggufKeys copies metadata values into a configuration.
type ggufKeys struct {
	f      *gguf.File
	prefix string
}

func (k ggufKeys) int(c map[string]any, key, from string) {
	if v, ok := k.f.Int(k.prefix + from); ok {
		c[key] = v
	}
}

func (k ggufKeys) float(c map[string]any, key, from string) {
	if v, ok := k.f.Float(k.prefix + from); ok {
		c[key] = decimal(v)
	}
}

// decimal is a float64 that JSON writes with a point or an exponent, by which
// transformers tells it from an integer.
type decimal float64

func (d decimal) MarshalJSON() ([]byte, error) {
	b := strconv.AppendFloat(nil, float64(d), 'g', -1, 64)
	if !bytes.ContainsAny(b, ".e") {
		b = append(b, ".0"...)
	}
	return b, nil
}

func (k ggufKeys) vocabulary(c map[string]any) error {
	t, err := k.f.Tensor("token_embd.weight")
	if err != nil {
		return err
	}
	w, err := t.Weight()
	if err != nil {
		return err
	}
	c["vocab_size"] = w.Rows
	_, separate := k.f.Lookup("output.weight")
	c["tie_word_embeddings"] = !separate
	return nil
}

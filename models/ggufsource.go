package models

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/gguf"
)

// ggufArchitectures maps general.architecture to transformers' class. Mistral
// is written as "llama".
var ggufArchitectures = map[string]string{
	"llama": llamaClass,
	"qwen2": qwen2Class,
	"qwen3": qwen3Class,
	"gpt2":  "GPT2LMHeadModel",
}

func (s *Source) openGGUF(o Options) error {
	open := gguf.Open
	if s.private {
		open = gguf.OpenPrivate
	}
	f, err := open(s.Name)
	if err != nil {
		return err
	}
	name, ok := f.String("general.architecture")
	class, known := ggufArchitectures[name]
	t := &ggufTensors{File: f, rename: ggufLlamaName}
	if s.private {
		t.turned = map[string]bool{}
	}
	s.GGUF, s.tensors = f, t
	switch {
	case !ok:
		return fmt.Errorf("%s: general.architecture is missing", s.Name)
	case !known:
		return fmt.Errorf("%s: %w: %q", s.Name, ErrArchitecture, name)
	}
	k := &ggufKeys{s: s, prefix: name + ".", ignored: o.IgnoreConfigKeys, read: map[string]bool{}}
	var config map[string]any
	if name == "gpt2" {
		t.rename = ggufGPT2Name
		config = k.gpt2()
	} else {
		config = k.llama()
	}
	k.vocabulary(config)
	k.checkTokenizer()
	k.finish()
	if err := s.err(); err != nil {
		return err
	}
	if name == "llama" {
		// Its converter interleaves the rotary halves of each head.
		t.heads, _ = config["num_attention_heads"].(int)
		t.kvHeads = t.heads
		if n, ok := config["num_key_value_heads"].(int); ok {
			t.kvHeads = n
		}
		if window, _ := config["sliding_window"].(int); window > 0 || o.SlidingWindow != nil && *o.SlidingWindow > 0 {
			class = mistralClass
		} else if o.SlidingWindow == nil {
			s.warnOfWindow(config)
		}
	}
	config["architectures"], config["model_type"] = []string{class}, architectures[class].modelType
	bos, eos := ggufSpecial(f)
	if bos >= 0 {
		config["bos_token_id"] = bos
	}
	if len(eos) > 0 {
		config["eos_token_id"] = eos
	}
	b, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	o.IgnoreConfigKeys = nil // they are the metadata's
	return s.configure(b, o)
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

func (t *ggufTensors) stored(name string) string { return t.rename(name) }

func (t *ggufTensors) Names() (names []string) {
	for _, tensor := range t.Tensors() {
		names = append(names, tensor.Name)
	}
	return names
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

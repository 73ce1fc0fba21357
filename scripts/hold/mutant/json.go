package mutant

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// node is a JSON value whose members stay in order, and may repeat a key.
type node struct {
	raw     string // of a number, a text, true, false or null
	members []member
	items   []*node
	open    byte // '{' or '['; 0: raw
}

type member struct {
	key   string
	value *node
}

var errJSON = errors.New("not JSON")

func parseJSON(b []byte) (*node, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	n, err := parseNode(dec)
	if err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errJSON
	}
	return n, nil
}

func parseNode(dec *json.Decoder) (*node, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		raw, err := json.Marshal(token)
		return &node{raw: string(raw)}, err
	}
	n := &node{open: byte(delim)}
	for dec.More() {
		var m member
		if n.open == '{' {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			m.key = key.(string)
		}
		if m.value, err = parseNode(dec); err != nil {
			return nil, err
		}
		if n.open == '{' {
			n.members = append(n.members, m)
		} else {
			n.items = append(n.items, m.value)
		}
	}
	_, err = dec.Token()
	return n, err
}

func (n *node) append(b []byte) []byte {
	switch n.open {
	case '{':
		b = append(b, '{')
		for i, m := range n.members {
			if i > 0 {
				b = append(b, ',')
			}
			key, _ := json.Marshal(m.key)
			b = m.value.append(append(append(b, key...), ':'))
		}
		return append(b, '}')
	case '[':
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.append(b)
		}
		return append(b, ']')
	}
	return append(b, n.raw...)
}

// place is a value's: in members or in items of its parent, which is nil of the
// whole.
type place struct {
	parent *node
	index  int
	path   string
}

// places are those of all values below n, at most so many of each list: a
// vocabulary is not all there is to a tokenizer.
func (n *node) places(path string) (all []place) {
	const most = 12
	for i, m := range n.members {
		if i < most || n.open == '{' && len(n.members) < 4*most {
			at := path + "." + m.key
			all = append(append(all, place{n, i, at}), m.value.places(at)...)
		}
	}
	for i, item := range n.items {
		if i < most {
			at := fmt.Sprintf("%s[%d]", path, i)
			all = append(append(all, place{n, i, at}), item.places(at)...)
		}
	}
	return all
}

func (p place) value() *node {
	if p.parent.open == '{' {
		return p.parent.members[p.index].value
	}
	return p.parent.items[p.index]
}

func (p place) set(n *node) {
	if p.parent.open == '{' {
		p.parent.members[p.index].value = n
	} else {
		p.parent.items[p.index] = n
	}
}

// oddValues are some that a reader may not expect.
var oddValues = []string{
	`null`, `true`, `false`, `0`, `1`, `-1`, `2`, `3`, `7`, `0.5`, `-0.0`, `1e308`, `-1e308`, `1e999`, `1e-320`, `4294967296`, `2147483647`,
	`9007199254740993`, `9223372036854775807`, `-9223372036854775808`, `18446744073709551615`, `1` + strings.Repeat("0", 400),
	`""`, `"a"`, `"0"`, `"1"`, `"true"`, `"null"`, `"\u0000"`, `"\ud800"`, "\"\xff\"", `"../../../../etc/passwd"`, `"(a+)+$"`, `".*"`, `"("`, `"[z-a]"`, `"(?P<x>a)(?P=x)"`,
	`[]`, `{}`, `[null]`, `[[]]`, `{"":{}}`, `[1,2,3]`, `{"a":1}`, `NaN`, `Infinity`, `-Infinity`, `01`, `'a'`, `tru`,
	`"` + strings.Repeat("a", 100_000) + `"`, `"` + strings.Repeat("(", 3000) + `"`, `"` + strings.Repeat("a|", 2000) + `"`,
	strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), strings.Repeat(`{"a":`, 9_000) + `1` + strings.Repeat("}", 9_000),
	`[` + strings.Repeat("0,", 50_000) + `0]`,
}

// knownKeys are some that configurations of bases and adapters have, or had, or
// might.
var knownKeys = []string{
	"use_rslora", "use_dora", "lora_bias", "bias", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern",
	"modules_to_save", "exclude_modules", "target_modules", "target_parameters", "fan_in_fan_out", "init_lora_weights", "layer_replication",
	"trainable_token_indices", "alora_invocation_tokens", "feedforward_modules", "peft_type", "task_type", "num_virtual_tokens", "token_dim",
	"ensure_weight_tying", "megatron_config", "loftq_config", "corda_config", "inference_mode", "revision", "auto_mapping", "projection_prng_key",
	"save_projection", "d_initial", "mini_r", "prefix_projection", "encoder_hidden_size", "scaling", "use_gating",
	"num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size", "vocab_size",
	"rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "sliding_window", "layer_types", "hidden_act", "rms_norm_eps", "attention_bias",
	"mlp_bias", "tie_word_embeddings", "max_position_embeddings", "logit_scale", "final_logit_softcapping", "query_pre_attn_scalar",
	"quantization_config", "torch_dtype", "dtype", "bos_token_id", "eos_token_id", "pad_token_id", "num_experts", "norm_topk_prob", "use_cache",
	"id2label", "label2id", "num_labels", "problem_type", "task_type", "type_vocab_size", "position_embedding_type", "layer_norm_eps", "architectures",
	"pooling_mode", "pooling_mode_cls_token", "pooling_mode_max_tokens", "word_embedding_dimension", "include_prompt", "in_features", "out_features",
	"activation_function", "max_seq_length", "do_lower_case", "model_max_length", "prompts", "default_prompt_name", "similarity_fn_name", "path", "kwargs",
	"chat_template", "added_tokens_decoder", "add_bos_token", "unk_token", "eos_token", "normalizer", "pre_tokenizer", "post_processor", "truncation",
}

// mutateJSON changes one value or one key of a configuration.
func mutateJSON(draw *rand.Rand, b []byte) ([]byte, string, error) {
	return JSON(draw, b, knownKeys)
}

// JSON changes one value or one key, which may become one of some keys.
func JSON(draw *rand.Rand, b []byte, keys []string) ([]byte, string, error) {
	n, err := parseJSON(b)
	if err != nil {
		return nil, "", err
	}
	places := n.places("")
	if len(places) == 0 {
		return nil, "", errJSON
	}
	p := places[draw.IntN(len(places))]
	did := p.mutate(draw, places, keys)
	return n.append(nil), p.path + ": " + did, nil
}

func (p place) mutate(draw *rand.Rand, all []place, keys []string) string {
	odd := func() *node { return &node{raw: oddValues[draw.IntN(len(oddValues))]} }
	object := p.parent.open == '{'
	switch draw.IntN(10) {
	case 0:
		if object {
			p.parent.members = slices.Delete(slices.Clone(p.parent.members), p.index, p.index+1)
		} else {
			p.parent.items = slices.Delete(slices.Clone(p.parent.items), p.index, p.index+1)
		}
		return "removed"
	case 1:
		if object {
			m := &p.parent.members[p.index]
			m.key = [...]string{m.key + " ", m.key + "x", strings.ToUpper(m.key), "", "_" + m.key, keys[draw.IntN(len(keys))]}[draw.IntN(6)]
			return fmt.Sprintf("renamed to %q", m.key)
		}
	case 2:
		if object {
			again := member{p.parent.members[p.index].key, odd()}
			p.parent.members = slices.Insert(slices.Clone(p.parent.members), p.index+draw.IntN(2), again)
			return "twice, once as " + short(again.value.raw)
		}
	case 3:
		other := all[draw.IntN(len(all))]
		p.set(&node{raw: string(other.value().append(nil))}) // which may hold p
		return "the value of " + other.path
	case 4, 5:
		if object {
			m := member{keys[draw.IntN(len(keys))], odd()}
			p.parent.members = append(slices.Clone(p.parent.members), m)
			return "beside it " + m.key + " " + short(m.value.raw)
		}
	case 6, 7, 8:
		if to := nudge(draw, p.value().raw); to != "" {
			p.set(&node{raw: to})
			return "now " + short(to)
		}
	}
	n := odd()
	p.set(n)
	return "now " + short(n.raw)
}

// nudge is a value like the one at hand.
func nudge(draw *rand.Rand, raw string) string {
	var number float64
	switch {
	case raw == "true":
		return "false"
	case raw == "false":
		return "true"
	case raw == "" || raw == "null":
		return ""
	case raw[0] == '"':
		text := raw[1 : len(raw)-1]
		return `"` + [...]string{text + "x", strings.TrimPrefix(text, text[:min(1, len(text))]), strings.ToUpper(text), text + "|" + text, ".*" + text, text + " "}[draw.IntN(6)] + `"`
	case json.Unmarshal([]byte(raw), &number) != nil:
		return ""
	}
	return [...]string{
		fmt.Sprint(number + 1), fmt.Sprint(number - 1), fmt.Sprint(-number), fmt.Sprint(number * 2), fmt.Sprint(number / 2),
		fmt.Sprintf("%g", number+0.5), fmt.Sprintf("%.1f", number), fmt.Sprintf("%.0fe3", number), `"` + raw + `"`,
	}[draw.IntN(9)]
}

func short(raw string) string {
	if len(raw) > 40 {
		return fmt.Sprintf("%q… (%d bytes)", raw[:20], len(raw))
	}
	return raw
}

package models

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/models/gguf"
)

// ggufKeys reads the metadata under an architecture's prefix as transformers'
// configuration, and knows what it has read.
type ggufKeys struct {
	s       *Source
	prefix  string
	options Options
	read    map[string]bool // by whole key
}

// config reads the metadata of an architecture, to the last key.
func (k *ggufKeys) config(a *Architecture) map[string]any {
	c := map[string]any{"architectures": []string{a.Class}, "model_type": a.ModelType}
	maps.Copy(c, a.gguf.read(k))
	k.vocabulary(c)
	k.checkTokenizer()
	k.finish()
	return c
}

// decoder reads what decoders with RMSNorm and rotary positions have in common.
func (k *ggufKeys) decoder() map[string]any {
	c := map[string]any{}
	k.int(c, "hidden_size", "embedding_length")
	k.int(c, "intermediate_size", "feed_forward_length")
	k.int(c, "num_hidden_layers", "block_count")
	k.int(c, "num_attention_heads", "attention.head_count")
	k.int(c, "num_key_value_heads", "attention.head_count_kv")
	k.int(c, "max_position_embeddings", "context_length")
	if k.float(c, "rms_norm_eps", "attention.layer_norm_rms_epsilon"); c["rms_norm_eps"] == nil {
		k.s.fault("metadata: %sattention.layer_norm_rms_epsilon is missing", k.prefix)
	}
	k.float(c, "rope_theta", "rope.freq_base")
	k.headDim(c)
	if scaling := k.ropeScaling(); scaling != nil {
		c["rope_scaling"] = scaling
	}
	return c
}

// headDim reads the size of a head, which is said up to three times.
func (k *ggufKeys) headDim(c map[string]any) {
	hidden, _ := c["hidden_size"].(int)
	heads, _ := c["num_attention_heads"].(int)
	if k.int(c, "head_dim", "attention.key_length"); c["head_dim"] == nil && heads > 0 {
		c["head_dim"] = hidden / heads
	}
	for _, key := range []string{"attention.value_length", "rope.dimension_count"} {
		if d, ok := k.number(key); ok && c["head_dim"] != nil && int(d) != c["head_dim"] {
			k.s.fault("metadata: %s is %g of heads of %d, which is not implemented", k.prefix+key, d, c["head_dim"])
		}
	}
}

// ropeScaling reads the scaling as transformers writes it: "linear" where a
// factor stands without a type, as in llama.cpp.
func (k *ggufKeys) ropeScaling() map[string]any {
	kind, typed := k.text("rope.scaling.type")
	factor, scaled := k.number("rope.scaling.factor")
	if old, ok := k.number("rope.scale_linear"); ok && !scaled {
		factor = old
	}
	original, _ := k.number("rope.scaling.original_context_length")
	fast, _ := k.number("rope.scaling.yarn_beta_fast")
	slow, _ := k.number("rope.scaling.yarn_beta_slow")
	attention, attends := k.number("rope.scaling.yarn_attn_factor")
	k.only("rope.scaling.yarn_log_multiplier", 0)
	k.only("rope.scaling.alpha", 0)
	k.only("rope.scaling.attn_factor", 1)
	if !typed && factor != 0 && factor != 1 {
		kind = "linear"
	}
	if kind == "yarn" {
		k.only("rope.scaling.yarn_ext_factor", 1, -1) // -1: not set
		c := map[string]any{"rope_type": kind, "factor": decimal(factor)}
		for key, v := range map[string]float64{"beta_fast": fast, "beta_slow": slow} {
			if v != 0 {
				c[key] = decimal(v)
			}
		}
		if original != 0 {
			c["original_max_position_embeddings"] = int(original)
		}
		if attends {
			c["attention_factor"] = decimal(attention)
		}
		return c
	}
	k.only("rope.scaling.yarn_ext_factor", 0, -1)
	if attends && attention != 1 {
		k.s.fault("metadata: %srope.scaling.yarn_attn_factor is %g without rope.scaling.type yarn", k.prefix, attention)
	}
	switch {
	case kind == "linear" && factor != 0 && factor != 1:
		return map[string]any{"rope_type": kind, "factor": decimal(factor)}
	case kind != "" && kind != "none" && kind != "linear":
		k.s.fault("metadata: %srope.scaling.type %q is not implemented", k.prefix, kind)
	}
	return nil
}

// vocabulary is the number of rows of the embedding, to which the head is tied
// where it has no tensor of its own.
func (k *ggufKeys) vocabulary(c map[string]any) {
	w, err := k.s.GGUF.Weight("token_embd.weight")
	if err != nil {
		k.s.fault("%w", err)
		return
	}
	c["vocab_size"] = w.Rows
	if n, ok := k.number("vocab_size"); ok && int(n) != w.Rows {
		k.s.fault("metadata: %svocab_size is %g, and token_embd.weight has %d rows", k.prefix, n, w.Rows)
	}
	_, separate := k.s.GGUF.Lookup("output.weight")
	c["tie_word_embeddings"] = !separate
}

// finish notes each key of the architecture that is neither read nor inert.
func (k *ggufKeys) finish() {
	for _, key := range k.options.IgnoreConfigKeys {
		k.s.warnIgnored(key, strings.HasPrefix(key, k.prefix) && slices.Contains(k.s.GGUF.Keys(), key))
	}
	for _, key := range k.s.GGUF.Keys() {
		name, own := strings.CutPrefix(key, k.prefix)
		if !own || k.read[key] || slices.Contains(k.options.IgnoreConfigKeys, key) {
			continue
		}
		rule, ok := inertMetadata[name]
		if !ok {
			k.s.faultUnknown("metadata", key)
			continue
		}
		v, _ := k.s.GGUF.Value(key)
		if b, err := json.Marshal(v); err != nil || !rule.allows(b) {
			k.s.faultValue("metadata", key, fmt.Append(nil, v), rule)
		}
	}
}

// value reads a key, unless it is ignored.
func (k *ggufKeys) value(key string) (any, bool) {
	key = k.prefix + key
	if slices.Contains(k.options.IgnoreConfigKeys, key) {
		return nil, false
	}
	k.read[key] = true
	return k.s.GGUF.Value(key)
}

// number reads a number, or a list with the same one for each layer.
func (k *ggufKeys) number(key string) (float64, bool) {
	v, ok := k.value(key)
	if !ok {
		return 0, false
	}
	if list, isList := v.([]any); isList && len(list) > 0 {
		v = list[0]
		for _, other := range list {
			if other != v {
				k.s.fault("metadata: %s%s is not the same for each layer, which is not implemented", k.prefix, key)
				return 0, false
			}
		}
	}
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	k.s.fault("metadata: %s%s is %v, not a number", k.prefix, key, v)
	return 0, false
}

func (k *ggufKeys) text(key string) (string, bool) {
	v, ok := k.value(key)
	text, isText := v.(string)
	if ok && !isText {
		k.s.fault("metadata: %s%s is %v, not a text", k.prefix, key, v)
	}
	return text, ok && isText
}

// only notes a number that is none of those under which the key does nothing.
func (k *ggufKeys) only(key string, inert ...float64) {
	if v, ok := k.number(key); ok && !slices.Contains(inert, v) {
		k.s.fault("metadata: %s%s is %g, which is not implemented; --ignore-config-key %s%s leaves it out", k.prefix, key, v, k.prefix, key)
	}
}

func (k *ggufKeys) int(c map[string]any, key, from string) {
	v, ok := k.number(from)
	if ok && v != float64(int(v)) {
		k.s.fault("metadata: %s%s is %g, not a whole number", k.prefix, from, v)
	} else if ok {
		c[key] = int(v)
	}
}

func (k *ggufKeys) float(c map[string]any, key, from string) {
	if v, ok := k.number(from); ok {
		c[key] = decimal(v)
	}
}

// anyTensor reports whether a block has one of the tensors.
func (k *ggufKeys) anyTensor(names ...string) bool {
	return slices.ContainsFunc(k.s.GGUF.Tensors(), func(t gguf.Tensor) bool {
		block, name, _ := strings.Cut(strings.TrimPrefix(t.Name, "blk."), ".")
		return block != "" && slices.Contains(names, name)
	})
}

// decimal is a float64 that JSON writes with a point or an exponent, by which
// transformers tells it from an integer.
type decimal float64

// MarshalJSON implements json.Marshaler.
func (d decimal) MarshalJSON() ([]byte, error) {
	b := strconv.AppendFloat(nil, float64(d), 'g', -1, 64)
	if !bytes.ContainsAny(b, ".e") {
		b = append(b, ".0"...)
	}
	return b, nil
}

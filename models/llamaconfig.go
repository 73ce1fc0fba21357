package models

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// readLlama reads and checks the configuration of the Llama family. What is
// absent has transformers' default.
func readLlama(s *Source) (*llamaConfig, error) {
	c := &llamaConfig{RMSNormEps: 1e-6, RopeTheta: 10000, HiddenAct: "silu", MaxPositionEmbeddings: 2048}
	switch s.Architecture.Class {
	case mistralClass:
		c.MaxPositionEmbeddings, c.SlidingWindow = 4096*32, new(4096)
	case qwen3Class:
		c.MaxPositionEmbeddings, c.SlidingWindow, c.MaxWindowLayers, c.HeadDim = 32768, new(4096), new(28), 128
	case qwen2Class:
		c.MaxPositionEmbeddings, c.SlidingWindow, c.MaxWindowLayers = 32768, new(4096), new(28)
	}
	if err := s.Unmarshal(c); err != nil {
		return nil, err
	}
	if c.NumKeyValueHeads == 0 {
		c.NumKeyValueHeads = c.NumAttentionHeads
	}
	if c.HeadDim == 0 && c.NumAttentionHeads > 0 {
		c.HeadDim = c.HiddenSize / c.NumAttentionHeads
	}
	if err := s.positive("vocab_size", c.VocabSize, "hidden_size", c.HiddenSize, "intermediate_size", c.IntermediateSize,
		"num_hidden_layers", c.NumHiddenLayers, "num_attention_heads", c.NumAttentionHeads,
		"num_key_value_heads", c.NumKeyValueHeads, "head_dim", c.HeadDim, "max_position_embeddings", c.MaxPositionEmbeddings); err != nil {
		return nil, err
	}
	if c.NumAttentionHeads%c.NumKeyValueHeads != 0 {
		return nil, s.wrong("num_attention_heads %d is no multiple of num_key_value_heads %d", c.NumAttentionHeads, c.NumKeyValueHeads)
	}
	if !(c.RMSNormEps >= 0) {
		return nil, s.wrong("rms_norm_eps is %g", c.RMSNormEps)
	}
	if _, ok := kernels.ActivationByName(c.HiddenAct); !ok {
		return nil, s.wrong("hidden_act %q is not implemented", c.HiddenAct)
	}
	var err error
	if c.RopeScaling, err = s.readRope(c.RopeScaling, c.RopeParameters, &c.RopeTheta, c.PartialRotaryFactor, c.HeadDim, c.MaxPositionEmbeddings); err != nil {
		return nil, err
	}
	for _, err := range []error{c.checkBiases(s), c.checkWindow(s)} {
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// biases says which projections have one. A GGUF file shows it by its tensors.
func (c *llamaConfig) biases(s *Source) (qkv, o, mlp bias) {
	says := func(yes bool) bias {
		switch {
		case s.GGUF != nil:
			return perhaps
		case yes:
			return with
		}
		return without
	}
	attention := says(c.AttentionBias != nil && *c.AttentionBias)
	switch s.Architecture.Class {
	case qwen2Class:
		return with, without, without
	case qwen3Class:
		return attention, attention, without
	}
	return attention, attention, says(c.MLPBias)
}

// checkBiases refuses what transformers' class would not do.
func (c *llamaConfig) checkBiases(s *Source) error {
	switch {
	case s.Architecture.Class == mistralClass && c.AttentionBias != nil && *c.AttentionBias:
		return s.wrong("attention_bias is true, and a Mistral has no biases")
	case s.Architecture.Class == qwen2Class && c.AttentionBias != nil && !*c.AttentionBias:
		return s.wrong("attention_bias is false, and a Qwen2 has biases on query, key and value")
	case s.Architecture.Class != llamaClass && c.MLPBias:
		return s.wrong("mlp_bias is true, and %s has none", s.Architecture)
	}
	return nil
}

const (
	fullAttention    = "full_attention"
	slidingAttention = "sliding_attention"
)

// window is the sliding window of layer i, 0 for full attention: every layer of
// a Mistral, none of a Llama, and of a Qwen that sets use_sliding_window those
// of layer_types or else from max_window_layers on.
func (c *llamaConfig) window(class string, i int) int {
	switch {
	case c.SlidingWindow == nil, class == llamaClass:
		return 0
	case class == mistralClass:
		return *c.SlidingWindow
	case c.UseSlidingWindow == nil || !*c.UseSlidingWindow:
		return 0
	case len(c.LayerTypes) > 0 && c.LayerTypes[i] != slidingAttention, len(c.LayerTypes) == 0 && i < *c.MaxWindowLayers:
		return 0
	}
	return *c.SlidingWindow
}

// checkWindow refuses windows that transformers' class would not apply.
func (c *llamaConfig) checkWindow(s *Source) error {
	qwen := s.Architecture.Class == qwen2Class || s.Architecture.Class == qwen3Class
	if c.SlidingWindow != nil && *c.SlidingWindow <= 0 && (!qwen || c.UseSlidingWindow != nil && *c.UseSlidingWindow) {
		return s.wrong("sliding_window is %d", *c.SlidingWindow)
	}
	if n := len(c.LayerTypes); n > 0 && n != c.NumHiddenLayers {
		return s.wrong("layer_types has %d entries for %d layers", n, c.NumHiddenLayers)
	}
	if qwen && c.MaxWindowLayers == nil {
		return s.wrong("max_window_layers is null")
	}
	for i, t := range c.LayerTypes {
		switch {
		case t != fullAttention && t != slidingAttention:
			return s.wrong("layer_types: %q is not implemented", t)
		case !qwen && (t == slidingAttention) != (c.window(s.Architecture.Class, i) > 0):
			return s.wrong("layer_types says %s of layer %d, and sliding_window otherwise", t, i)
		}
	}
	switch {
	case qwen:
		return nil
	case c.UseSlidingWindow != nil && *c.UseSlidingWindow != (c.window(s.Architecture.Class, 0) > 0),
		c.UseSlidingWindow == nil && s.Architecture.Class == llamaClass && c.SlidingWindow != nil && *c.SlidingWindow < c.MaxPositionEmbeddings:
		return s.wrong("sliding_window and use_sliding_window ask for what %s does not do: say which with --sliding-window N, 0 for none", s.Architecture)
	case c.MaxWindowLayers != nil && *c.MaxWindowLayers > 0 && c.window(s.Architecture.Class, 0) > 0:
		return s.wrong("max_window_layers is %d, and every layer of %s has its window", *c.MaxWindowLayers, s.Architecture)
	}
	return nil
}

// writeMistralWindow writes another sliding window, 0 for none, into a
// configuration.
func writeMistralWindow(values map[string]json.RawMessage, n int) {
	for _, key := range []string{"use_sliding_window", "max_window_layers", "layer_types"} {
		delete(values, key)
	}
	values["sliding_window"] = json.RawMessage("null")
	if n > 0 {
		values["sliding_window"] = fmt.Appendf(nil, "%d", n)
	}
}

// writeQwenWindow does so on the layers that the configuration names, on all
// where it names none. What is wrong with these keys is told when they are read.
func writeQwenWindow(values map[string]json.RawMessage, n int) {
	var types []string
	var layers, from int
	_ = json.Unmarshal(values["layer_types"], &types)
	_ = json.Unmarshal(values["num_hidden_layers"], &layers)
	_ = json.Unmarshal(values["max_window_layers"], &from)
	if from >= layers {
		from = 0
	}
	writes := slices.Contains(types, slidingAttention)
	named := values["layer_types"]
	writeMistralWindow(values, n)
	values["use_sliding_window"] = fmt.Appendf(nil, "%t", n > 0)
	values["max_window_layers"] = fmt.Appendf(nil, "%d", from)
	if n > 0 && writes {
		values["layer_types"] = named
	}
}

package models

import "strings"

// GGUFName is the name under which llama.cpp stores a tensor that transformers
// calls name; name itself where it has none.
func GGUFName(architecture, name string) string {
	if architecture == "GPT2LMHeadModel" {
		return ggufGPT2Name(name)
	}
	return ggufLlamaName(name)
}

// GGUFArchitecture is llama.cpp's general.architecture of a transformers'
// class; empty where it is not implemented.
func GGUFArchitecture(architecture string) string {
	if architecture == "MistralForCausalLM" {
		return "llama"
	}
	for name, class := range ggufArchitectures {
		if class == architecture {
			return name
		}
	}
	return ""
}

// GGUFRows is the order in which llama.cpp stores the outputs of a tensor of
// transformers: row i of the file is row order[i] of the module. It is nil
// where the order is the same; only the q and k of the architecture "llama" are
// interleaved by head (LlamaModel.permute of its converter).
func GGUFRows(c *Config, name string) []int {
	if GGUFArchitecture(c.Architecture) != "llama" {
		return nil
	}
	var heads int
	switch module := name[:max(strings.LastIndexByte(name, '.'), 0)]; {
	case strings.HasSuffix(module, "self_attn.q_proj"):
		heads = c.Heads
	case strings.HasSuffix(module, "self_attn.k_proj"):
		heads = c.KVHeads
	default:
		return nil
	}
	order, dim := make([]int, heads*c.HeadDim), c.HeadDim
	for h := range heads {
		for i := range dim { // see halved
			order[h*dim+2*(i%(dim/2))+i/(dim/2)] = h*dim + i
		}
	}
	return order
}

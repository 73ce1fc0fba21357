package models

import (
	"strconv"
	"strings"
)

// ggufForm is how llama.cpp stores an architecture: its name, its metadata, and
// what its converter does to names and values.
type ggufForm struct {
	name  string // general.architecture
	class string // of the architecture that is meant where several share the name
	// read turns metadata into transformers' configuration.
	read func(k *ggufKeys) map[string]any
	// outside and inside are the modules' names, outside the blocks and in one.
	outside, inside map[string]string
	// experts are the modules of a block's experts, * in the place of the number,
	// by the one tensor that holds those of all experts, one after the other.
	experts map[string]string
	// interleaved are modules of a block whose outputs 2i and 2i+1 are
	// transformers' i and i+dim/2 of each head (LlamaModel.permute of the
	// converter), with the number of their heads.
	interleaved map[string]func(*Config) int
}

// ggufNamed finds the architecture of a general.architecture; nil where there is
// none.
func ggufNamed(name string) *Architecture {
	for _, a := range architectures {
		if a.gguf != nil && a.gguf.name == name && a.gguf.class == a.Class {
			return a
		}
	}
	return nil
}

// GGUF is llama.cpp's general.architecture; empty where it has none.
func (a *Architecture) GGUF() string {
	if a == nil || a.gguf == nil {
		return ""
	}
	return a.gguf.name
}

// GGUFName is the name under which llama.cpp stores a tensor that transformers
// calls name; name itself where it has none.
func (a *Architecture) GGUFName(name string) string {
	module, suffix := cutSuffix(name)
	if number, inner, ok := a.inBlock(module); ok {
		to, ok := a.gguf.inside[inner]
		if !ok {
			all, _ := cutNumber(inner)
			to, ok = a.gguf.experts[all]
		}
		if ok {
			return "blk." + number + "." + to + suffix
		}
	} else if to, ok := a.gguf.outside[module]; ok {
		return to + suffix
	}
	return name
}

// GGUFExpert is the expert whose tensor name is, where llama.cpp stores those of
// all experts of a block as one.
func (a *Architecture) GGUFExpert(name string) (expert int, ok bool) {
	module, _ := cutSuffix(name)
	if _, inner, inBlock := a.inBlock(module); inBlock {
		all, number := cutNumber(inner)
		expert = number
		_, ok = a.gguf.experts[all]
	}
	return expert, ok
}

// cutNumber puts * in the place of the number in a module's name.
func cutNumber(module string) (all string, number int) {
	parts := strings.Split(module, ".")
	for i, part := range parts {
		if n, err := strconv.Atoi(part); err == nil {
			parts[i], number = "*", n
			break
		}
	}
	return strings.Join(parts, "."), number
}

// interleavedHeads is the function that counts the heads by which a tensor is
// interleaved; nil where it is not.
func (a *Architecture) interleavedHeads(name string) func(*Config) int {
	module, _ := cutSuffix(name)
	_, inner, _ := a.inBlock(module)
	return a.gguf.interleaved[inner]
}

// cutSuffix splits a tensor's name into its module's and ".weight" or ".bias".
func cutSuffix(name string) (module, suffix string) {
	i := max(strings.LastIndexByte(name, '.'), 0)
	return name[:i], name[i:]
}

// GGUFRows is the order in which llama.cpp stores the outputs of a tensor of
// transformers: row i of the file is row order[i] of the module. It is nil
// where the order is the same.
func (c *Config) GGUFRows(name string) []int {
	count := c.Architecture.interleavedHeads(name)
	if count == nil {
		return nil
	}
	heads, dim := count(c), c.HeadDim
	order := make([]int, heads*dim)
	for h := range heads {
		for i := range dim { // see halved
			order[h*dim+2*(i%(dim/2))+i/(dim/2)] = h*dim + i
		}
	}
	return order
}

// GGUFArchitecture finds the architecture of a general.architecture.
func GGUFArchitecture(name string) (a *Architecture, ok bool) {
	a = ggufNamed(name)
	return a, a != nil
}

// GGUFModule is the module that transformers calls so whose tensors llama.cpp stores
// under name, without a suffix; false where there is none.
func (a *Architecture) GGUFModule(name string) (module string, ok bool) {
	names, before := a.gguf.outside, ""
	if rest, inBlock := strings.CutPrefix(name, "blk."); inBlock {
		var number string
		if number, name, inBlock = strings.Cut(rest, "."); !inBlock {
			return "", false
		}
		if n, err := strconv.Atoi(number); err != nil || strconv.Itoa(n) != number || n < 0 {
			return "", false
		}
		names, before = a.gguf.inside, a.blocks+number+"."
	}
	for module, stored := range names {
		if stored == name {
			return before + module, true
		}
	}
	return "", false
}

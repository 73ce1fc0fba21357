package training

import (
	"regexp"
	"strings"
)

// Group is a set of parameters that share a learning rate and a decay.
type Group struct {
	Name   string
	Factor float64 // on the scheduled learning rate
	Fixed  float64 // above 0: the peak rate, whatever --lr is
	Decay  float64
}

// Grouping sorts parameters into groups.
type Grouping struct {
	Groups []Group
	of     func(p *Parameter) int
}

// Of is the group of a parameter.
func (g Grouping) Of(p *Parameter) Group { return g.Groups[g.of(p)] }

// noDecay is the rule of transformers' Trainer (get_decay_parameter_names):
// biases and norms are not decayed.
var noDecay = regexp.MustCompile(`bias|layernorm|rmsnorm|(^|\.)norm(\.|$)|_norm(\.|$)`)

func decays(p *Parameter) bool { return !p.Norm && !noDecay.MatchString(strings.ToLower(p.Name)) }

// HuggingFace groups parameters as transformers' Trainer does.
func HuggingFace(decay float64) Grouping {
	return Grouping{
		Groups: []Group{{Name: "decay", Factor: 1, Decay: decay}, {Name: "no_decay", Factor: 1}},
		of: func(p *Parameter) int {
			if decays(p) {
				return 0
			}
			return 1
		},
	}
}

// SparingEmbeddings groups parameters as language models are pre-trained: biases,
// norms and embeddings are not decayed.
func SparingEmbeddings(decay float64) Grouping {
	g := HuggingFace(decay)
	of := g.of
	g.of = func(p *Parameter) int {
		if p.Embedding {
			return 1
		}
		return of(p)
	}
	return g
}

// LoRAPlus groups parameters as peft's create_loraplus_optimizer does (Hayou
// et al., 2024): B learns ratio times as fast as A. Whatever has one dimension
// goes with B, DoRA's magnitude among it; LoRA on an embedding has a rate of
// its own.
func LoRAPlus(ratio, embedding, decay float64) Grouping {
	return Grouping{
		Groups: []Group{
			{Name: "A", Factor: 1, Decay: decay},
			{Name: "embedding", Factor: 1, Fixed: embedding, Decay: decay},
			{Name: "B", Factor: ratio, Decay: decay},
			{Name: "B_no_decay", Factor: ratio},
		},
		of: func(p *Parameter) int {
			switch {
			case p.Embedding:
				return 1
			case !p.Up && len(p.Shape) != 1:
				return 0
			case decays(p):
				return 2
			}
			return 3
		},
	}
}

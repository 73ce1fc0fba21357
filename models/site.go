package models

import "strings"

// SiteKind tells what stands at a site.
type SiteKind uint8

const (
	LinearSite SiteKind = iota
	NormSite
	EmbeddingSite
	SublayerSite // a whole sublayer, attention or MLP, for bottlenecks
	AbsentSite   // a module of the model that the class at hand has not: see WithHead
)

// Site is a place an adapter may act on. Its index in the model's Sites is the
// number by which an Adapter answers for it.
type Site struct {
	Name  string // the module's name in transformers, "model.layers.0.mlp.up_proj"
	Kind  SiteKind
	Layer int  // the block it is part of; -1 outside the blocks
	Head  bool // the output embedding
	// Of a head of a task: Classes marks the Linear that makes a score for each class,
	// of which an adapter's own may have another number; Open one that the base has not;
	// Biased whether it has a bias.
	Classes, Open, Biased bool
	// Conv1D marks a Linear that transformers holds as [in, out] (GPT-2's
	// Conv1D): PEFT's fan_in_fan_out. W itself is [out, in] here.
	Conv1D bool
	// Convolution is the width of a convolution over the rows of a text, whose W is
	// [out, in·width] here and [out, in, width] in files; 0: the Linear is none.
	Convolution int

	Linear    *Linear
	Norm      *Norm
	Embedding *Embedding
}

// Sites lists a model's sites.
type Sites []Site

// Find returns the index of the site of that name, or -1.
func (s Sites) Find(name string) int {
	for i := range s {
		if s[i].Name == name {
			return i
		}
	}
	return -1
}

// Module is the last part of the site's name: "up_proj".
func (s Site) Module() string { return s.Name[strings.LastIndexByte(s.Name, '.')+1:] }

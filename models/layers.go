package models

import (
	"errors"
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// layerBuilder makes the modules of one block from a source's tensors and
// numbers their sites. Faults gather in the source, so that one look shows
// all of them.
type layerBuilder struct {
	s     *Source
	layer int
}

// build returns a builder for a block; -1 is outside the blocks.
func (s *Source) build(layer int) *layerBuilder { return &layerBuilder{s, layer} }

// err returns the faults met so far, at most ten of them.
func (s *Source) err() error {
	if len(s.faults) == 0 {
		return nil
	}
	faults := s.faults
	if len(faults) > 10 {
		faults = append(faults[:10:10], fmt.Errorf("and %d more", len(s.faults)-10))
	}
	return fmt.Errorf("%w: %s: %w", ErrSource, s.Name, errors.Join(faults...))
}

func (s *Source) fault(format string, a ...any) {
	s.faults = append(s.faults, fmt.Errorf(format, a...))
}

// Bounds on what a configuration may claim: nothing of that size exists.
const (
	maxSize   = 1 << 24
	maxLayers = 1 << 12
)

// positive checks pairs of a configuration key and its value.
func (s *Source) positive(pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		most := maxSize
		if key := pairs[i]; key == "num_hidden_layers" || key == "n_layer" || key == "n_layers" {
			most = maxLayers
		}
		if v := pairs[i+1].(int); v <= 0 || v > most {
			s.fault("%s: %s is %d", s.where(), pairs[i], v)
		}
	}
	return s.err()
}

func (b *layerBuilder) site(s Site) int {
	s.Layer = b.layer
	b.s.sites = append(b.s.sites, s)
	return len(b.s.sites) - 1
}

// weight reads a matrix of the given shape.
func (b *layerBuilder) weight(name string, rows, cols int) kernels.Weight {
	if b.s.shape {
		b.s.values += rows * cols
		return kernels.Weight{Rows: rows, Cols: cols}
	}
	w, err := b.s.weight(name)
	return b.read(name, w, err, rows, cols)
}

// read is a matrix that was read under that name, of the given shape.
func (b *layerBuilder) read(name string, w kernels.Weight, err error, rows, cols int) kernels.Weight {
	if err != nil {
		b.s.fault("%w", err)
		return kernels.Weight{}
	}
	if w.Rows != rows || w.Cols != cols {
		b.s.fault("tensor %q is [%d, %d], not [%d, %d] as the configuration says", name, w.Rows, w.Cols, rows, cols)
		return kernels.Weight{}
	}
	b.s.bytes[w.Format] += len(w.Data)
	b.s.values += rows * cols
	return w
}

// vector reads n values.
func (b *layerBuilder) vector(name string, n int) []float32 {
	if b.s.shape { // nobody reads the values
		b.s.values += n
		if n > len(b.s.zeros) {
			b.s.zeros = make([]float32, n)
		}
		return b.s.zeros[:n:n]
	}
	w, err := b.s.weight(name)
	if err != nil {
		b.s.fault("%w", err)
		return nil
	}
	switch {
	case w.Rows*w.Cols != n:
		b.s.fault("tensor %q has %d values, not %d as the configuration says", name, w.Rows*w.Cols, n)
		return nil
	case w.Rows != 1:
		b.s.fault("tensor %q has %d rows, where a vector of %d belongs", name, w.Rows, n)
		return nil
	}
	b.s.values += n
	b.s.bytes[w.Format] += len(w.Data)
	v := make([]float32, n)
	kernels.Decode(v, w.Format, w.Data)
	return v
}

// bias is what a configuration says of a module's bias.
type bias int

const (
	without bias = iota
	with
	perhaps // read where the file has it, as llama.cpp does
)

// biasIf is what a switch of a configuration says.
func biasIf(on bool) bias {
	if on {
		return with
	}
	return without
}

// biased reads n values where there is a bias.
func (b *layerBuilder) biased(module string, n int, has bias) []float32 {
	name := module + ".bias"
	if has == without || has == perhaps && !b.s.Has(name) {
		return nil
	}
	return b.vector(name, n)
}

// name is the module's whole name.
func (b *layerBuilder) name(module string) string {
	if b.layer < 0 {
		return module
	}
	return fmt.Sprintf("%s%d.%s", b.s.Architecture.blocks, b.layer, module)
}

// linear reads a linear; one that transformers holds as [in, out] is turned.
func (b *layerBuilder) linear(module string, out, in int, has bias) *Linear {
	name := b.name(module)
	l := &Linear{}
	conv1D := b.layer >= 0 && slices.Contains(b.s.Architecture.conv1D, module)
	if !conv1D || b.s.GGUF != nil || b.s.shape { // llama.cpp's converter has turned it
		l.W = b.weight(name+".weight", out, in)
	} else if w := b.weight(name+".weight", in, out); !w.Empty() {
		l.W = transposed(w)
	}
	l.Bias = b.biased(name, out, has)
	l.Site = b.site(Site{Name: name, Kind: LinearSite, Linear: l, Conv1D: conv1D})
	return l
}

// transposed copies a float weight to [cols, rows].
func transposed(w kernels.Weight) kernels.Weight {
	size := w.Format.BlockBytes()
	data := make([]byte, len(w.Data))
	for r := range w.Rows {
		row := w.Row(r)
		for c := range w.Cols {
			copy(data[(c*w.Rows+r)*size:][:size], row[c*size:])
		}
	}
	return kernels.NewWeight(w.Format, w.Cols, w.Rows, data)
}

func (b *layerBuilder) embedding(name string, vocabulary, hidden int) *Embedding {
	e := &Embedding{W: b.weight(name+".weight", vocabulary, hidden)}
	e.Site = b.site(Site{Name: name, Kind: EmbeddingSite, Embedding: e})
	return e
}

// head reads the output embedding, which is the input's where they are tied; nil
// where a head of a task is in its place.
func (b *layerBuilder) head(e *Embedding, tied bool) *Linear {
	const name = "lm_head"
	if b.s.Architecture.headed != "" {
		return nil
	}
	l := &Linear{W: e.W}
	if !tied {
		l = &Linear{W: b.weight(name+".weight", e.W.Rows, e.W.Cols)}
	} else if b.s.Has(name + ".weight") {
		b.duplicate(name+".weight", e.W)
	}
	l.Site = b.site(Site{Name: name, Kind: LinearSite, Linear: l, Head: true})
	return l
}

func (b *layerBuilder) rms(module string, n int, eps float32) *Norm {
	name := b.name(module)
	norm := &Norm{Weight: b.vector(name+".weight", n), Eps: eps, RMS: true, Offset: b.s.Architecture.normOffset}
	if b.s.GGUF != nil && norm.Offset != 0 {
		for i := range norm.Weight {
			norm.Weight[i] -= norm.Offset
		}
	}
	norm.Site = b.site(Site{Name: name, Kind: NormSite, Norm: norm})
	return norm
}

func (b *layerBuilder) layerNorm(module string, n int, eps float32) *Norm {
	return b.layerNormBiased(module, n, eps, with)
}

func (b *layerBuilder) layerNormBiased(module string, n int, eps float32, has bias) *Norm {
	name := b.name(module)
	norm := &Norm{Weight: b.vector(name+".weight", n), Bias: b.biased(name, n, has), Eps: eps}
	norm.Site = b.site(Site{Name: name, Kind: NormSite, Norm: norm})
	return norm
}

// sublayer numbers a whole sublayer, where bottlenecks are inserted.
func (b *layerBuilder) sublayer(module string) int {
	return b.site(Site{Name: b.name(module), Kind: SublayerSite})
}

// finish fills in what is known once the tensors have been read.
func (s *Source) finish(c *Config) error {
	c.Parameters = s.values
	most := 0
	for f, n := range s.bytes {
		c.WeightBytes += n
		if n > most {
			most, c.Precision = n, f.String()
		}
	}
	return s.special(c)
}

package models

import (
	"errors"
	"sync"

	"github.com/peft-serve/peft-serve/kernels"
)

// Model is a base transformer. Its weights do not change while it serves.
type Model interface {
	Config() *Config
	// Sites lists the places an adapter may act on.
	Sites() Sites
	// Forward computes the batch and writes its keys and values to the cache,
	// which may be nil where every sequence is computed whole, and is not used by
	// an encoder, of which that is always so.
	// It returns the hidden states, after the final norm, of the rows in
	// b.Out: [out rows, hidden].
	Forward(p *Pass, b *Batch, c *Cache) *Value
	// Head returns what stands on hidden states that Forward returned for b: of a
	// model that generates text the logits,
	// [rows, vocabulary]: rows [from, from+rows of h) of b.Out. The vocabulary
	// is the largest of those rows: what a row holds beyond its own is undefined. Of
	// an encoder, the pooled rows, [rows, hidden]: see Config.Pooler.
	Head(p *Pass, b *Batch, from int, h *Value) *Value
}

// Config is what every architecture has in common.
type Config struct {
	Architecture *Architecture
	Vocabulary   int
	Hidden       int
	Intermediate int
	Layers       int
	Heads        int
	KVHeads      int
	HeadDim      int
	Context      int // the longest sequence, in tokens
	Tied         bool
	Pooler       bool  // Head is a pooler, of the first row of a text
	Causal       bool  // a token of a text sees those before it, and not those behind
	NoPrefix     bool  // attention has no place for keys and values before a text: prefix tuning does not act
	TokenTypes   int   // of an encoder; 0: it has none
	BOS          int32 // -1: none
	EOS          []int32
	Parameters   int
	WeightBytes  int
	Precision    string // of most weights, "Q4_1"
	Activations  Activations
	Private      bool // see Options
	Shape        bool // the weights have shapes alone: see NewShape
	// Classes are what the base's own head tells apart; nil: it has none.
	Classes *Classes
	// Window is how far the layer looks back that looks furthest: a row sees only
	// positions nearer than that to its own; 0: some layer sees all.
	Window  int
	Padding int32 // the token that fills texts up, which a text's last row is not; -1: none

	heads  map[Task]*Head
	forms  *sync.Map // heads of other forms, *Head by formKey
	trunk  int       // the number of sites before those of heads
	pooler *Linear   // of an encoder; nil: none
}

// Options are the choices left to whoever loads a model.
type Options struct {
	Context int // the longest sequence wanted; 0: the model's own
	// Private has the weights mapped so that they can be written to where they
	// are: the model alone sees it, the file stays as it is.
	Private bool
	// SlidingWindow replaces the base's own sliding window, 0 for none; nil
	// leaves it.
	SlidingWindow *int
	// IgnoreConfigKeys are keys of config.json, or of GGUF metadata, to read as
	// if they were not there.
	IgnoreConfigKeys []string
}

// ErrArchitecture reports a base whose architecture is not implemented.
var ErrArchitecture = errors.New("architecture is not implemented")

// New builds the model that a source describes.
func New(s *Source, o Options) (Model, error) {
	m, err := s.Architecture.build(s, o)
	if err != nil {
		return nil, err
	}
	if err := s.unclaimed(); err != nil {
		return nil, err
	}
	m.Config().Private, m.Config().Shape = s.private, s.shape
	return m, s.finish(m.Config())
}

// NewShape builds the model that a configuration describes, config.json as
// transformers writes it, without weights: it can be measured (NewMeasure) and
// adapters can be laid out on it, but it computes nothing. name is what errors
// call it.
func NewShape(name string, config []byte, o Options) (Model, error) {
	s := &Source{Name: name}
	if err := s.configure(config, o); err != nil {
		return nil, err
	}
	return s.Shape()
}

// Shape is NewShape of the source's configuration as it was read.
func (s *Source) Shape() (Model, error) {
	shape := &Source{Name: s.Name, Architecture: s.Architecture, class: s.class, config: s.config, shape: true, of: s.tensors, bytes: map[kernels.Format]int{}}
	return New(shape, Options{})
}

// context is the sequence length to serve: at most the model's own.
func (o Options) context(own int) int {
	if o.Context > 0 && o.Context < own {
		return o.Context
	}
	return own
}

// headSegments returns the segments of out rows [from, from+rows).
func headSegments(p *Pass, b *Batch, from, rows int) []Segment {
	all := b.outSegments(p)
	if from == 0 && len(all) > 0 && all[len(all)-1].End == rows {
		return all
	}
	cut := p.cut[:0]
	for _, s := range all {
		start, end := max(s.Start-from, 0), min(s.End-from, rows)
		if start < end {
			cut = append(cut, Segment{start, end, s.Adapter})
		}
	}
	p.cut = cut
	return cut
}

// gather returns the rows of x listed in rows; x itself where they are all. It
// frees x when it returns another.
func gather(p *Pass, x *Value, rows []int32) *Value {
	if rows == nil || len(rows) == x.Rows() {
		return x
	}
	y := p.New(len(rows), x.Data.Cols)
	p.Gather(y.Data, x.Data, rows)
	if p.Tracks(y, false, x) {
		p.OnBackward(y, func(dy kernels.Matrix) { p.AddRows(p.Grad(x), dy, rows) })
	}
	p.Free(x)
	return y
}

package adapters

import (
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Builder lays out an adapter on a model: a Method declares through it which
// parameters it has and what it does with them at which sites. The parameters
// are filled later, from a folder or for training, and then Refresh runs.
type Builder struct {
	Model  models.Model
	Sites  models.Sites
	Config *Config

	precision Precision // of the factors
	rounded   bool      // one has been rounded to it

	params     []*Param
	refresh    []func()
	open       []func()
	begin      []func()
	derived    int
	linears    map[int]*linear
	norms      map[int]*norm
	embeddings map[int]*embedding
	inserts    map[int]models.Insert
	task       models.Task            // of the head among the sites; empty: there is none
	classes    int                    // rows of that head's last linear; 0: nothing says so
	scores     string                 // the file's tensor that says so
	inFile     func(name string) bool // whether the file has a tensor; nil: there is none
	prefixes   []prefix
	prefix     *Param // what the prefixes are read from; nil: none
	virtual    int
	invocation []int32        // see Adapter.Invocation
	vocabulary int            // rows of the embeddings: see vocabulary.go
	resizer    string         // the tensor that says so; empty: the base does
	wrapped    map[int]string // what ends the names of embeddings that token rows wrap
}

func newBuilder(m models.Model, c *Config) *Builder {
	return &Builder{
		Model: m, Sites: m.Sites(), Config: c, vocabulary: m.Config().Vocabulary, wrapped: map[int]string{},
		linears: map[int]*linear{}, norms: map[int]*norm{},
		embeddings: map[int]*embedding{}, inserts: map[int]models.Insert{},
	}
}

// build lays out the adapter of a configuration.
func build(m models.Model, c *Config) (*Builder, error) {
	b := newBuilder(m, c)
	if err := b.underHead(); err != nil {
		return nil, err
	}
	return b, b.build()
}

func (b *Builder) build() error {
	c := b.Config
	task, base := models.Task(c.Task), b.Model.Config().Architecture
	switch {
	case task == models.Generate || isHeadTask(task):
		if err := base.Check(task); err != nil {
			return fmt.Errorf("%w: task_type is %s: %w", ErrBase, task, err)
		}
	case task != "" && base.Does(models.Generate):
		return fmt.Errorf("%w: task_type is %s, and the base generates text: an adapter for that has %s or null", ErrBase, task, models.Generate)
	}
	if err := c.Method.Build(b); err != nil {
		return err
	}
	if len(b.invocation) > 0 && !base.Does(models.Generate) {
		return fmt.Errorf("%w: alora_invocation_tokens is not implemented of a base that does not generate text", ErrBase)
	}
	return b.wholeHead()
}

// Param declares a tensor called name, which the file must hold, that belongs
// to no module.
func (b *Builder) Param(name string, shape ...int) *Param {
	p := &Param{Name: name, Shape: shape, Site: -1}
	b.params = append(b.params, p)
	return p
}

// name is that of a tensor of a site's module.
func (b *Builder) name(site int, suffix string) string {
	return b.Config.NamePrefix() + b.Sites[site].Name + suffix
}

// Module declares a tensor of a site's module: suffix ".lora_A.weight".
func (b *Builder) Module(site int, suffix string, shape ...int) *Param {
	p := b.Param(b.name(site, suffix), shape...)
	p.Site = site
	return p
}

// Transposed declares a matrix of a site's module, [rows, cols] in the file,
// that is held as its transpose.
func (b *Builder) Transposed(site int, suffix string, rows, cols int) *Param {
	p := b.Module(site, suffix, rows, cols)
	p.Transposed = true
	return p
}

// OnRefresh has f called whenever the parameters have changed.
func (b *Builder) OnRefresh(f func()) { b.refresh = append(b.refresh, f) }

// OnStart has f called when Start has drawn the parameters.
func (b *Builder) OnStart(f func()) { b.begin = append(b.begin, f) }

// OnTrain has f called when the parameters have been given gradients.
func (b *Builder) OnTrain(f func()) { b.open = append(b.open, f) }

// Derive returns n float32 values that are computed from the parameters.
func (b *Builder) Derive(n int) []float32 {
	b.derived += 4 * n
	return make([]float32, n)
}

// widened is a vector of the adapter in float32, and whether it has to be decoded into it
// anew whenever the parameters have changed: where it is held as that, it is the vector.
func (b *Builder) widened(p *Param) (v []float32, copied bool) {
	if v = p.Weight.Floats(); v != nil {
		return v, false
	}
	return b.Derive(p.Len()), true
}

// linear returns what the adapter does at a Linear.
func (b *Builder) linear(site int) *linear {
	d := b.linears[site]
	if d == nil {
		d = &linear{base: b.Sites[site].Linear}
		b.linears[site] = d
	}
	return d
}

// embedding returns what the adapter does at an Embedding.
func (b *Builder) embedding(site int) *embedding {
	d := b.embeddings[site]
	if d == nil {
		d = &embedding{base: b.Sites[site].Embedding}
		b.embeddings[site] = d
	}
	return d
}

// norm returns the adapter's own norm at a site.
func (b *Builder) norm(site int) *norm {
	d := b.norms[site]
	if d == nil {
		d = &norm{base: b.Sites[site].Norm}
		b.norms[site] = d
	}
	return d
}

// input and head return the sites of the input and the output embedding, -1
// where there is none.
func (b *Builder) input() int {
	for i, s := range b.Sites {
		if s.Kind == models.EmbeddingSite {
			return i
		}
	}
	return -1
}

func (b *Builder) head() int {
	for i, s := range b.Sites {
		if s.Head {
			return i
		}
	}
	return -1
}

// tied returns the other of the two embeddings that share one weight, -1 where
// site is neither or they do not.
func (b *Builder) tied(site int) int {
	in, out := b.input(), b.head()
	switch {
	case !b.Model.Config().Tied || in < 0 || out < 0:
	case site == in:
		return out
	case site == out:
		return in
	}
	return -1
}

// adapter puts the filled parts together.
func (b *Builder) adapter() *Adapter {
	n := len(b.Sites)
	a := &Adapter{
		config: b.Config, refresh: b.refresh, prefixes: b.prefixes, prefix: b.prefix, virtual: b.virtual, vocabulary: b.vocabulary, invocation: b.invocation,
		linears: make([]models.LinearDelta, n), norms: make([]*models.Norm, n),
		embeddings: make([]models.EmbeddingDelta, n), inserts: make([]models.Insert, n),
	}
	for _, p := range b.params {
		if p.Present() {
			a.params = append(a.params, p)
		}
	}
	a.classes = b.ownClasses()
	for i := range b.Sites {
		if d := b.linears[i]; d != nil && d.active() {
			a.linears[i] = d.delta()
			a.refresh = append(a.refresh, d.refresh(b))
		}
		if d := b.norms[i]; d != nil {
			a.norms[i] = &d.norm
			a.refresh = append(a.refresh, d.refresh(b))
		}
		if d := b.embeddings[i]; d != nil && d.active() {
			a.embeddings[i] = d
		}
		a.inserts[i] = b.inserts[i]
	}
	a.shared = b.sharedLayers()
	a.derived, a.open, a.begin = b.derived, b.open, b.begin
	if !b.Model.Config().Shape {
		a.Refresh()
	}
	return a
}

// sharedLayers is the number of blocks below the first site that the adapter
// acts at: what acts in a block changes its keys and values at the earliest.
func (b *Builder) sharedLayers() int {
	if len(b.prefixes) > 0 || b.virtual > 0 {
		return 0
	}
	layers, begun := b.Model.Config().Layers, false
	for i, s := range b.Sites {
		begun = begun || s.Layer >= 0
		l, e := b.linears[i], b.embeddings[i]
		switch acts := l != nil && l.active() || e != nil && e.active() || b.norms[i] != nil || b.inserts[i] != nil; {
		case !acts:
		case s.Layer >= 0:
			layers = min(layers, s.Layer)
		case !begun: // before the blocks
			return 0
		}
	}
	return layers
}

// New lays out an adapter for training: every parameter is F32 and holds the
// base's value where it stands in for one, zero elsewhere. Whoever sets the
// values calls Refresh. On a base that is a shape so are the parameters.
func New(m models.Model, c *Config) (*Adapter, error) {
	b, err := build(m, c)
	if err != nil {
		return nil, err
	}
	for _, p := range b.params {
		if p.optional {
			continue
		}
		rows, cols := p.dims()
		if m.Config().Shape {
			p.Weight = kernels.WeightOf(kernels.ShapeOf(rows, cols))
			continue
		}
		values := kernels.NewMatrix(rows, cols)
		if !p.base.Empty() {
			kernels.Decode(values.Data, p.base.Format, p.base.Data)
		}
		p.Weight = kernels.WeightOf(values)
	}
	return b.adapter(), nil
}

// Layout returns the parameters that an adapter of this configuration has on a
// model, with names and shapes and without values. It reads no weight of the
// model, so that a plan can be made from a base's configuration alone.
func Layout(m models.Model, c *Config) ([]*Param, error) {
	b, err := build(m, c)
	if err != nil {
		return nil, err
	}
	var params []*Param
	for _, p := range b.params {
		if !p.optional {
			params = append(params, p)
		}
	}
	return params, nil
}

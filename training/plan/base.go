package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/training"
)

// Base is the shape of a model: its sites, without weights. It is a
// models.Model, so that adapters can be laid out on it, that computes nothing.
type Base struct {
	Name string
	// OwnName is what its files call it: see models.Source.OwnName.
	OwnName string
	// Nominal is the rounded number of parameters by which the model is known,
	// 7e9; 0: none.
	Nominal float64

	model      models.Model // its shape, of an encoder under the head of a task
	shape      models.Model // the same without the head of an encoder
	task       models.Task  // of the head of an encoder
	config     models.Config
	sites      models.Sites
	parameters int
	recipe     func() (*pooling.Recipe, error) // what its files say of embeddings; nil: there are none
	stored     map[string]kernels.Format       // by tensor, where a file says so
	format     kernels.Format                  // of the rest
}

var _ models.Model = (*Base)(nil)

// Config implements models.Model.
func (b *Base) Config() *models.Config { return &b.config }

// Sites implements models.Model.
func (b *Base) Sites() models.Sites { return b.sites }

// Forward implements models.Model: there are no weights to compute with.
func (b *Base) Forward(*models.Pass, *models.Batch, *models.Cache) *models.Value {
	panic("plan: a Base has no weights")
}

// Head implements models.Model: there are no weights to compute with.
func (b *Base) Head(*models.Pass, *models.Batch, int, *models.Value) *models.Value {
	panic("plan: a Base has no weights")
}

// Shape is the model that the base is, without weights and of an encoder without a head.
func (b *Base) Shape() models.Model { return b.shape }

// Embeddings is how the base's embeddings are made and learnt: as the files beside its
// configuration say, or as the server does it without.
func (b *Base) Embeddings() (*pooling.Recipe, error) {
	var own *pooling.Recipe
	if b.recipe != nil {
		var err error
		if own, err = b.recipe(); err != nil {
			return nil, err
		}
	}
	return training.Embeddings(own, &b.config)
}

// bare is the base without the head of an encoder.
func (b *Base) bare() *Base {
	other := *b
	other.model, other.config, other.sites = b.shape, *b.shape.Config(), b.shape.Sites()
	other.count()
	return &other
}

// Parameters is the number of the base's parameters.
func (b *Base) Parameters() int { return b.parameters }

// ErrBase reports a configuration that no plan can be made from.
var ErrBase = errors.New("base cannot be planned for")

// Open reads the shape of the base at path: a config.json, a folder with one
// (its weights need not be there), a GGUF file, or the name of a published
// model (see Published). The options are those that change how a base is read.
func Open(path string, o models.Options) (*Base, error) {
	for _, p := range published {
		if p.name == path {
			return p.base()
		}
	}
	stat, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %q is neither a file nor one of %s%s", ErrBase, path, strings.Join(Published(), ", "), models.Missing(path))
	}
	if stat.IsDir() {
		if err := models.NotAdapter(path); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBase, err)
		}
		path = filepath.Join(path, "config.json")
	} else if filepath.Ext(path) != ".json" {
		return openGGUF(path, o)
	}
	raw, err := regular.Text(path, regular.Config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBase, err)
	}
	b, err := Parse(path, raw, o)
	if err == nil {
		b.recipe = func() (*pooling.Recipe, error) { return pooling.Load(filepath.Dir(path)) }
	}
	return b, err
}

// Parse reads the shape from config.json, as transformers writes it. Errors
// call it name.
func Parse(name string, config []byte, o models.Options) (*Base, error) {
	var head struct {
		DType      string `json:"dtype"`
		TorchDType string `json:"torch_dtype"`
	}
	if err := json.Unmarshal(config, &head); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBase, name, err)
	}
	m, err := models.NewShape(name, config, o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBase, err)
	}
	b := shaped(m)
	b.Name, b.OwnName = name, models.ConfigName(config)
	switch d := head.DType + head.TorchDType; d {
	case "float16":
		b.format = kernels.F16
	case "bfloat16":
		b.format = kernels.BF16
	}
	return b, nil
}

// openGGUF reads the shape, and the stored form of each tensor, from a GGUF
// file.
func openGGUF(path string, o models.Options) (*Base, error) {
	s, err := models.OpenSource(path, o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBase, err)
	}
	defer func() { _ = s.Close() }()
	m, err := s.Shape()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBase, err)
	}
	b := shaped(m)
	own, fault := pooling.FromGGUF(s.GGUF)
	b.recipe = func() (*pooling.Recipe, error) { return own, fault }
	b.Name, b.OwnName, b.stored = path, s.OwnName(), map[string]kernels.Format{}
	for _, site := range b.sites {
		for _, suffix := range []string{".weight", ".bias"} {
			if t, ok := s.GGUF.Lookup(s.Architecture.GGUFName(site.Name + suffix)); ok {
				if f, known := t.Type.Format(); known {
					b.stored[site.Name+suffix] = f
				}
			}
		}
	}
	return b, nil
}

// As returns the base with its matrices stored in another form.
func (b *Base) As(f kernels.Format) *Base {
	other := *b
	other.format, other.stored = f, nil
	return &other
}

// storedBytes is the size of the base's tensors in their stored form; matrices
// whose rows do not fill a quantised form's blocks, and vectors, are F32.
func (b *Base) storedBytes() int {
	n := 0
	for name, dims := range b.tensors() {
		cols := dims[len(dims)-1]
		n += count(dims) / cols * b.form(name, dims).RowBytes(cols)
	}
	return n
}

// form is the stored form of a tensor.
func (b *Base) form(name string, dims []int) kernels.Format {
	f, known := b.stored[name]
	if !known {
		f = b.format
		if len(dims) == 1 && f.BlockLen() > 1 {
			return kernels.F32
		}
	}
	if dims[len(dims)-1]%f.BlockLen() != 0 {
		return kernels.F32
	}
	return f
}

// tensors yields the base's own tensors with their shapes.
func (b *Base) tensors() func(yield func(string, []int) bool) {
	return func(yield func(string, []int) bool) {
		for _, s := range b.sites {
			for _, t := range tensorsOf(s, b.config.Tied) {
				if !yield(s.Name+t.suffix, t.dims) {
					return
				}
			}
		}
	}
}

type siteTensor struct {
	suffix string
	dims   []int
}

// tensorsOf lists the tensors at a site. A tied head has none of its own.
func tensorsOf(s models.Site, tied bool) []siteTensor {
	var all []siteTensor
	if s.Open { // of a head that the base has not
		return nil
	}
	vector := func(suffix string, v []float32) {
		if len(v) > 0 {
			all = append(all, siteTensor{suffix, []int{len(v)}})
		}
	}
	switch s.Kind {
	case models.EmbeddingSite:
		all = append(all, siteTensor{".weight", []int{s.Embedding.W.Rows, s.Embedding.W.Cols}})
	case models.LinearSite:
		if s.Head && tied {
			return nil
		}
		all = append(all, siteTensor{".weight", []int{s.Linear.W.Rows, s.Linear.W.Cols}})
		vector(".bias", s.Linear.Bias)
	case models.NormSite:
		vector(".weight", s.Norm.Weight)
		vector(".bias", s.Norm.Bias)
	}
	return all
}

func count(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// under is the base with a head of its own for so many classes.
func (b *Base) under(classes *models.Classes) (*Base, error) {
	m, err := models.WithNewHead(b.model, *classes, nil)
	if err != nil {
		return nil, err
	}
	other := *b
	other.model, other.config, other.sites = m, *m.Config(), m.Sites()
	other.count()
	return &other, nil
}

package plan

import (
	"encoding/json"
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// layout builds the sites of an encoder.
type layout struct {
	sites models.Sites
	layer int
	zeros []float32
}

// vector is a slice of the given length whose contents nobody reads.
func (l *layout) vector(n int) []float32 {
	if n > len(l.zeros) {
		l.zeros = make([]float32, n)
	}
	return l.zeros[:n:n]
}

func (l *layout) add(s models.Site) int {
	s.Layer = l.layer
	l.sites = append(l.sites, s)
	return len(l.sites) - 1
}

func (l *layout) linear(name string, out, in int) {
	n := &models.Linear{W: kernels.Weight{Rows: out, Cols: in}, Bias: l.vector(out)}
	n.Site = l.add(models.Site{Name: name, Kind: models.LinearSite, Linear: n})
}

func (l *layout) embedding(name string, rows, hidden int) {
	e := &models.Embedding{W: kernels.Weight{Rows: rows, Cols: hidden}}
	e.Site = l.add(models.Site{Name: name, Kind: models.EmbeddingSite, Embedding: e})
}

func (l *layout) norm(name string, n int) {
	norm := &models.Norm{Weight: l.vector(n), Bias: l.vector(n)}
	norm.Site = l.add(models.Site{Name: name, Kind: models.NormSite, Norm: norm})
}

func (l *layout) sublayer(name string) { l.add(models.Site{Name: name, Kind: models.SublayerSite}) }

// read lays a configuration out as models builds it, of an encoder under the head of a
// task; a DeBERTa with a convolution by a reader of our own.
func read(name, modelType string, config []byte, o models.Options) (*Base, error) {
	var more struct {
		Convolution int `json:"conv_kernel_size"`
	}
	if modelType == convolved.ModelType && json.Unmarshal(config, &more) == nil && more.Convolution > 0 {
		b, err := readDeBERTa(config)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		b.config.Architecture = convolved
		b.count()
		return b, nil
	}
	model, err := models.NewShape(name, config, o)
	if err != nil {
		return nil, err
	}
	return shaped(model), nil
}

// shaped is the base of a model without weights.
func shaped(m models.Model) *Base {
	bare := m
	task := models.Classify
	if own := m.Config().Classes; own != nil {
		task = own.Task
	}
	if !m.Config().Architecture.Does(models.Generate) {
		if headed, err := models.WithHead(m, task); err == nil {
			m = headed
		}
	}
	b := &Base{model: m, shape: bare, config: *m.Config(), sites: m.Sites(), task: task}
	b.count()
	return b
}

// count counts the parameters.
func (b *Base) count() {
	b.parameters = 0
	for _, dims := range b.tensors() {
		b.parameters += count(dims)
	}
	b.config.Parameters = b.parameters
}

// Bounds on what a configuration may claim: nothing of that size exists, and a
// plan of it would take the memory that it is to save.
const (
	largestSize = 1 << 24
	mostLayers  = 1 << 12
)

// decode reads config.json into v and demands that the given sizes, named, are
// positive and bounded.
func decode(config []byte, v any, sizes func() map[string]int) error {
	if err := json.Unmarshal(config, v); err != nil {
		return err
	}
	for key, n := range sizes() {
		if n <= 0 || n > largestSize || key == "num_hidden_layers" && n > mostLayers {
			return fmt.Errorf("%s is %d", key, n)
		}
	}
	return nil
}

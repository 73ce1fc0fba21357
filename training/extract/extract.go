package extract

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"gonum.org/v1/gonum/mat"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/compare"
)

// Why nothing is extracted. Nothing has been written then.
var (
	ErrModels    = errors.New("the two models do not go together")
	ErrSame      = errors.New("no matrix differs: there is nothing low-rank to extract")
	ErrOptions   = errors.New("options")
	ErrNotFinite = errors.New("not finite")
)

// Embeddings lists what can be done with embeddings that differ: give them
// low-rank adapters too, take them over whole, or leave them as they are.
var Embeddings = []string{"lora", "save", "skip"}

// Options say what to extract.
type Options struct {
	Base, Tuned string // Hugging Face folders or GGUF files
	Output      string // the PEFT folder to write
	Rank        int    // of every matrix; with Energy, the largest
	// Energy is the share of each difference's ‖D‖² to keep, by as small a rank
	// as does; 0: Rank everywhere.
	Energy     float64
	Embeddings string         // see Embeddings; empty: lora
	BaseName   string         // base_model_name_or_path; empty: the name that the base gives itself
	Reading    models.Options // how both are read
	Pool       *kernels.Pool
	// Progress is told how many of the models' modules have been looked at;
	// it may be nil.
	Progress func(done, of int)
}

// Module is one extracted matrix. Errors are relative: ‖D - B·A‖/‖D‖.
type Module struct {
	Name  string  `json:"module"`
	Layer int     `json:"layer"`
	Rank  int     `json:"rank"`
	Norm  float64 `json:"norm"` // ‖D‖
	Error float64 `json:"error"`
}

// Report is what was extracted and what was lost.
type Report struct {
	Modules    []Module        `json:"modules"`
	Layers     map[int]float64 `json:"layers"` // error by layer; -1: outside the blocks
	Error      float64         `json:"error"`  // over everything
	Saved      []string        `json:"saved,omitempty"`
	Biases     int             `json:"biases"` // that differ, and are taken over
	Parameters int             `json:"parameters"`
	Left       []string        `json:"left,omitempty"` // differences that are not in the adapter
	Difference float64         `json:"difference"`     // the largest of a logit, tuned against base with adapter
	Before     float64         `json:"before"`         // the same against the base alone
	Scale      float64         `json:"scale"`          // the largest logit
	BaseName   string          `json:"base_name"`      // base_model_name_or_path; empty: null
}

// job is one extraction on its way.
type job struct {
	Options
	base, tuned models.Model
	report      Report
	found       []factored
	saved       []string
	differ      bool // some bias does
	tie         bool
}

// factored is a module with its factors.
type factored struct {
	site int
	a, b *mat.Dense
	Module
}

// Extract writes a low-rank adapter for base that stands in for tuned.
func Extract(o Options) (*Report, error) {
	r, err := extract(o)
	if err != nil {
		return nil, fmt.Errorf("extracting %s - %s: %w", o.Tuned, o.Base, err)
	}
	return r, nil
}

func extract(o Options) (*Report, error) {
	if o.Embeddings == "" {
		o.Embeddings = "lora"
	}
	switch {
	case o.Rank < 1:
		return nil, fmt.Errorf("%w: rank %d", ErrOptions, o.Rank)
	case o.Energy < 0 || o.Energy > 1 || o.Energy != o.Energy:
		return nil, fmt.Errorf("%w: energy %v, want 0 to 1", ErrOptions, o.Energy)
	case o.Embeddings != "lora" && o.Embeddings != "save" && o.Embeddings != "skip":
		return nil, fmt.Errorf("%w: embeddings %q, want one of %v", ErrOptions, o.Embeddings, Embeddings)
	}
	if err := o.checkOutput(); err != nil {
		return nil, err
	}
	j := &job{Options: o}
	base, s0, err := models.Open(o.Base, o.Reading)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s0.Close() }()
	tuned, s1, err := models.Open(o.Tuned, o.Reading)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s1.Close() }()
	if err := base.Config().Architecture.Check(models.Generate); err != nil {
		return nil, fmt.Errorf("%s: %w: nothing is extracted from encoders yet", o.Base, err)
	}
	j.base, j.tuned = base, tuned
	if j.BaseName == "" {
		j.BaseName = s0.OwnName()
	}
	j.report.BaseName = j.BaseName
	if err := j.match(); err != nil {
		return nil, err
	}
	for site := range base.Sites() {
		if err := j.site(site); err != nil {
			return nil, err
		}
		if j.Progress != nil {
			j.Progress(site+1, len(base.Sites()))
		}
	}
	if len(j.found) == 0 {
		return nil, ErrSame
	}
	a, err := j.adapter()
	if err != nil {
		return nil, err
	}
	j.errors()
	pool := o.Pool
	if pool == nil {
		pool = kernels.NewPool(0)
		defer pool.Close()
	}
	want := compare.Side{Model: tuned}
	j.report.Difference, j.report.Scale = compare.Logits(pool, want, compare.Side{Model: base, Adapter: a})
	j.report.Before, _ = compare.Logits(pool, want, compare.Side{Model: base})
	if d := j.report.Difference; d-d != 0 {
		return nil, fmt.Errorf("%w: a logit", ErrNotFinite)
	}
	return &j.report, a.Save(o.Output)
}

// checkOutput refuses a folder that holds a model: readers would mix the two
// up.
func (o *Options) checkOutput() error {
	if _, err := os.Stat(filepath.Join(o.Output, "config.json")); err == nil {
		return fmt.Errorf("%w: output: %s holds a model (config.json): choose another folder", ErrOptions, o.Output)
	}
	return nil
}

// match demands the same architecture and the same sites of the same shapes.
func (j *job) match() error {
	a, b := j.base.Sites(), j.tuned.Sites()
	if x, y := j.base.Config().Architecture, j.tuned.Config().Architecture; x != y || len(a) != len(b) {
		return fmt.Errorf("%w: %s with %d modules and %s with %d", ErrModels, x, len(a), y, len(b))
	}
	for i, s := range a {
		if t := b[i]; s.Name != t.Name || shape(s) != shape(t) {
			return fmt.Errorf("%w: %s is %v, the other %s %v", ErrModels, s.Name, shape(s), t.Name, shape(t))
		}
	}
	return nil
}

// shape is the sizes of a site's tensors.
func shape(s models.Site) [4]int {
	switch s.Kind {
	case models.LinearSite:
		return [4]int{s.Linear.W.Rows, s.Linear.W.Cols, len(s.Linear.Bias)}
	case models.EmbeddingSite:
		return [4]int{s.Embedding.W.Rows, s.Embedding.W.Cols}
	case models.NormSite:
		return [4]int{len(s.Norm.Weight), len(s.Norm.Bias)}
	}
	return [4]int{}
}

// errors adds the modules' errors up by layer and over all.
func (j *job) errors() {
	lost, all := map[int]float64{}, map[int]float64{}
	var l, n float64
	for _, m := range j.report.Modules {
		e := m.Error * m.Norm
		lost[m.Layer] += e * e
		all[m.Layer] += m.Norm * m.Norm
		l, n = l+e*e, n+m.Norm*m.Norm
	}
	j.report.Layers = map[int]float64{}
	for layer, total := range all {
		j.report.Layers[layer] = math.Sqrt(lost[layer] / total)
	}
	j.report.Error = math.Sqrt(l / n)
	j.report.Saved = j.saved
}

// adapter lays the adapter out and fills it.
func (j *job) adapter() (*adapters.Adapter, error) {
	config, err := adapters.NewConfig(j.settings())
	if err != nil {
		return nil, err
	}
	a, err := adapters.New(j.base, config)
	if err != nil {
		return nil, err
	}
	j.fill(a)
	for _, p := range a.Params() {
		j.report.Parameters += p.Len()
	}
	return a, nil
}

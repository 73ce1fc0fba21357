package merge

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Why a merge is refused. Nothing has been written then.
var (
	ErrTied      = errors.New("the base's embeddings are tied")
	ErrQuantised = errors.New("the base is quantised")
	ErrNotFinite = errors.New("not finite")
	ErrBias      = errors.New("the base has no place for a bias")
	ErrOutput    = errors.New("output")
	ErrAgain     = errors.New("the adapter is already merged")
	ErrDiffers   = errors.New("the merged model computes something else")
)

// Options say what to merge and how.
type Options struct {
	Base        string       // a Hugging Face folder or a GGUF file
	Adapter     string       // a PEFT folder
	Combination *Combination // of several, in Adapter's place
	Output      string       // a folder or, from a GGUF base, a file
	// DType is f32, f16 or bf16: the precision of the result, or of what is
	// changed in a GGUF. Empty: the base's own, which must not be quantised.
	DType      string
	Untie      bool           // write tied embeddings apart where only one changes
	Overwrite  bool           // replace what is at Output
	ShardBytes int            // the most bytes of one safetensors file; 0: 5 GB
	Reading    models.Options // how the base is read
	Pool       *kernels.Pool
}

// Report is what a merge did.
type Report struct {
	Changed    []string `json:"changed"` // tensors that were computed, by transformers' names
	Tensors    int      `json:"tensors"` // of the result
	Bytes      int      `json:"bytes"`   // of their values
	Warnings   []string `json:"warnings,omitempty"`
	Drift      float64  `json:"drift"`      // rounding error over the adapter's change, Frobenius
	Largest    float64  `json:"largest"`    // the largest rounding error of a weight
	Difference float64  `json:"difference"` // the largest of a logit, base and adapter against the result
	Scale      float64  `json:"scale"`      // the largest logit
}

// job is one merge on its way.
type job struct {
	Options
	model   models.Model
	source  *models.Source
	adapter *adapters.Adapter
	changes map[string]*change // by name
	order   []string           // their names, by site
	config  map[string]any     // what changes in config.json
	untied  bool
	format  *kernels.Format // DType; nil: as stored
	drift   drift
	report  Report
}

// Merge merges as the options say.
func Merge(o Options) (*Report, error) {
	r, err := merge(o)
	if err != nil {
		return nil, fmt.Errorf("merging %s into %s: %w", strings.Join(o.adapters(), ", "), o.Base, err)
	}
	return r, nil
}

func (o *Options) adapters() []string {
	if o.Combination != nil {
		return o.Combination.Adapters
	}
	return []string{o.Adapter}
}

// open reads the adapter, or makes the combination.
func (o *Options) open() (*adapters.Folder, []string, error) {
	if o.Combination != nil {
		return Combine(*o.Combination)
	}
	folder, err := adapters.Open(o.Adapter)
	return folder, nil, err
}

func merge(o Options) (*Report, error) {
	j := &job{Options: o, changes: map[string]*change{}, config: map[string]any{}}
	if err := j.check(); err != nil {
		return nil, err
	}
	folder, warnings, err := o.open()
	if err != nil {
		return nil, err
	}
	if j.model, j.source, err = models.Open(o.Base, o.Reading); err != nil {
		return nil, err
	}
	defer func() { _ = j.source.Close() }()
	if err := j.model.Config().Architecture.Check(models.Generate); err != nil {
		return nil, fmt.Errorf("%s: %w: encoders are not merged yet", o.Base, err)
	}
	j.report.Warnings = slices.Concat(j.source.Warnings, warnings)
	if j.adapter, err = adapters.Load(j.model, folder); err != nil {
		return nil, err
	}
	if err := j.collect(); err != nil {
		return nil, err
	}
	if err := j.tie(); err != nil {
		return nil, err
	}
	if err := j.biases(); err != nil {
		return nil, err
	}
	return &j.report, j.write()
}

func (j *job) check() error {
	switch strings.ToLower(j.DType) {
	case "":
	case "f32":
		j.format = new(kernels.F32)
	case "f16":
		j.format = new(kernels.F16)
	case "bf16":
		j.format = new(kernels.BF16)
	default:
		return fmt.Errorf("%w: dtype %q, want f32, f16 or bf16", ErrOutput, j.DType)
	}
	return vacant(j.Output, j.Overwrite, append([]string{j.Base}, j.adapters()...))
}

// vacant demands that output is none of what is read and, without overwrite,
// that nothing is there.
func vacant(output string, overwrite bool, read []string) error {
	for _, from := range read {
		if liesIn(from, output) {
			return fmt.Errorf("%w: %s is what is read", ErrOutput, output)
		}
	}
	if _, err := os.Stat(output); err == nil && !overwrite {
		return fmt.Errorf("%w: %s exists: --overwrite replaces it", ErrOutput, output)
	}
	return nil
}

// liesIn reports whether path is dir or in it, by whatever links.
func liesIn(path, dir string) bool {
	out, err := os.Stat(dir)
	if err != nil {
		return false
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return false
	}
	if path, err = filepath.Abs(path); err != nil {
		return false
	}
	for {
		if at, err := os.Stat(path); err == nil && os.SameFile(at, out) {
			return true
		}
		parent := filepath.Dir(path)
		if parent == path {
			return false
		}
		path = parent
	}
}

// collect lists what the adapter changes.
func (j *job) collect() error {
	merged, err := j.adapter.Merge(j.model)
	if err != nil {
		return err
	}
	for _, m := range merged {
		j.add(m)
	}
	if len(j.order) == 0 {
		return fmt.Errorf("%w: it changes nothing", adapters.ErrMerge)
	}
	return nil
}

func (j *job) add(m adapters.Merged) {
	s := j.model.Sites()[m.Site]
	c := &change{Merged: m, name: s.Name + m.Suffix, turned: s.Conv1D && m.Suffix == ".weight" && j.source.GGUF == nil, base: was(s, m.Suffix)}
	if j.source.GGUF != nil && strings.HasSuffix(j.Output, ".gguf") {
		c.order = j.model.Config().GGUFRows(c.name)
		if c.order != nil && m.Rows == 1 { // a bias: its columns are the outputs
			c.Row, c.base, c.order = reordered(c.Row, c.order), func([]float32, int) {}, nil
		}
		if s.Kind == models.NormSite && m.Suffix == ".weight" { // the file has the sum
			c.Row, c.base = raised(c.Row, float64(s.Norm.Offset)), raised(c.base, s.Norm.Offset)
		}
	}
	j.changes[c.name] = c
	j.order = append(j.order, c.name)
}

// was reads the base's own values.
func was(s models.Site, suffix string) func(dst []float32, i int) {
	weight := func(w kernels.Weight) func(dst []float32, i int) {
		return func(dst []float32, i int) { kernels.Decode(dst, w.Format, w.Row(i)) }
	}
	vector := func(v []float32) func(dst []float32, _ int) {
		return func(dst []float32, _ int) { copy(dst, v) }
	}
	switch {
	case s.Kind == models.EmbeddingSite:
		return weight(s.Embedding.W)
	case s.Kind == models.LinearSite && suffix == ".weight":
		return weight(s.Linear.W)
	case s.Kind == models.LinearSite:
		return vector(s.Linear.Bias)
	case suffix == ".weight":
		return vector(s.Norm.Weight)
	}
	return vector(s.Norm.Bias)
}

// reordered puts the values of a vector into a file's order.
func reordered(row func([]float64, int), order []int) func([]float64, int) {
	return func(dst []float64, i int) {
		v := make([]float64, len(dst))
		row(v, i)
		for to, from := range order {
			dst[to] = v[from]
		}
	}
}

// raised adds an offset to rows.
func raised[T float32 | float64](row func([]T, int), offset T) func([]T, int) {
	return func(dst []T, i int) {
		row(dst, i)
		for k := range dst {
			dst[k] += offset
		}
	}
}

// tie settles tied embeddings: where both change they must become the same;
// where one does, the two are written apart if that was asked for.
func (j *job) tie() error {
	if !j.model.Config().Tied {
		return nil
	}
	in, out := tiedNames(j.model)
	a, b := j.changes[in], j.changes[out]
	switch {
	case a == nil && b == nil:
		return nil
	case a != nil && b != nil && same(a, b):
		delete(j.changes, out)
		j.order = slices.DeleteFunc(j.order, func(n string) bool { return n == out })
		return nil
	case !j.Untie:
		changed, stays := in, out
		if a == nil {
			changed, stays = out, in
		}
		if a != nil && b != nil {
			return fmt.Errorf("%w: %s and %s change differently; --untie writes them apart", ErrTied, in, out)
		}
		return fmt.Errorf("%w: the adapter changes %s and leaves %s, which is the same tensor; --untie writes them apart", ErrTied, changed, stays)
	}
	j.untied = true
	j.config["tie_word_embeddings"] = false
	j.report.Warnings = append(j.report.Warnings, fmt.Sprintf("%s and %s are written apart: the model grows by one embedding", in, out))
	for site, s := range j.model.Sites() {
		if name := s.Name + ".weight"; (name == in && a == nil) || (name == out && b == nil) {
			w := weightOf(s)
			j.add(adapters.Merged{Site: site, Suffix: ".weight", Rows: w.Rows, Cols: w.Cols, Row: widened(was(s, ".weight"), w.Cols)})
		}
	}
	return nil
}

// widened reads rows as float64.
func widened(base func([]float32, int), cols int) func([]float64, int) {
	return func(dst []float64, i int) {
		narrow := make([]float32, cols)
		base(narrow, i)
		for k, v := range narrow {
			dst[k] = float64(v)
		}
	}
}

func weightOf(s models.Site) kernels.Weight {
	if s.Kind == models.EmbeddingSite {
		return s.Embedding.W
	}
	return s.Linear.W
}

// same reports whether two changes have the same values.
func same(a, b *change) bool {
	if a.Rows != b.Rows || a.Cols != b.Cols {
		return false
	}
	x, y := make([]float64, a.Cols), make([]float64, b.Cols)
	for i := range a.Rows {
		a.Row(x, i)
		b.Row(y, i)
		if !slices.Equal(x, y) {
			return false
		}
	}
	return true
}

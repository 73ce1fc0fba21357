package inspect

import (
	"errors"
	"fmt"
	"math"
	goruntime "runtime"
	"sync"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// ErrBase reports a base that does not fit what is held against it.
var ErrBase = errors.New("base does not fit")

// Change is how one matrix W₀ has become W. Each is taken apart into the
// magnitudes m_n = ‖W_n‖ and directions of its k outputs, the rows of [out,
// in], as DoRA's code does (Liu et al., 2024, section 3.2; peft's lora/dora.py):
//
//	ΔM = Σ_n |m_n - m₀_n| / k,  ΔD = Σ_n (1 - cos(W_n, W₀_n)) / k.
type Change struct {
	Module   string  `json:"module"`
	Layer    int     `json:"layer"`
	DeltaM   float64 `json:"delta_m"`
	DeltaD   float64 `json:"delta_d"`
	Relative float64 `json:"relative"` // ‖W - W₀‖/‖W₀‖
}

// Comparison is all changed matrices of the blocks.
type Comparison struct {
	Modules []Change `json:"modules"`
	Layers  []Change `json:"layers"` // means over a block's changed matrices
	// Correlation is Pearson's between ΔM and ΔD over the layers, by kind of
	// module and, under "all", over every matrix: about 0.8 for LoRA, -0.3 for
	// DoRA and -0.6 for full fine-tuning in DoRA's figure 2. Kinds with fewer
	// than three layers, or without any spread, are left out.
	Correlation map[string]float64 `json:"correlation"`
}

// rows yields row i of a matrix.
type rows func(dst []float64, i int)

// Against compares an adapter's folder, or a whole fine-tune, with the base.
// The options are how both are read.
func Against(path, base string, o models.Options) (*Comparison, error) {
	m, source, err := models.Open(base, o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = source.Close() }()
	c := &Comparison{Correlation: map[string]float64{}}
	var tuned func(site int) (rows, error)
	if IsAdapter(path) {
		tuned, err = adapted(m, path)
	} else {
		var other *models.Source
		tuned, other, err = whole(m, path, o)
		if other != nil {
			defer func() { _ = other.Close() }()
		}
	}
	if err != nil {
		return nil, err
	}
	for site, s := range m.Sites() {
		if s.Kind != models.LinearSite || s.Layer < 0 {
			continue
		}
		after, err := tuned(site)
		if err != nil {
			return nil, err
		}
		if after == nil {
			continue
		}
		change := compare(s.Linear.W, after)
		change.Module, change.Layer = s.Name, s.Layer
		if change.DeltaM-change.DeltaM != 0 || change.DeltaD-change.DeltaD != 0 {
			return nil, fmt.Errorf("%w: %s: %s is not finite, or has a row of zeros, which has no direction", ErrBase, path, s.Name)
		}
		c.Modules = append(c.Modules, change)
	}
	c.summarise(m.Sites())
	return c, nil
}

// adapted yields the matrices that an adapter changes.
func adapted(m models.Model, dir string) (func(int) (rows, error), error) {
	folder, err := adapters.Open(dir)
	if err != nil {
		return nil, err
	}
	a, err := adapters.Load(m, folder)
	if err != nil {
		return nil, err
	}
	merged, err := a.Merge(m)
	if err != nil {
		return nil, fmt.Errorf("%s: ΔM and ΔD are of weights that change, by low-rank adapters, IA3 and modules_to_save, or between whole models: %w", dir, err)
	}
	bySite := map[int]rows{}
	for _, c := range merged {
		if c.Suffix == ".weight" {
			bySite[c.Site] = c.Row
		}
	}
	return func(site int) (rows, error) { return bySite[site], nil }, nil
}

// whole yields the matrices of a model that differ from the base's.
func whole(m models.Model, path string, o models.Options) (func(int) (rows, error), *models.Source, error) {
	other, source, err := models.Open(path, o)
	if err != nil {
		return nil, nil, err
	}
	sites := other.Sites()
	return func(site int) (rows, error) {
		s := m.Sites()[site]
		at := sites.Find(s.Name)
		if at < 0 || sites[at].Kind != models.LinearSite {
			return nil, fmt.Errorf("%w: %s has no %s", ErrBase, path, s.Name)
		}
		a, b := s.Linear.W, sites[at].Linear.W
		if a.Rows != b.Rows || a.Cols != b.Cols {
			return nil, fmt.Errorf("%w: %s of %s is [%d, %d], the base's is [%d, %d]", ErrBase, s.Name, path, b.Rows, b.Cols, a.Rows, a.Cols)
		}
		if a.Format == b.Format && string(a.Data) == string(b.Data) {
			return nil, nil
		}
		return wide(b), nil
	}, source, nil
}

// wide reads rows of a weight as float64.
func wide(w kernels.Weight) rows {
	return func(dst []float64, i int) {
		narrow := make([]float32, w.Cols)
		kernels.Decode(narrow, w.Format, w.Row(i))
		for j, v := range narrow {
			dst[j] = float64(v)
		}
	}
}

// compare computes ΔM and ΔD, rows in parallel, sums in order.
func compare(w kernels.Weight, after rows) Change {
	type part struct{ dm, dd, moved, norm float64 }
	parts := make([]part, w.Rows)
	var wait sync.WaitGroup
	n := min(goruntime.GOMAXPROCS(0), w.Rows)
	for worker := range n {
		wait.Go(func() {
			before := wide(w)
			a, b := make([]float64, w.Cols), make([]float64, w.Cols)
			for i := worker; i < w.Rows; i += n {
				before(a, i)
				after(b, i)
				var aa, bb, ab, moved float64
				for j, x := range a {
					y := b[j]
					aa, bb, ab, moved = aa+x*x, bb+y*y, ab+x*y, moved+(y-x)*(y-x)
				}
				parts[i] = part{math.Abs(math.Sqrt(bb) - math.Sqrt(aa)), 1 - ab/math.Sqrt(aa*bb), moved, aa}
			}
		})
	}
	wait.Wait()
	var sum part
	for _, p := range parts {
		sum.dm, sum.dd, sum.moved, sum.norm = sum.dm+p.dm, sum.dd+p.dd, sum.moved+p.moved, sum.norm+p.norm
	}
	k := float64(w.Rows)
	return Change{DeltaM: sum.dm / k, DeltaD: max(sum.dd/k, 0), Relative: math.Sqrt(sum.moved / sum.norm)}
}

package extract

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// site takes over what differs at one site.
func (j *job) site(i int) error {
	a, b := j.base.Sites()[i], j.tuned.Sites()[i]
	switch a.Kind {
	case models.NormSite:
		if !equal(a.Norm.Weight, b.Norm.Weight) || !equal(a.Norm.Bias, b.Norm.Bias) {
			j.saved = append(j.saved, a.Name)
		}
	case models.EmbeddingSite:
		return j.matrix(i, a, a.Embedding.W, b.Embedding.W)
	case models.LinearSite:
		if !equal(a.Linear.Bias, b.Linear.Bias) {
			j.report.Biases++
			j.differ = true
		}
		return j.matrix(i, a, a.Linear.W, b.Linear.W)
	}
	return nil
}

func equal(a, b []float32) bool {
	for i, v := range a {
		if v != b[i] {
			return false
		}
	}
	return true
}

// matrix factors the difference of one weight.
func (j *job) matrix(site int, s models.Site, before, after kernels.Weight) error {
	d, norm := difference(before, after)
	switch {
	case norm == 0:
		return nil
	case norm-norm != 0:
		return fmt.Errorf("%w: %s.weight holds a NaN or an infinity", ErrNotFinite, s.Name)
	}
	if s.Convolution > 0 {
		return fmt.Errorf("%w: %s.weight differs, a convolution, whose difference no adapter holds", ErrModels, s.Name)
	}
	if whole := s.Kind == models.EmbeddingSite || s.Head; whole && j.Embeddings != "lora" {
		if j.Embeddings == "skip" {
			j.report.Left = append(j.report.Left, s.Name)
		} else {
			j.saved = append(j.saved, s.Name)
			j.tie = j.base.Config().Tied && j.tuned.Config().Tied
		}
		return nil
	}
	t, err := decompose(d, j.Rank, 1)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	r := len(t.s)
	if j.Energy > 0 {
		r = t.rankFor(j.Energy, norm*norm)
	}
	for r > 1 && t.s[r-1] == 0 { // nothing is left
		r--
	}
	a, b := t.factors(r)
	narrow(a)
	narrow(b)
	m := Module{Name: s.Name, Layer: s.Layer, Rank: r, Norm: norm, Error: residue(d, a, b) / norm}
	j.found = append(j.found, factored{site, a, b, m})
	j.report.Modules = append(j.report.Modules, m)
	return nil
}

// difference returns after - before in float64 and its Frobenius norm.
func difference(before, after kernels.Weight) (*mat.Dense, float64) {
	if before.Format == after.Format && string(before.Data) == string(after.Data) {
		return nil, 0
	}
	d := mat.NewDense(before.Rows, before.Cols, nil)
	x, y := make([]float32, before.Cols), make([]float32, before.Cols)
	sum := 0.0
	for i := range before.Rows {
		kernels.Decode(x, before.Format, before.Row(i))
		kernels.Decode(y, after.Format, after.Row(i))
		row := d.RawRowView(i)
		for k := range row {
			row[k] = float64(y[k]) - float64(x[k])
			sum += row[k] * row[k]
		}
	}
	return d, math.Sqrt(sum)
}

// narrow rounds a factor to the float32 in which it is saved.
func narrow(m *mat.Dense) {
	for i := range m.RawMatrix().Data {
		v := &m.RawMatrix().Data[i]
		*v = float64(float32(*v))
	}
}

// residue is ‖d - b·a‖; d is overwritten.
func residue(d, a, b *mat.Dense) float64 {
	var low mat.Dense
	low.Mul(b, a)
	d.Sub(d, &low)
	return mat.Norm(d, 2)
}

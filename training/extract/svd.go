package extract

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/peft-serve/peft-serve/adapters/random"
)

// dense is the largest smaller side of a matrix that is decomposed exactly.
const dense = 256

// Randomised decomposition: columns beyond the rank, and how often the sketch
// is sharpened by a product with D·Dᵀ.
const (
	oversampling = 10
	sharpenings  = 3
)

var errSVD = errors.New("the singular value decomposition does not converge")

// truncated is U·diag(S)·Vᵀ, the largest singular values of a matrix first.
type truncated struct {
	u, v *mat.Dense // [out, r], [in, r]
	s    []float64
}

// decompose returns the largest rank singular values of d with their vectors;
// seed fixes the sketch of a randomised decomposition.
func decompose(d *mat.Dense, rank int, seed uint64) (*truncated, error) {
	out, in := d.Dims()
	rank = min(rank, out, in)
	if min(out, in) <= dense || rank+oversampling >= min(out, in) {
		return exactly(d, rank)
	}
	// Y = (D·Dᵀ)^q·D·Ω spans what D maps to, with its large directions ahead.
	k := rank + oversampling
	noise := make([]float32, in*k)
	random.Named(seed, "extract").Normal(noise, 1)
	omega := mat.NewDense(in, k, nil)
	for i, v := range noise {
		omega.Set(i/k, i%k, float64(v))
	}
	var y, z mat.Dense
	y.Mul(d, omega)
	for range sharpenings {
		q := orthonormal(&y)
		z.Mul(d.T(), q)
		q = orthonormal(&z)
		y.Mul(d, q)
	}
	q := orthonormal(&y)
	var small mat.Dense
	small.Mul(q.T(), d) // [k, in]
	t, err := exactly(&small, rank)
	if err != nil {
		return nil, err
	}
	var u mat.Dense
	u.Mul(q, t.u)
	t.u = &u
	return t, nil
}

// orthonormal is a basis of m's columns, by Gram and Schmidt's method, twice
// for each column; a column that the earlier ones span becomes zero.
func orthonormal(m *mat.Dense) *mat.Dense {
	t := mat.DenseCopyOf(m.T()) // columns as rows
	n, _ := t.Dims()
	for i := range n {
		v := t.RawRowView(i)
		before := floats.Norm(v, 2)
		for range 2 {
			for j := range i {
				floats.AddScaled(v, -floats.Dot(v, t.RawRowView(j)), t.RawRowView(j))
			}
		}
		if norm := floats.Norm(v, 2); norm > 1e-12*before {
			floats.Scale(1/norm, v)
		} else {
			clear(v)
		}
	}
	return mat.DenseCopyOf(t.T())
}

// exactly is the thin decomposition.
func exactly(d *mat.Dense, rank int) (*truncated, error) {
	var svd mat.SVD
	if !svd.Factorize(d, mat.SVDThin) {
		return nil, errSVD
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	s := svd.Values(nil)
	out, in := d.Dims()
	return &truncated{mat.DenseCopyOf(u.Slice(0, out, 0, rank)), mat.DenseCopyOf(v.Slice(0, in, 0, rank)), s[:rank]}, nil
}

// rankFor is the smallest rank that keeps the given share of the energy ‖D‖²,
// or the largest allowed.
func (t *truncated) rankFor(share, total float64) int {
	kept := 0.0
	for i, s := range t.s {
		if kept >= share*total {
			return max(i, 1)
		}
		kept += s * s
	}
	return len(t.s)
}

// factors returns A = √S·Vᵀ, [r, in], and B = U·√S, [out, r].
func (t *truncated) factors(r int) (a, b *mat.Dense) {
	out, _ := t.u.Dims()
	in, _ := t.v.Dims()
	a, b = mat.NewDense(r, in, nil), mat.NewDense(out, r, nil)
	for k := range r {
		root := math.Sqrt(t.s[k])
		for j := range in {
			a.Set(k, j, root*t.v.At(j, k))
		}
		for i := range out {
			b.Set(i, k, root*t.u.At(i, k))
		}
	}
	return a, b
}

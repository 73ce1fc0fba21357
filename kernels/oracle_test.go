package kernels

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// widened is m in float64, for gonum.
func widened(m Matrix) *mat.Dense {
	w := mat.NewDense(m.Rows, m.Cols, nil)
	for r := range m.Rows {
		for c, v := range m.Row(r) {
			w.Set(r, c, float64(v))
		}
	}
	return w
}

// An oracle is a sum of products as gonum computes it in float64, and the sum
// of its terms' sizes.
type oracle struct{ want, size *mat.Dense }

// oracleOf is was + a·b; an empty was is zero.
func oracleOf(was Matrix, a, b mat.Matrix) oracle {
	var o oracle
	o.want, o.size = new(mat.Dense), new(mat.Dense)
	o.want.Mul(a, b)
	o.size.Mul(sizes(a), sizes(b))
	if !was.Empty() {
		w := widened(was)
		o.want.Add(o.want, w)
		o.size.Add(o.size, sizes(w))
	}
	return o
}

func sizes(m mat.Matrix) *mat.Dense {
	s := new(mat.Dense)
	s.Apply(func(_, _ int, v float64) float64 { return math.Abs(v) }, m)
	return s
}

// The errors that are allowed, as shares of a sum's terms.
const (
	fewRoundings = 2e-6
	tightly      = 1.0 / (1 << 21)
)

// check demands that got differs from the oracle by no more than that share of
// the terms.
func (o oracle) check(t *testing.T, what string, got Matrix, share float64) {
	t.Helper()
	for r := range got.Rows {
		for c, g := range got.Row(r) {
			want, size := o.want.At(r, c), o.size.At(r, c)
			if e := math.Abs(float64(g) - want); !(e <= share*size+1e-30) {
				t.Fatalf("%s: [%d][%d] = %v, want %v: off by 2^%.1f of the terms", what, r, c, g, want, math.Log2(e/size))
			}
		}
	}
}

package adapters

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/peft-serve/peft-serve/kernels"
)

// principal sets a, [r, in], and b, [r, out], to the principal components of
// w (PiSSA, Meng et al., 2024): with W = U·S·Vᵀ,
//
//	A = √(S_r/s)·V_rᵀ,  Bᵀ = √(S_r/s)·U_rᵀ
func principal(a, b, w kernels.Matrix, s float64) {
	u, values, v := Singular(w, a.Rows)
	for k := range a.Rows {
		f := float32(math.Sqrt(values[k] / s))
		for j, x := range v.Row(k) {
			a.Row(k)[j] = f * x
		}
		for j, x := range u.Row(k) {
			b.Row(k)[j] = f * x
		}
	}
}

// Singular returns the r largest singular values of w, [out, in], with their
// left vectors as rows [r, out] and their right ones as rows [r, in].
func Singular(w kernels.Matrix, r int) (u kernels.Matrix, values []float64, v kernels.Matrix) {
	var svd mat.SVD
	if !svd.Factorize(dense(w), mat.SVDThin) {
		panic("adapters: the singular value decomposition did not converge")
	}
	values = svd.Values(nil)[:r]
	var left, right mat.Dense
	svd.UTo(&left)
	svd.VTo(&right)
	return columnsOf(&left, r), values, columnsOf(&right, r)
}

// orthonormal sets a and b to the first rows of R and columns of Q of W = Q·R
// (OLoRA, Büyükakyüz, 2024).
func orthonormal(a, b, w kernels.Matrix) {
	var qr mat.QR
	wide := w.Rows < w.Cols
	if wide { // gonum wants at least as many rows as columns
		padded := mat.NewDense(w.Cols, w.Cols, nil)
		padded.Slice(0, w.Rows, 0, w.Cols).(*mat.Dense).Copy(dense(w))
		qr.Factorize(padded)
	} else {
		qr.Factorize(dense(w))
	}
	var q, r mat.Dense
	qr.QTo(&q)
	qr.RTo(&r)
	for k := range a.Rows {
		for j := range a.Cols {
			a.Row(k)[j] = float32(r.At(k, j))
		}
		for j := range b.Cols {
			b.Row(k)[j] = float32(q.At(j, k))
		}
	}
}

func dense(w kernels.Matrix) *mat.Dense {
	d := mat.NewDense(w.Rows, w.Cols, nil)
	for i := range w.Rows {
		row := d.RawRowView(i)
		for j, x := range w.Row(i) {
			row[j] = float64(x)
		}
	}
	return d
}

// columnsOf returns the first n columns of d as rows.
func columnsOf(d *mat.Dense, n int) kernels.Matrix {
	rows, _ := d.Dims()
	m := kernels.NewMatrix(n, rows)
	for k := range n {
		for j := range rows {
			m.Row(k)[j] = float32(d.At(j, k))
		}
	}
	return m
}

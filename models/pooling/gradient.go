package pooling

import (
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// Rows are the places of the rows that a pool of modes has to be given, of a text of n
// tokens of which so many are passed over.
func Rows(modes []Mode, n, passed int) []int {
	first, last, all := Sparse(modes)
	var rows []int
	for i := passed; i < n; i++ {
		if all || first && i == passed || last && i == n-1 {
			rows = append(rows, i)
		}
	}
	return rows
}

// Gradient adds to dx, the gradients of the rows x that a pool was given, what comes of
// dy, that of the row which it made.
func Gradient(dx, x kernels.Matrix, modes []Mode, passed int, dy []float64) {
	n := float64(x.Rows)
	for i, m := range modes {
		part := dy[i*x.Cols : (i+1)*x.Cols]
		switch m {
		case First:
			add(dx.Row(0), part, 1)
		case Last:
			add(dx.Row(x.Rows-1), part, 1)
		case Max:
			for c, v := range part {
				most := 0
				for row := range x.Rows {
					if x.Row(row)[c] > x.Row(most)[c] {
						most = row
					}
				}
				dx.Row(most)[c] += float32(v)
			}
		case Mean:
			for row := range x.Rows {
				add(dx.Row(row), part, 1/n)
			}
		case MeanSqrt:
			for row := range x.Rows {
				add(dx.Row(row), part, 1/math.Sqrt(n))
			}
		case WeightedMean:
			sum := n*(n+1)/2 + n*float64(passed)
			for row := range x.Rows {
				add(dx.Row(row), part, float64(passed+row+1)/sum)
			}
		}
	}
}

func add(dst []float32, v []float64, by float64) {
	for i := range dst {
		dst[i] += float32(v[i] * by)
	}
}

// Back is the gradient of the row that Dense took, of dy, that of the one it made of it.
func (d *Dense) Back(row []float32, dy []float64) []float64 {
	dx := make([]float64, d.in)
	for i, v := range dy {
		weights := d.weight[i*d.in : (i+1)*d.in]
		sum := Dot(weights, row)
		if d.bias != nil {
			sum += float64(d.bias[i])
		}
		v *= d.slope(sum)
		for k, w := range weights {
			dx[k] += v * float64(w)
		}
	}
	return dx
}

// Back is the gradient of a pooled row, of dy, that of what the modules Dense make of it.
func (r *Recipe) Back(row []float32, dy []float64) []float64 {
	taken := make([][]float32, len(r.Dense))
	for i, d := range r.Dense {
		taken[i], row = row, d.Forward(row)
	}
	for i := len(r.Dense) - 1; i >= 0; i-- {
		dy = r.Dense[i].Back(taken[i], dy)
	}
	return dy
}

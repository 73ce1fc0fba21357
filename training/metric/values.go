package metric

import (
	"cmp"
	"math"
	"slices"
)

// Pearson is the linear correlation.
func Pearson(a, b []float64) float64 {
	if !varies(a) || !varies(b) {
		return 0
	}
	x, y := centred(a), centred(b)
	sum := 0.0
	for i := range x {
		sum += x[i] * y[i]
	}
	return min(max(sum, -1), 1)
}

// varies reports whether there are two values, and all are finite.
func varies(v []float64) bool {
	if len(v) == 0 {
		return false
	}
	low, high := slices.Min(v), slices.Max(v) // NaN if one is
	return low < high && !math.IsInf(low, 0) && !math.IsInf(high, 0)
}

// centred are the differences to the mean, of norm 1.
func centred(v []float64) []float64 {
	mean, largest := 0.0, 0.0
	for _, x := range v {
		mean += x / float64(len(v))
	}
	d := make([]float64, len(v))
	for i, x := range v {
		d[i] = x - mean
		largest = max(largest, math.Abs(d[i]))
	}
	norm := 0.0
	for i := range d {
		d[i] /= largest // squares of what is tiny or huge are not
		norm += d[i] * d[i]
	}
	norm = math.Sqrt(norm)
	for i := range d {
		d[i] /= norm
	}
	return d
}

// Spearman is Pearson's correlation of the ranks; equal values have the mean of
// theirs.
func Spearman(a, b []float64) float64 {
	if !varies(a) || !varies(b) {
		return 0
	}
	return Pearson(ranks(a), ranks(b))
}

func ranks(v []float64) []float64 {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(v[i], v[j]) })
	r := make([]float64, len(v))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && v[order[j]] == v[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			r[k] = float64(i+j-1) / 2
		}
		i = j
	}
	return r
}

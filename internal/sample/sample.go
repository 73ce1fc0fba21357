// Package sample reckons with a few measurements of the same thing, such as turns that
// were taken one after the other.
package sample

import (
	"math"
	"slices"
)

// Interval is one of 95 % for the median of what the measurements are of, however they
// are distributed: from one of them to another (the sign test's). Fewer than six have
// none.
func Interval(v []float64) []float64 {
	sorted, n := slices.Sorted(slices.Values(v)), len(v)
	// The logarithm of k values' chance to be below the median, and the chance of fewer.
	log, beyond, k := -float64(n)*math.Ln2, 0.0, 0
	for ; beyond+math.Exp(log) <= 0.025; k++ {
		beyond += math.Exp(log)
		log += math.Log(float64(n-k)) - math.Log(float64(k+1))
	}
	if k == 0 {
		return nil
	}
	return []float64{sorted[k-1], sorted[n-k]}
}

// Median of a few measurements.
func Median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

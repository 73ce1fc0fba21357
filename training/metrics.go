package training

import (
	"math"
	"slices"
)

// classMetrics are those of GLUE on labels, by name.
var classMetrics = map[string]func(labels, chosen []int) float64{
	"accuracy": Accuracy, "f1": F1, "matthews": Matthews,
}

// valueMetrics are those of GLUE on values, by name.
var valueMetrics = map[string]func(a, b []float64) float64{"pearson": Pearson, "spearman": Spearman}

// Accuracy is the share of labels that were chosen.
func Accuracy(labels, chosen []int) float64 {
	right := 0
	for i, l := range labels {
		if chosen[i] == l {
			right++
		}
	}
	return float64(right) / float64(len(labels))
}

// confusion counts true and false, positives (label 1) and negatives.
func confusion(labels, chosen []int) (tp, fp, fn, tn float64) {
	for i, l := range labels {
		switch {
		case l == 1 && chosen[i] == 1:
			tp++
		case l == 1:
			fn++
		case chosen[i] == 1:
			fp++
		default:
			tn++
		}
	}
	return tp, fp, fn, tn
}

// F1 is the harmonic mean of precision and recall of label 1; 0 where no
// label 1 was found.
func F1(labels, chosen []int) float64 {
	tp, fp, fn, _ := confusion(labels, chosen)
	if tp == 0 {
		return 0
	}
	return 2 * tp / (2*tp + fp + fn)
}

// Matthews is the correlation of Matthews (1975); 0 where it is not defined.
func Matthews(labels, chosen []int) float64 {
	tp, fp, fn, tn := confusion(labels, chosen)
	d := math.Sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
	if d == 0 {
		return 0
	}
	return (tp*tn - fp*fn) / d
}

// Pearson is the linear correlation; 0 where one side does not vary.
func Pearson(a, b []float64) float64 {
	n := float64(len(a))
	var ma, mb float64
	for i := range a {
		ma += a[i] / n
		mb += b[i] / n
	}
	var ab, aa, bb float64
	for i := range a {
		x, y := a[i]-ma, b[i]-mb
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// Spearman is Pearson's correlation of the ranks; equal values share theirs.
func Spearman(a, b []float64) float64 { return Pearson(ranks(a), ranks(b)) }

func ranks(v []float64) []float64 {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case v[i] < v[j]:
			return -1
		case v[i] > v[j]:
			return 1
		}
		return 0
	})
	r := make([]float64, len(v))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && v[order[j]] == v[order[i]] {
			j++
		}
		for k := i; k < j; k++ {
			r[order[k]] = float64(i+j-1) / 2
		}
		i = j
	}
	return r
}

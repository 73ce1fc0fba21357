// Package metric holds the measures by which GLUE and its like compare what a model
// chose with what is right: of classes, of values and of entities.
//
// Each is the number of scikit-learn, scipy or seqeval. Where a measure is not
// defined, of no examples or of predictions that do not vary, it is 0.
package metric

import (
	"math"
	"slices"
)

// Accuracy is the share of labels that were chosen.
func Accuracy(labels, chosen []int) float64 {
	right := 0
	for i, l := range labels {
		if chosen[i] == l {
			right++
		}
	}
	return ratio(float64(right), float64(len(labels)))
}

// counts are what F1 is made of: true positives, false ones, and those missed.
type counts struct{ tp, fp, fn float64 }

// f1 is the harmonic mean of precision and recall.
func (c counts) f1() float64 { return ratio(2*c.tp, 2*c.tp+c.fp+c.fn) }

func (c *counts) add(right, chosen bool) {
	switch {
	case right && chosen:
		c.tp++
	case chosen:
		c.fp++
	case right:
		c.fn++
	}
}

// F1 is the harmonic mean of precision and recall of label 1.
func F1(labels, chosen []int) float64 {
	var c counts
	for i, l := range labels {
		c.add(l == 1, chosen[i] == 1)
	}
	return c.f1()
}

// Matthews is the correlation of Matthews (1975), of several classes that of
// Gorodkin (2004).
func Matthews(labels, chosen []int) float64 {
	n := float64(len(labels))
	right := Accuracy(labels, chosen) * n
	var both, ours, theirs float64
	for _, class := range distinct(labels, chosen) {
		l, c := occurs(labels, class), occurs(chosen, class)
		both, theirs, ours = both+l*c, theirs+l*l, ours+c*c
	}
	d := (n*n - theirs) * (n*n - ours)
	if d == 0 {
		return 0
	}
	return (right*n - both) / math.Sqrt(d)
}

// Subset is the share of examples of which every decision is right: the accuracy of
// several labels.
func Subset(labels, chosen [][]bool) float64 {
	right := 0
	for i := range labels {
		if slices.Equal(labels[i], chosen[i]) {
			right++
		}
	}
	return ratio(float64(right), float64(len(labels)))
}

// MultiLabelF1 is the F1 of all decisions of several labels together.
func MultiLabelF1(labels, chosen [][]bool) float64 {
	var c counts
	for i := range labels {
		for class, right := range labels[i] {
			c.add(right, chosen[i][class])
		}
	}
	return c.f1()
}

func distinct(lists ...[]int) []int {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

func occurs(list []int, class int) float64 {
	n := 0.0
	for _, l := range list {
		if l == class {
			n++
		}
	}
	return n
}

// ratio is a/b, and 0 where there is nothing to divide.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

package metric

// OfLabels is the measure of classes of that name; nil: it is none.
func OfLabels(name string) func(labels, chosen []int) float64 {
	switch name {
	case "accuracy":
		return Accuracy
	case "f1":
		return F1
	case "matthews":
		return Matthews
	}
	return nil
}

// OfValues is the measure of values of that name; nil: it is none.
func OfValues(name string) func(a, b []float64) float64 {
	switch name {
	case "pearson":
		return Pearson
	case "spearman":
		return Spearman
	}
	return nil
}

// Mean is what GLUE's table has of a task with several measures: their mean.
func Mean(scores map[string]float64, names []string) float64 {
	sum := 0.0
	for _, name := range names {
		sum += scores[name]
	}
	return ratio(sum, float64(len(names)))
}

package metric

// Retrieval measures what was found of things looked for, of which each has one that is
// right, at these places from 0: the share of those that stand first, and the mean of one
// by the place, counted from 1, where that is no more than 10 (accuracy@1 and mrr@10).
func Retrieval(places []int) (accuracy, reciprocal float64) {
	const most = 10
	first, sum := 0.0, 0.0
	for _, at := range places {
		if at == 0 {
			first++
		}
		if at < most {
			sum += 1 / float64(at+1)
		}
	}
	n := float64(len(places))
	return ratio(first, n), ratio(sum, n)
}

package training

// spare keeps slices that have been given up for the next of their size:
// blocks of a model are alike, so that the gradients and moments of one that
// is frozen become those of the one that is trained next, and no memory waits
// for the collector.
type spare map[int][][]float32

// give offers slices to the next take.
func (s *spare) give(all ...[]float32) {
	if *s == nil {
		*s = spare{}
	}
	for _, v := range all {
		(*s)[len(v)] = append((*s)[len(v)], v)
	}
}

// take returns n zeroed values.
func (s *spare) take(n int) []float32 {
	if kept := (*s)[n]; len(kept) > 0 {
		last := len(kept) - 1
		v := kept[last]
		kept[last] = nil
		(*s)[n] = kept[:last]
		clear(v)
		return v
	}
	return make([]float32, n)
}

// drop leaves what nobody took to the collector.
func (s *spare) drop() { clear(*s) }

package kernels

// PositionBias is added to the scores of attention, by head and by how far the
// key is behind the query (Raffel et al., 2020).
type PositionBias struct {
	reach, stride int
	values        []float32 // [heads][stride] from the distance -reach on, divided by the scale
}

// NewPositionBias tabulates the biases of positions below reach, for attention of
// the given scale. at tells that of a head at a distance: key minus query.
func NewPositionBias(heads, reach int, scale float32, at func(head, distance int) float32) *PositionBias {
	b := &PositionBias{reach: reach, stride: 2*reach + BlockLen}
	b.values = make([]float32, heads*b.stride)
	for h := range heads {
		for i := range 2 * reach {
			b.values[h*b.stride+i] = at(h, i-reach) / scale
		}
	}
	return b
}

// add adds the biases of block n's keys to the scores of the query at a position,
// [BlockLen], before they are scaled.
func (b *PositionBias) add(scores []float32, head, position, n int) {
	Add(scores[:BlockLen], b.values[head*b.stride+b.reach+n*BlockLen-position:])
}

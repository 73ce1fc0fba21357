package kernels

// A split divides the outputs of a product among threads: parts of whole units,
// whose sizes differ by one unit at most. A unit is whole cache lines of the result,
// so that no two parts write to one, as far as rows begin with a line.
type split struct{ outs, unit, parts int }

// The units of a split. Tiles of every width fit into the large one; the small one
// is a cache line, for threads that would have nothing to do otherwise.
const (
	largeUnit = 48
	smallUnit = 16
)

// leastPart is the fewest multiply-adds that are worth handing over.
const leastPart = 1 << 15

// splitOutputs divides the product of so many rows, with few of them a part a thread,
// since memory binds and likes long runs of weights, and else a few parts a thread.
// Packed operands are read in large units.
func splitOutputs(rows, outs, cols, threads int, packed bool) split {
	if threads == 1 || rows*outs*cols < 2*leastPart {
		return split{outs, max(outs, 1), 1}
	}
	parts, most := 4*threads, 480
	if rows <= 32 {
		parts, most = threads, 1024
	}
	parts = max(parts, (outs+most-1)/most)
	s := split{outs, largeUnit, 1}
	if !packed && s.units() < 4*parts {
		s.unit = smallUnit
	}
	least := (leastPart + rows*cols*s.unit - 1) / (rows * cols * s.unit) // units
	s.parts = max(1, min(parts, s.units()/least))
	return s
}

func (s split) units() int { return (s.outs + s.unit - 1) / s.unit }

// part is the outputs [from, to) of part i.
func (s split) part(i int) (from, to int) {
	return i * s.units() / s.parts * s.unit, min((i+1)*s.units()/s.parts*s.unit, s.outs)
}

package memory

// Want is a size that would be good to have, and the least that is of use.
type Want struct{ Usual, Least int64 }

// Divide gives each its usual size where all of them fit into room. Else each gets
// the same share of it, in whole MiB where that is some, and none less than its
// least, even where that is more than there is.
func Divide(room int64, wants ...Want) []int64 {
	sizes := make([]int64, len(wants))
	atLeast := make([]bool, len(wants))
	for again := true; again; {
		again = false
		rest, usual := room, int64(0)
		for i, w := range wants {
			if atLeast[i] {
				rest -= w.Least
			} else {
				usual += w.Usual
			}
		}
		share := 1.0
		if rest < usual {
			share = float64(max(rest, 0)) / float64(usual)
		}
		for i, w := range wants {
			if atLeast[i] {
				sizes[i] = w.Least
				continue
			}
			if sizes[i] = int64(share * float64(w.Usual)); sizes[i] > 1<<20 && share < 1 {
				sizes[i] &^= 1<<20 - 1
			}
			if sizes[i] < w.Least {
				atLeast[i], again = true, true
			}
		}
	}
	return sizes
}

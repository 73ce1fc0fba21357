// Package spelling suggests what an unknown name was meant to be.
package spelling

import "iter"

// Nearest is the name that an unknown one is within two edits of, which leave more
// than half of the longer one as it is: of several the one of the fewest edits, the
// first by the alphabet. There may be none: "".
func Nearest(unknown string, names iter.Seq[string]) string {
	best, distance := "", 3
	for name := range names {
		if d := edits(unknown, name); 2*d < max(len(unknown), len(name)) && (d < distance || d == distance && name < best) {
			best, distance = name, d
		}
	}
	return best
}

// edits is how many letters of a short name have to be added, taken out, replaced or
// swapped with the next one to make another of it.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	var before []int // the row above the one above
	above := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := above[j]
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}

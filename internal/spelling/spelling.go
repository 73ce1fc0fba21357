// Package spelling suggests what an unknown name was meant to be.
package spelling

import "iter"

// Nearest is the name that an unknown one is within two edits of, fewer than it
// has letters: of several the one of the fewest edits, the first by the
// alphabet. There may be none: "".
func Nearest(unknown string, names iter.Seq[string]) string {
	best, distance := "", 3
	for name := range names {
		if d := edits(unknown, name); d < len(name) && (d < distance || d == distance && name < best) {
			best, distance = name, d
		}
	}
	return best
}

// edits is the Levenshtein distance of two short names.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(b)]
}

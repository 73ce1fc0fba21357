package dataset

import "math/bits"

// A part is a sequence by its place and its size: an example's only one or,
// packed, one of those of a long text.
type part struct {
	record int32
	number int32 // among the record's
	tokens int32
	rows   int32 // up to the last that predicts
	labels int32
}

// pack fills windows of so many tokens with whole parts, in the order of the
// data: each goes to the fullest window that has room for it. The model
// computes the sequences of a window beside each other: each has positions
// from 0 and sees itself alone, and every label weighs what it weighs unpacked.
func pack(parts []part, used func(record int32) bool, window int) (windows [][]int32) {
	open := make([][]int32, window+1) // windows by the tokens that they have room for
	rooms := make([]uint64, window/64+1)
	for i, p := range parts {
		if !used(p.record) {
			continue
		}
		room := leastAtLeast(rooms, int(p.tokens))
		var w int32
		if room < 0 {
			room, w = window, int32(len(windows))
			windows = append(windows, nil)
		} else {
			last := len(open[room]) - 1
			w, open[room] = open[room][last], open[room][:last]
			if last == 0 {
				rooms[room/64] &^= 1 << (room % 64)
			}
		}
		windows[w] = append(windows[w], int32(i))
		if room -= int(p.tokens); room > 0 {
			open[room] = append(open[room], w)
			rooms[room/64] |= 1 << (room % 64)
		}
	}
	return windows
}

// leastAtLeast is the least number of a set that is at least n; -1: none.
func leastAtLeast(set []uint64, n int) int {
	for i := n / 64; i < len(set); i++ {
		word := set[i]
		if i == n/64 {
			word &= ^uint64(0) << (n % 64)
		}
		if word != 0 {
			return 64*i + bits.TrailingZeros64(word)
		}
	}
	return -1
}

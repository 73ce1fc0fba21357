package merge

import (
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// odd rounds x to float32 towards zero and, where that loses anything, makes
// the last bit one ("round to odd"): rounding the result again, to f16 or
// bf16, then gives what rounding x at once would (Boldo and Melquiond, 2008).
func odd(x float64) float32 {
	f := float32(x)
	if float64(f) == x || x != x || math.IsInf(float64(f), 0) {
		return f
	}
	b := math.Float32bits(f)
	if math.Abs(float64(f)) > math.Abs(x) {
		b-- // towards zero
	}
	return math.Float32frombits(b | 1)
}

// encode stores row in a float format, each value rounded once to nearest. It
// returns the index of the first value that the format cannot hold, or -1.
func encode(dst []byte, f kernels.Format, row []float64, narrow []float32) int {
	for i, x := range row {
		if f == kernels.F32 {
			narrow[i] = float32(x)
		} else {
			narrow[i] = odd(x)
		}
	}
	if err := kernels.Encode(dst, f, narrow[:len(row)]); err != nil {
		return 0
	}
	kernels.Decode(narrow[:len(row)], f, dst)
	for i, v := range narrow[:len(row)] {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

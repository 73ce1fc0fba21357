//go:build !noasm

package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// halves are scales as files may hold them: ordinary, zeros, subnormal, largest
// and not finite ones.
var halves = []uint16{0x2c00, 0xa123, 0, 0x8000, 1, 0x83ff, 0x7bff, 0x7c00, 0xfc00, 0x7e00}

// TestWidenNEON demands the bits of Decode, the sign of a zero included.
func TestWidenNEON(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	scales := map[Format][]int{
		F16: {0, 2, 30}, Q8_0: {0}, Q4_0: {0}, Q4_1: {0, 2}, Q5_0: {0}, Q5_1: {0, 2}, Q4_K: {0, 2}, Q5_K: {0, 2}, Q6_K: {208},
	}
	for _, f := range Formats() {
		for trial := range 100 {
			cols := 512
			if f.BlockLen() == 1 {
				cols = 1 + rng.IntN(200)
			}
			weight := randomWeight(rng, f, 1, cols)
			if trial%2 == 1 {
				for b := 0; b < len(weight.Data); b += f.BlockBytes() {
					for _, i := range scales[f] {
						if b+i+2 <= len(weight.Data) {
							binary.LittleEndian.PutUint16(weight.Data[b+i:], halves[rng.IntN(len(halves))])
						}
					}
				}
			}
			got, stands := guarded(rng, 1, cols, 0)
			want := NewMatrix(1, cols)
			neonWiden(got.Row(0), f, weight.Data)
			Decode(want.Row(0), f, weight.Data)
			for i, v := range want.Row(0) {
				if g := got.Row(0)[i]; math.Float32bits(g) != math.Float32bits(v) && (g == g || v == v) {
					t.Fatalf("%s: [%d] = %v, want %v", f, i, g, v)
				}
			}
			if !stands() {
				t.Fatalf("%s: wrote outside dst", f)
			}
		}
	}
}

// TestFewIsManyNEON demands the bits of weights widened first from the products
// that widen them in registers, and that a block of columns holds whole blocks
// of weights.
func TestFewIsManyNEON(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	w := new(Worker)
	for _, f := range Formats() {
		for _, cols := range []int{256, 1280, 2816} {
			if block := neonBlockCols(cols); block%f.BlockLen() != 0 || block > neonWide {
				t.Fatalf("%s: %d columns in blocks of %d", f, cols, block)
			}
			for rows := 1; rows <= len(neonFew[f]); rows++ {
				outs := neonOuts * (1 + rng.IntN(8))
				x, _ := guarded(rng, rows, cols, rng.IntN(3))
				weight := randomWeight(rng, f, outs, cols)
				few, stands := guarded(rng, rows, outs, rng.IntN(3))
				neonMulFew(few, x, weight)
				many := NewMatrix(rows, outs)
				neonMulMany(w, many, x, weight)
				sameBits(t, fmt.Sprintf("%s %dx%dx%d", f, rows, cols, outs), few, many)
				if !stands() {
					t.Fatalf("%s %dx%dx%d: wrote outside dst", f, rows, cols, outs)
				}
			}
		}
	}
}

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

// TestWidenKQuants demands the bits of Decode, the sign of a zero included.
func TestWidenKQuants(t *testing.T) {
	eachDots(t, func(t *testing.T, d *dots) {
		rng := rand.New(rand.NewPCG(15, 16))
		for f, scales := range map[Format][]int{Q4_K: {0, 2}, Q5_K: {0, 2}, Q6_K: {208}} {
			const cols = 512
			for trial := range 100 {
				weight := randomWeight(rng, f, 1, cols)
				if trial%2 == 1 {
					for b := 0; b < len(weight.Data); b += f.BlockBytes() {
						for _, i := range scales {
							binary.LittleEndian.PutUint16(weight.Data[b+i:], halves[rng.IntN(len(halves))])
						}
					}
				}
				got, stands := guarded(rng, 1, cols, 0)
				want := NewMatrix(1, cols)
				d.widen(got.Row(0), f, weight.Data)
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
	})
}

// TestFusedIsWidenAndTile demands the bits of weights widened first from the
// products that widen them in registers, and that a block of columns holds
// whole blocks of weights.
func TestFusedIsWidenAndTile(t *testing.T) {
	eachDots(t, func(t *testing.T, d *dots) {
		rng := rand.New(rand.NewPCG(17, 18))
		w := new(Worker)
		for _, f := range Formats() {
			for _, cols := range []int{256, 512, 768, 1536, 2048, 2816} {
				if block := d.blockCols(cols); block%f.BlockLen() != 0 {
					t.Fatalf("%s: %d columns in blocks of %d", f, cols, block)
				}
				for _, rows := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 23, 32, 33} {
					outs := 4 + rng.IntN(34)
					x, _ := guarded(rng, rows, cols, rng.IntN(3))
					weight := randomWeight(rng, f, outs, cols)
					got, stands := guarded(rng, rows, outs, rng.IntN(3))
					d.mul(w, got, x, weight)
					want := NewMatrix(rows, outs)
					tiled := *d
					tiled.fused = [len(layouts)][fusedRows]fusedTile{}
					tiled.mul(w, want, x, weight)
					sameBits(t, fmt.Sprintf("%s %dx%dx%d", f, rows, cols, outs), got, want)
					if !stands() {
						t.Fatalf("%s %dx%dx%d: wrote outside dst", f, rows, cols, outs)
					}
				}
			}
		}
	})
}

// eachDots runs f for the instruction sets that multiply in dot form.
func eachDots(t *testing.T, f func(t *testing.T, d *dots)) {
	for _, i := range implementations() {
		for _, d := range []*dots{&dotAVX2, &dotAVX512} {
			if i == &d.implementation {
				t.Run(i.name, func(t *testing.T) { f(t, d) })
			}
		}
	}
}

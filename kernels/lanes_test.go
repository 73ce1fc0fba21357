package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// packFew has products of as few as 32 rows packed, for the time of a test.
func packFew(t *testing.T) {
	if l := active.lanes; l != nil {
		was := l.few
		l.few = 32
		t.Cleanup(func() { l.few = was })
	}
}

// TestMatMulsOfManyWeights demands the bits of rows alone from products whose weights are
// more than are packed at a time, and that PackedBytes tells what is kept for them.
func TestMatMulsOfManyWeights(t *testing.T) {
	const rows, cols = 40, 2048
	outs := []int{700, 500}
	each(t, func(t *testing.T) {
		packFew(t)
		if l := active.lanes; l != nil {
			if _, _, most := l.packed(rows, cols); tilesOf(outs[0], laneWide) >= most || tilesOf(outs[0], laneWide)+tilesOf(outs[1], laneWide) <= most {
				t.Fatalf("%d tiles are packed at a time: the second product is not cut", most)
			}
		}
		rng := rand.New(rand.NewPCG(5, 16))
		x := randomMatrix(rng, rows, cols)
		for _, f := range []Format{F32, Q4_1} {
			var weights []Weight
			var want []Matrix
			for i, n := range outs {
				weights, want = append(weights, randomWeight(rng, f, n, cols)), append(want, NewMatrix(rows, n))
				for r := range rows {
					new(Worker).MatMul(want[i].Span(r, r+1), x.Span(r, r+1), weights[i])
				}
			}
			for _, threads := range []int{1, 3} {
				p := NewPool(threads)
				var products []Product
				var whole []func() bool
				for i, n := range outs {
					dst, stands := guarded(rng, rows, n, 5)
					products, whole = append(products, Product{dst, weights[i]}), append(whole, stands)
				}
				p.MatMuls(x, products...)
				for i, m := range products {
					sameBits(t, fmt.Sprintf("%s, product %d, %d threads", f, i, threads), m.Dst, want[i])
					if !whole[i]() {
						t.Errorf("%s, product %d, %d threads: wrote outside dst", f, i, threads)
					}
				}
				ofX, ofW := PackedBytes(rows, weights...)
				if 4*cap(p.packed) > ofX || 4*cap(p.packedWeights) > ofW {
					t.Errorf("%s, %d threads: %d and %d values are packed, more than %d and %d bytes", f, threads, cap(p.packed), cap(p.packedWeights), ofX, ofW)
				}
				p.Close()
			}
		}
	})
}

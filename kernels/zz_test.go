package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func bestOf(n int, f func()) float64 {
	best := 1e9
	for range n {
		t := time.Now()
		f()
		best = min(best, time.Since(t).Seconds())
	}
	return best
}

func TestZZ(t *testing.T) {
	cyc := bestOf(200, func() { fmaPeakAVX2(4096) }) / 4096 / 6 // seconds a cycle
	fmt.Printf("%.2f GHz\n", 1e-9/cyc)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, f := range quantised() {
		cols := 512
		weight := rounding(randomWeight(rng, f, 64, cols))
		x, y := NewMatrix(512, cols), NewMatrix(512, 64)
		for i := range x.Data {
			x.Data[i] = float32(rng.NormFloat64())
		}
		in := roundedIn(new([]float32), x, f == Q8_0)
		in.roundRows(x, 0, x.Rows)
		k := active.int8
		room := make([]byte, 64<<10)
		each := f.BlockLen() / 32
		un := bestOf(200, func() {
			k.unpack[f](&room[0], &weight.int8.groups[0], cols/32/each)
			k.unpack[f](&room[32], &weight.int8.groups[groupBytes(f, cols)], cols/32/each)
		}) / cyc / float64(cols/32*2)
		fmt.Printf("%s unpack %.1f", f, un)
		for _, rows := range []int{1, 2, 3, 4, 5, 6} {
			tile := bestOf(300, func() {
				for range 4 {
					k.tiles[f].mul[rows-1](&y.Data[0], 4*y.Stride, &in.data[0], in.step, &room[0], cols/32, 1)
				}
			}) / 4 / cyc / float64(cols/32*2*rows)
			few := bestOf(300, func() {
				for range 4 {
					k.products[f][min(rows, 4)-1](&y.Data[0], 4*y.Stride, &in.data[0], in.step, &weight.int8.groups[0], cols/32/each, 2)
				}
			}) / 4 / cyc / float64(cols/32*2*rows)
			fmt.Printf(" | %d rows: tile %.2f few %.2f", rows, tile, few)
		}
		w := new(Worker)
		all := bestOf(50, func() { w.mulInt8(y, in, weight, 0, 64) }) / cyc / float64(cols/32*8*512)
		fmt.Printf(" | 512 rows %.2f cycles\n", all)
	}
}

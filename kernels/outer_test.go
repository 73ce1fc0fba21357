package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestWideGradients takes shapes beyond every tile and panel: the bits of any
// rows at hand are those of all, on any number of threads, and the error is
// within a bound far below that of a plain sum.
func TestWideGradients(t *testing.T) {
	pools := []*Pool{NewPool(1), NewPool(3)}
	defer pools[0].Close()
	defer pools[1].Close()
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(21, 22))
		for _, f := range Formats() {
			for _, s := range [][3]int{{70, 192, 256}, {33, 301, 203}, {150, 150, 512}, {5, 2100, 256}} {
				rows, outs, cols := s[0], s[1], s[2]
				if cols%f.BlockLen() != 0 || testing.Short() && (outs > 2000 || outs == 150) {
					continue
				}
				what := fmt.Sprintf("%s %dx%dx%d", f, rows, cols, outs)
				weight := randomWeight(rng, f, outs, cols)
				wide := weight.Matrix()
				dy, _ := guarded(rng, rows, outs, 1)
				dx, ok := guarded(rng, rows, cols, 2)
				was := NewMatrix(rows, cols)
				was.Copy(dx)
				pools[0].InputGrad(dx, dy, weight)
				if !ok() {
					t.Fatal(what, "wrote outside dx")
				}
				part := NewMatrix(rows, cols)
				part.Copy(was)
				for from := 0; from < rows; {
					to := min(rows, from+1+rng.IntN(40))
					if from%2 == 0 {
						pools[1].InputGrad(part.Span(from, to), dy.Span(from, to), weight)
					} else {
						new(Worker).InputGrad(part.Span(from, to), dy.Span(from, to), weight)
					}
					from = to
				}
				sameBits(t, what+" InputGrad, rows", part, dx)
				oracleOf(was, widened(dy), widened(wide)).check(t, what+" InputGrad", dx, tightly)
				if f != F32 {
					continue
				}
				x, _ := guarded(rng, rows, cols, 3)
				dw, ok := guarded(rng, outs, cols, 1)
				was = NewMatrix(outs, cols)
				was.Copy(dw)
				pools[0].WeightGrad(dw, dy, x)
				if !ok() {
					t.Fatal(what, "wrote outside dw")
				}
				again, alone := NewMatrix(outs, cols), NewMatrix(outs, cols)
				again.Copy(was)
				alone.Copy(was)
				pools[1].WeightGrad(again, dy, x)
				new(Worker).WeightGrad(alone, dy, x)
				sameBits(t, what+" WeightGrad, threads", again, dw)
				sameBits(t, what+" WeightGrad, alone", alone, dw)
				oracleOf(was, widened(dy).T(), widened(x)).check(t, what+" WeightGrad", dw, tightly)
			}
		}
	})
}

func TestWideGradientsNonFinite(t *testing.T) {
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(23, 24))
		const rows, outs, cols = 50, 200, 256
		weight := randomWeight(rng, F32, outs, cols)
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), guard, math.Float32frombits(0x7f800001)} {
			dy, _ := guarded(rng, rows, outs, 0)
			x, _ := guarded(rng, rows, cols, 0)
			dx, dw := NewMatrix(rows, cols), NewMatrix(outs, cols)
			dy.Row(37)[101] = bad
			new(Worker).InputGrad(dx, dy, weight)
			new(Worker).WeightGrad(dw, dy, x)
			for r := range rows {
				for _, v := range dx.Row(r) {
					if (v-v != 0) != (r == 37) {
						t.Fatalf("InputGrad: %v in row %d with %v in row 37", v, r, bad)
					}
				}
			}
			for o := range outs {
				for _, v := range dw.Row(o) {
					if (v-v != 0) != (o == 101) {
						t.Fatalf("WeightGrad: %v in row %d with %v in row 101", v, o, bad)
					}
				}
			}
		}
	})
}

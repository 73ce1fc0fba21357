package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestGradients(t *testing.T) {
	pools := []*Pool{NewPool(1), NewPool(3)}
	defer pools[0].Close()
	defer pools[1].Close()
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 11))
		for _, f := range Formats() {
			for range 6 {
				rows, outs, cols := 1+rng.IntN(60), 1+rng.IntN(150), 1+rng.IntN(300)
				if f.BlockLen() > 1 {
					cols = 256 * (1 + rng.IntN(2))
				}
				weight := randomWeight(rng, f, outs, cols)
				dy, _ := guarded(rng, rows, outs, 1)
				dx, dxOK := guarded(rng, rows, cols, 2)
				x, _ := guarded(rng, rows, cols, 3)
				dw, dwOK := guarded(rng, outs, cols, 1)
				dx2, dw2 := NewMatrix(rows, cols), NewMatrix(outs, cols)
				dx2.Copy(dx)
				dw2.Copy(dw)
				wide := weight.Matrix()
				what := fmt.Sprintf("%s %dx%dx%d", f, rows, cols, outs)
				wantX := oracleOf(dx, widened(dy), widened(wide))
				wantW := oracleOf(dw, widened(dy).T(), widened(x))
				pools[0].InputGrad(dx, dy, weight)
				pools[1].InputGrad(dx2, dy, weight)
				pools[0].WeightGrad(dw, dy, x)
				pools[1].WeightGrad(dw2, dy, x)
				sameBits(t, what+" InputGrad, threads", dx2, dx)
				sameBits(t, what+" WeightGrad, threads", dw2, dw)
				wantX.check(t, what+" InputGrad", dx, fewRoundings)
				wantW.check(t, what+" WeightGrad", dw, fewRoundings)
				if !dxOK() || !dwOK() {
					t.Fatal(what, "wrote outside the gradient")
				}
			}
		}
	})
}

func BenchmarkGradients(b *testing.B) {
	was := active
	defer func() { active = was }()
	p := NewPool(1)
	defer p.Close()
	rng := rand.New(rand.NewPCG(7, 8))
	const rows = 512
	for _, i := range implementations()[1:] {
		for _, shape := range [][2]int{{576, 1536}, {1536, 576}} {
			cols, outs := shape[0], shape[1]
			x := aligned(rng, rows, cols)
			dy := aligned(rng, rows, outs)
			dw := NewMatrix(outs, cols)
			report := func(b *testing.B) {
				b.ReportMetric(2*float64(rows*cols*outs)/(b.Elapsed().Seconds()/float64(b.N))/1e9, "GFLOP/s")
			}
			for _, f := range []Format{F32, F16, Q8_0, Q4_0} {
				weight := randomWeight(rng, f, outs, cols)
				b.Run(fmt.Sprintf("%s/InputGrad/%s/%dx%d", i.name, f, outs, cols), func(b *testing.B) {
					active = i
					for b.Loop() {
						p.InputGrad(x, dy, weight)
					}
					report(b)
				})
			}
			b.Run(fmt.Sprintf("%s/WeightGrad/%dx%d", i.name, outs, cols), func(b *testing.B) {
				active = i
				for b.Loop() {
					p.WeightGrad(dw, dy, x)
				}
				report(b)
			})
		}
	}
}

// A row's gradient has the same bits alone, among few and among many.
func TestInputGradOfFewRows(t *testing.T) {
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(31, 32))
		for _, f := range Formats() {
			for _, rank := range []int{1, 8, 13, 16, 64} {
				for _, cols := range []int{32, 256, 576, 40} {
					if cols%f.BlockLen() != 0 {
						continue
					}
					const rows = 7
					weight := randomWeight(rng, f, rank, cols)
					dy, _ := guarded(rng, rows, rank, 1)
					was := aligned(rng, rows, cols)
					many := NewMatrix(rows, cols)
					many.Copy(was)
					new(Worker).InputGrad(many, dy, weight)
					what := fmt.Sprintf("%s %dx%d", f, rank, cols)
					oracleOf(was, widened(dy), widened(weight.Matrix())).check(t, what, many, fewRoundings)
					for few := 1; few < 6; few++ {
						got, ok := guarded(rng, few, cols, 2)
						got.Copy(was.Span(1, 1+few))
						new(Worker).InputGrad(got, dy.Span(1, 1+few), weight)
						if !ok() {
							t.Fatal(what, "wrote outside dx")
						}
						sameBits(t, fmt.Sprint(what, " of ", few), got, many.Span(1, 1+few))
					}
				}
			}
		}
	})
}

// BenchmarkExpand is what a low-rank adapter adds: few rows, and a factor of few
// rows, of which each core reads its own.
func BenchmarkExpand(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 9))
	var w Worker
	for _, f := range []Format{F32, BF16, F16, Q8_0} {
		for _, rank := range []int{8, 64} {
			for _, cols := range []int{576, 4864} {
				weight := randomWeight(rng, f, rank, cols)
				for _, rows := range []int{1, 2, 4, 16} {
					y, t := aligned(rng, rows, cols), aligned(rng, rows, rank)
					b.Run(fmt.Sprintf("%s/%dx%d/rows=%d", f, rank, cols, rows), func(b *testing.B) {
						for b.Loop() {
							w.InputGrad(y, t, weight)
						}
						b.ReportMetric(2*float64(rows*cols*rank)/(b.Elapsed().Seconds()/float64(b.N))/1e9, "GFLOP/s")
					})
				}
			}
		}
	}
}

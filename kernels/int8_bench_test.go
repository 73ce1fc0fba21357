package kernels

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

// BenchmarkInt8 multiplies rows of rounded activations on one thread, and tells
// billions of multiply-adds a second of the processor's time, and the share of what
// as many VPMADDUBSW take.
func BenchmarkInt8(b *testing.B) {
	for _, f := range quantised() {
		for _, rows := range []int{1, 2, 4, 8, 12, 16, 64, 512} {
			b.Run(fmt.Sprintf("%s/%d", f, rows), func(b *testing.B) {
				const cols, outs = 2048, 512
				rng := rand.New(rand.NewPCG(1, 2))
				weight := rounding(randomWeight(rng, f, outs, cols))
				x, y := NewMatrix(rows, cols), NewMatrix(rows, outs)
				for i := range x.Data {
					x.Data[i] = float32(rng.NormFloat64())
				}
				w := new(Worker)
				w.MatMul(y, x, weight)
				b.ResetTimer()
				start := processorSeconds()
				for range b.N {
					w.MatMul(y, x, weight)
				}
				b.ReportMetric(float64(b.N)*float64(rows)*cols*outs/(processorSeconds()-start)/1e9, "Gmac/s")
			})
		}
	}
}

func processorSeconds() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCold multiplies few rows with weights that no cache holds, in large pages, on
// one thread, and tells how fast their bytes are read, also as a share of a plain read
// of the same pages. Windows of eight weights are timed, and the fastest of each kind
// are compared: other work on the machine lengthens all but those.
func BenchmarkCold(b *testing.B) {
	if active.peak == nil {
		b.Skip("portable Go has no plain read")
	}
	const cols, outs, window, windows = 2048, 512, 8, 12
	for _, f := range []Format{F16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K, Q6_K} {
		rng := rand.New(rand.NewPCG(1, 2))
		one := randomWeight(rng, f, outs, cols)
		for _, mode := range []string{"f32", "i8"} {
			size := len(one.Data)
			if mode == "i8" {
				size = one.Int8Bytes()
			}
			if size == 0 {
				continue
			}
			memory := largePages(b, window*windows*size)
			pool := NewPool(1)
			var weights []Weight
			for at := 0; at < len(memory); at += size {
				w := one
				if mode == "i8" {
					w = pool.Int8(one, memory[at:][:size])
				} else {
					w.Data = memory[at:][:size]
					copy(w.Data, one.Data)
				}
				weights = append(weights, w)
			}
			pool.Close()
			for _, rows := range []int{1, 2, 4, 8} {
				b.Run(fmt.Sprintf("%s/%s/%d", f, mode, rows), func(b *testing.B) {
					x, y := NewMatrix(rows, cols), NewMatrix(rows, outs)
					for i := range x.Data {
						x.Data[i] = float32(i%13) - 6
					}
					w := new(Worker)
					read, product := math.Inf(1), math.Inf(1)
					for i := range max(b.N, 4*windows) {
						first := i % windows * window
						start := time.Now()
						active.peak.read(&memory[first*size], window*size/512)
						read = min(read, time.Since(start).Seconds())
						first = (first + window*windows/2) % (window * windows)
						start = time.Now()
						for _, weight := range weights[first : first+window] {
							w.MatMul(y, x, weight)
						}
						product = min(product, time.Since(start).Seconds())
					}
					b.ReportMetric(float64(window*size)/product/1e9, "GB/s")
					b.ReportMetric(float64(window*size)/read/1e9, "read-GB/s")
					b.ReportMetric(100*read/product, "%read")
				})
			}
		}
	}
}

func largePages(b *testing.B, n int) []byte {
	memory, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil {
		err = syscall.Madvise(memory, syscall.MADV_HUGEPAGE)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = syscall.Munmap(memory) })
	return memory
}

// BenchmarkInt8 multiplies rows that are rounded already, on one thread, and tells the
// cycles of 256 multiply-adds: sixteen float32 ones take one cycle with AVX2, which is
// how cycles are measured. The fastest of many repetitions counts.
func BenchmarkInt8(b *testing.B) {
	if active.int8 == nil || active.peak == nil {
		b.Skip("there are no such kernels")
	}
	const cols, outs = 2048, 64
	for _, f := range quantised() {
		weight := rounding(randomWeight(rand.New(rand.NewPCG(1, 2)), f, outs, cols))
		for _, rows := range []int{1, 4, 8, 64, 512} {
			b.Run(fmt.Sprintf("%s/%d", f, rows), func(b *testing.B) {
				x, y := NewMatrix(rows, cols), NewMatrix(rows, outs)
				for i := range x.Data {
					x.Data[i] = float32(i%13) - 6
				}
				w := new(Worker)
				in := roundedIn(&w.packed, x, takesWide(weight))
				in.roundRows(x, 0, rows)
				cycle, product := math.Inf(1), math.Inf(1)
				for range max(b.N, 20) {
					start := time.Now()
					active.peak.fma(4096)
					cycle = min(cycle, time.Since(start).Seconds()/4096*32/float64(active.peak.flops))
					start = time.Now()
					w.mulInt8(y, in, weight, 0, outs)
					product = min(product, time.Since(start).Seconds())
				}
				b.ReportMetric(product/cycle*256/float64(rows*outs*cols), "cycles")
			})
		}
	}
}

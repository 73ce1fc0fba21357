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
	for _, f := range []Format{F16, Q8_0, Q4_0, Q4_1, Q5_0, Q4_K, Q5_K, Q6_K} {
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
			b.Run(fmt.Sprintf("%s/%s", f, mode), func(b *testing.B) {
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
					b.Run(fmt.Sprint(rows), func(b *testing.B) {
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
			})
		}
	}
}

// largePages maps n bytes until b ends.
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

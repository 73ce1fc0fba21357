package training

import (
	"fmt"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// BenchmarkAdamW is one step on a million values.
func BenchmarkAdamW(b *testing.B) {
	const n = 1 << 20
	p := &Parameter{Name: "p", Shape: []int{n}, Value: make([]float32, n), Grad: make([]float32, n)}
	for i := range p.Grad {
		p.Value[i], p.Grad[i] = float32(i%7), float32(i%13)-6
	}
	pool := modeltest.Pool(b, 1)
	o := &AdamW{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
	b.SetBytes(16 * n)
	b.ReportAllocs()
	for b.Loop() {
		o.Step(pool, []*Parameter{p}, 1, []float64{1e-3}, []float64{0.01})
	}
}

// BenchmarkLoss is a chunk of rows of SmolLM2's vocabulary.
func BenchmarkLoss(b *testing.B) {
	for _, rows := range []int{1, 64} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			x := kernels.NewMatrix(rows, 49152)
			targets, losses := make([]int32, rows), make([]float64, rows)
			pool := modeltest.Pool(b, 1)
			b.SetBytes(int64(4 * rows * 49152))
			b.ReportAllocs()
			for b.Loop() {
				pool.CrossEntropy(losses, x, targets, 1)
			}
		})
	}
}

// TestBenchOfAnEncoder: its steps are those of a head, under adapters and of the whole.
func TestBenchOfAnEncoder(t *testing.T) {
	for _, method := range []string{"lora:query+value", "full"} {
		r, err := Bench(t.Context(), openEncoder(t, "encoders/bert"), Benchmark{Method: method, Batch: 3, Length: 8, Steps: 1, R: 2, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		if r.Parameters == 0 || r.TokensPerSecond <= 0 || r.FLOPS <= 0 {
			t.Errorf("%s: %+v", method, r)
		}
	}
}

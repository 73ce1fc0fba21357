package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/peft-serve/peft-serve/kernels"
)

// Shapes of SmolLM2-135M's products, [inputs, outputs], and the rows of a
// decode step, a batched one and a prompt.
var (
	kernelShapes = [][2]int{{576, 576}, {576, 1536}, {1536, 576}, {576, 49152}}
	kernelRows   = []int{1, 4, 8, 16, 64, 512}
)

// measureKernels times products with cold weights: each repetition reads
// another copy, as a pass over many layers does.
func (b *benchCommand) measureKernels(ctx context.Context, r *report) error {
	pool := kernels.NewPool(threads(b.Threads))
	defer pool.Close()
	r.Kernels = kernels.Name()
	peak := pool.MeasurePeak(400 * time.Millisecond)
	r.PeakGFLOPS, r.PeakGBPS = peak.GFLOPS, peak.GBps
	for _, f := range []kernels.Format{kernels.F32, kernels.F16, kernels.BF16, kernels.Q8_0, kernels.Q4_0, kernels.Q4_1} {
		for _, shape := range kernelShapes {
			weights, err := coldWeights(f, shape[1], shape[0])
			if err != nil {
				return err
			}
			for _, rows := range kernelRows {
				if ctx.Err() != nil {
					return nil
				}
				p := b.product(pool, weights, rows)
				p.Share = p.share(peak)
				r.Products = append(r.Products, p)
			}
		}
	}
	return nil
}

// share is the part of the limit that binds a product, whichever it is nearer
// to: multiply-adds or memory. Zero where the peak cannot be measured.
func (p *product) share(peak kernels.Peak) float64 {
	if peak.GFLOPS == 0 || peak.GBps == 0 {
		return 0
	}
	return max(p.GFLOPS/peak.GFLOPS, p.GBPS/peak.GBps)
}

// coldBytes is more than a last-level cache holds.
const coldBytes = 64 << 20

func coldWeights(f kernels.Format, rows, cols int) ([]kernels.Weight, error) {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, rows*cols)
	for i := range values {
		values[i] = float32(random.NormFloat64())
	}
	one := make([]byte, rows*f.RowBytes(cols))
	n := f.RowBytes(cols)
	for i := range rows {
		if err := kernels.Encode(one[i*n:(i+1)*n], f, values[i*cols:(i+1)*cols]); err != nil {
			return nil, errors.Join(errors.New("a weight to measure cannot be made"), err)
		}
	}
	copies := min(coldBytes/len(one)+1, 64)
	weights := make([]kernels.Weight, copies)
	for i := range weights {
		data := one
		if i > 0 {
			data = append([]byte(nil), one...)
		}
		weights[i] = kernels.NewWeight(f, rows, cols, data)
	}
	return weights, nil
}

func (b *benchCommand) product(pool *kernels.Pool, weights []kernels.Weight, rows int) product {
	w := weights[0]
	x, y := kernels.NewMatrix(rows, w.Cols), kernels.NewMatrix(rows, w.Rows)
	for i := range x.Data {
		x.Data[i] = float32(i%13) - 6
	}
	var took []float64
	next := 0
	pool.MatMul(y, x, w)
	for range b.Repetitions {
		start, calls := time.Now(), 0
		for time.Since(start) < 20*time.Millisecond {
			pool.MatMul(y, x, weights[next%len(weights)])
			next, calls = next+1, calls+1
		}
		took = append(took, time.Since(start).Seconds()/float64(calls))
	}
	seconds := median(took)
	return product{
		Format: w.Format.String(), Inputs: w.Cols, Outputs: w.Rows, Rows: rows, Microseconds: seconds * 1e6,
		GFLOPS: 2 * float64(rows) * float64(w.Rows) * float64(w.Cols) / seconds / 1e9,
		GBPS:   float64(len(w.Data)) / seconds / 1e9,
	}
}

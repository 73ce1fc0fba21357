package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/peft-serve/peft-serve/internal/sample"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Shapes of SmolLM2-135M's products, [inputs, outputs], where there is no base, and
// the rows of a decode step, a batched one and a prompt.
var (
	kernelShapes = [][2]int{{576, 576}, {576, 1536}, {1536, 576}, {576, 49152}}
	kernelRows   = []int{1, 4, 8, 16, 64, 512}
)

// measureKernels times products with cold weights: each repetition reads
// another copy, as a pass over many layers does. They are the base's own, one of each
// shape and format, or random ones.
func (b *benchCommand) measureKernels(ctx context.Context, c console, r *report) (err error) {
	pool := kernels.NewPool(b.threads())
	defer pool.Close()
	all := someWeights()
	if b.Base != "" {
		opened, wrong := openBase(ctx, b.Base, b.options(0), c)
		if wrong != nil {
			return wrong
		}
		defer func() { err = errors.Join(err, opened.source.Close()) }()
		all = weightsOf(opened.model)
		if err := b.round(opened, pool); err != nil {
			return err
		}
		r.describe(b, opened)
	}
	r.Kernels = kernels.Name()
	peak := pool.MeasurePeak(400 * time.Millisecond)
	r.PeakGFLOPS, r.PeakGBPS = peak.GFLOPS, peak.GBps
	for _, weights := range all {
		cold := weights()
		if b.activations() == models.ActivationsI8 {
			for i, w := range cold {
				cold[i] = pool.Int8(w, make([]byte, w.Int8Bytes()))
			}
		}
		for _, rows := range kernelRows {
			if ctx.Err() != nil {
				return nil
			}
			p := b.product(pool, cold, rows)
			p.Share = p.share(peak, b.activations() == models.ActivationsI8 && cold[0].Format.BlockLen() > 1)
			r.Products = append(r.Products, p)
		}
	}
	return nil
}

// someWeights are of each format that can be encoded and each of kernelShapes.
func someWeights() (all []func() []kernels.Weight) {
	for _, f := range []kernels.Format{kernels.F32, kernels.F16, kernels.BF16, kernels.Q8_0, kernels.Q4_0, kernels.Q4_1} {
		for _, shape := range kernelShapes {
			all = append(all, func() []kernels.Weight { return coldWeights(f, shape[1], shape[0]) })
		}
	}
	return all
}

// weightsOf are the base's, of each shape and format once.
func weightsOf(m models.Model) (all []func() []kernels.Weight) {
	type kind struct {
		format     kernels.Format
		rows, cols int
	}
	found, kinds := map[kind][]kernels.Weight{}, []kind{}
	for _, s := range m.Sites() {
		if s.Kind != models.LinearSite {
			continue
		}
		w := s.Linear.W
		k := kind{w.Format, w.Rows, w.Cols}
		if found[k] == nil {
			kinds = append(kinds, k)
		}
		found[k] = append(found[k], w)
	}
	for _, k := range kinds {
		all = append(all, func() []kernels.Weight { return copied(found[k]) })
	}
	return all
}

// share is the part of the limit that binds a product, whichever it is nearer
// to: float32 multiply-adds, or a plain read of its weights. One of 8 bits has the
// read alone, for its arithmetic is not in float32. Zero where the peak cannot be
// measured.
func (p *product) share(peak kernels.Peak, rounded bool) float64 {
	if peak.GFLOPS == 0 || p.ReadGBPS == 0 {
		return 0
	}
	read := p.GBPS / p.ReadGBPS
	if rounded {
		return read
	}
	return max(p.GFLOPS/peak.GFLOPS, read)
}

// coldBytes is more than a last-level cache holds.
const coldBytes = 64 << 20

func coldWeights(f kernels.Format, rows, cols int) []kernels.Weight {
	random := rand.New(rand.NewPCG(1, 2))
	n := f.RowBytes(cols)
	data, row := make([]byte, rows*n), make([]byte, (n+7)&^7)
	for i := range rows {
		randomRow(row, random, f, cols)
		copy(data[i*n:(i+1)*n], row)
	}
	return copied([]kernels.Weight{kernels.NewWeight(f, rows, cols, data)})
}

// copied adds copies until the weights are cold, or there are 64 of them.
func copied(weights []kernels.Weight) []kernels.Weight {
	w, own := weights[0], len(weights)
	for n := own; n < 64 && n*len(w.Data) <= coldBytes; n++ {
		weights = append(weights, kernels.NewWeight(w.Format, w.Rows, w.Cols, slices.Clone(weights[n-own].Data)))
	}
	return weights
}

func (b *benchCommand) product(pool *kernels.Pool, weights []kernels.Weight, rows int) product {
	w := weights[0]
	x, y := kernels.NewMatrix(rows, w.Cols), kernels.NewMatrix(rows, w.Rows)
	for i := range x.Data {
		x.Data[i] = float32(i%13) - 6
	}
	next := 0
	timed := func(do func(w kernels.Weight)) float64 { // of one weight after another
		start, calls := time.Now(), 0
		for time.Since(start) < 20*time.Millisecond {
			do(weights[next%len(weights)])
			next, calls = next+1, calls+1
		}
		return time.Since(start).Seconds() / float64(calls)
	}
	var took, reads []float64
	read := pool.Read(w)
	pool.MatMul(y, x, w)
	for range b.Repetitions {
		took = append(took, timed(func(w kernels.Weight) { pool.MatMul(y, x, w) }))
		reads = append(reads, timed(func(w kernels.Weight) { pool.Read(w) }))
	}
	bytes := read
	if read == 0 {
		bytes = len(w.Data)
	}
	seconds := sample.Median(took)
	return product{
		Format: w.Format.String(), Inputs: w.Cols, Outputs: w.Rows, Rows: rows, Microseconds: seconds * 1e6,
		GFLOPS: 2 * float64(rows) * float64(w.Rows) * float64(w.Cols) / seconds / 1e9,
		GBPS:   float64(bytes) / seconds / 1e9, ReadGBPS: float64(read) / sample.Median(reads) / 1e9,
	}
}

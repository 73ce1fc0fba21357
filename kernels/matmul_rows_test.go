package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestMatMulRowCounts demands the bits of a row alone from every number of
// rows, in each of the ways in which few rows and many are multiplied.
func TestMatMulRowCounts(t *testing.T) {
	pools := []*Pool{NewPool(1), NewPool(2)}
	defer func() {
		for _, p := range pools {
			p.Close()
		}
	}()
	each(t, func(t *testing.T) {
		packFew(t)
		rng := rand.New(rand.NewPCG(11, 12))
		most, step := 512, 41
		if testing.Short() {
			most, step = 130, 9
		}
		counts := []int{64, most}
		for n := 1; n <= 40; n += 1 + n/step {
			counts = append(counts, n)
		}
		for _, c := range []struct {
			f          Format
			cols, outs int
		}{
			{Q8_0, 192, 48}, {Q8_0, 192, 96}, {Q8_0, 192, 49},
			{Q4_0, 192, 48}, {Q4_0, 192, 96}, {Q4_0, 192, 49},
			{Q4_1, 192, 48}, {Q4_1, 192, 96}, {Q4_1, 192, 49},
			{Q5_0, 192, 48}, {Q5_0, 192, 96}, {Q5_0, 192, 49},
			{Q5_1, 192, 48}, {Q5_1, 192, 96}, {Q5_1, 192, 49},
			{Q4_K, 256, 48}, {Q4_K, 768, 31}, {Q4_K, 2048, 13},
			{Q5_K, 256, 49}, {Q5_K, 512, 24}, {Q5_K, 1536, 14},
			{F32, 192, 48}, {F32, 768, 101}, {F32, 800, 337}, {Q8_0, 1280, 340}, {F16, 1536, 75}, {BF16, 96, 120}, {Q4_K, 1024, 53}, {Q6_K, 768, 49},
			{Q6_K, 256, 23}, {Q6_K, 1536, 12}, {Q6_K, 2048, 25},
		} {
			f, outs := c.f, c.outs
			x, _ := guarded(rng, most, c.cols, 3)
			weight := randomWeight(rng, f, outs, c.cols)
			want := NewMatrix(x.Rows, outs)
			for r := range x.Rows {
				new(Worker).MatMul(want.Span(r, r+1), x.Span(r, r+1), weight)
			}
			for _, rows := range counts {
				for _, p := range pools {
					got, stands := guarded(rng, rows, outs, 5)
					p.MatMul(got, x.Span(0, rows), weight)
					sameBits(t, fmt.Sprintf("%s %d rows, %d columns, %d outputs, %d threads", f, rows, c.cols, outs, p.Threads()), got, want.Span(0, rows))
					if !stands() {
						t.Fatalf("%s %d rows, %d outputs: wrote outside dst", f, rows, outs)
					}
				}
			}
		}
	})
}

// TestMatMulExtremes checks blocks whose values differ much in size: the error
// may be a rounding of the block's largest, or 2^-100 of a weight.
func TestMatMulExtremes(t *testing.T) {
	const cols, outs = 192, 16
	fills := map[string]func(rng *rand.Rand, i int) float64{
		"outlier":   func(rng *rand.Rand, i int) float64 { return rng.NormFloat64() * math.Pow(1e6, float64((i%32+1)/32)) },
		"denormal":  func(rng *rand.Rand, i int) float64 { return rng.NormFloat64() * 1e-41 },
		"zero":      func(rng *rand.Rand, i int) float64 { return 0 },
		"large":     func(rng *rand.Rand, i int) float64 { return rng.NormFloat64() * 1e30 },
		"power":     func(rng *rand.Rand, i int) float64 { return math.Ldexp(1-math.Ldexp(float64(i%3), -24), i%2) },
		"zeroBlock": func(rng *rand.Rand, i int) float64 { return rng.NormFloat64() * float64(i/32%2) },
	}
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(13, 14))
		for name, fill := range fills {
			for _, f := range []Format{Q8_0, Q4_0, Q4_1, Q5_0, Q5_1} {
				for _, rows := range []int{1, 3, 8, 17, 70} {
					x, dst := NewMatrix(rows, cols), NewMatrix(rows, outs)
					for i := range x.Data {
						x.Data[i] = float32(fill(rng, i))
					}
					weight := randomWeight(rng, f, outs, cols)
					new(Worker).MatMul(dst, x, weight)
					row := make([]float32, cols)
					for o := range outs {
						Decode(row, f, weight.Row(o))
						for r := range rows {
							var want, bound float64
							for k := 0; k < cols; k += 32 {
								var most, weights float64
								for i := k; i < k+32; i++ {
									v, q := float64(x.Row(r)[i]), float64(row[i])
									want += v * q
									bound += math.Abs(v*q) * math.Ldexp(1, -19)
									most, weights = max(most, math.Abs(v)), weights+math.Abs(q)
								}
								bound += weights * (math.Ldexp(most, -22) + math.Ldexp(1, -100))
							}
							if got := float64(dst.Row(r)[o]); !(math.Abs(got-want) <= bound) {
								t.Fatalf("%s, %s of %d rows: [%d][%d] = %v, want %v ± %v", name, f, rows, r, o, got, want, bound)
							}
						}
					}
				}
			}
		}
	})
}

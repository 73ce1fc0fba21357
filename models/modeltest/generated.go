package modeltest

import (
	"hash/fnv"
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// Numbers are the splitmix64 numbers in [-bound, bound) that testdata/README.md
// gives the tensor of a name: any program can make them again. Where bound is a
// power of two they are exact in float32.
func Numbers(name string, n int, bound float64) []float64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	v, state := make([]float64, n), h.Sum64()
	for i := range v {
		state += 0x9E3779B97F4A7C15
		z := state
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		v[i] = (float64(z>>40)/(1<<23) - 1) * bound
	}
	return v
}

// RowNorms are the norms of the rows of a weight: DoRA's first magnitudes.
func RowNorms(w kernels.Weight) []float64 {
	norms, row := make([]float64, w.Rows), make([]float32, w.Cols)
	for j := range norms {
		kernels.Decode(row, w.Format, w.Row(j))
		sum := 0.0
		for _, x := range row {
			sum += float64(x) * float64(x)
		}
		norms[j] = math.Sqrt(sum)
	}
	return norms
}

// Float32s rounds values.
func Float32s(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

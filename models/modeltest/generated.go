package modeltest

import (
	"hash/fnv"
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// Stream is the splitmix64 numbers in [-1, 1) that testdata/README.md gives a
// name: any program can make them again, and they are exact in float32.
type Stream struct{ state uint64 }

// NewStream begins the numbers of a name.
func NewStream(name string) Stream {
	h := fnv.New64a()
	h.Write([]byte(name))
	return Stream{h.Sum64()}
}

// Next is the next number.
func (s *Stream) Next() float64 {
	s.state += 0x9E3779B97F4A7C15
	z := s.state
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	z ^= z >> 31
	return float64(z>>40)/(1<<23) - 1
}

// Numbers are the first n of a name, in [-bound, bound).
func Numbers(name string, n int, bound float64) []float64 {
	v, stream := make([]float64, n), NewStream(name)
	for i := range v {
		v[i] = stream.Next() * bound
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

package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// each runs f once for every implementation the processor has, in force.
func each(t *testing.T, f func(t *testing.T)) {
	was := active
	defer func() { active = was }()
	for _, i := range implementations() {
		active = i
		t.Run(i.name, f)
	}
}

// guard surrounds every operand in a test; a kernel that reads it spoils its
// result, and one that writes it is caught.
var guard = math.Float32frombits(0x7fc0dead)

// guarded returns a rows × cols matrix of normal values with a padded stride,
// an odd offset and guards all around, and a check that the guards stand.
func guarded(rng *rand.Rand, rows, cols, pad int) (Matrix, func() bool) {
	const around = 37
	stride := cols + pad
	all := make([]float32, rows*stride+2*around)
	for i := range all {
		all[i] = guard
	}
	m := Matrix{Rows: rows, Cols: cols, Stride: stride}
	if rows > 0 {
		m.Data = all[around : around+(rows-1)*stride+cols]
	}
	for r := range rows {
		for c := range m.Row(r) {
			m.Row(r)[c] = float32(rng.NormFloat64())
		}
	}
	return m, func() bool {
		for i, v := range all {
			j := i - around
			inside := j >= 0 && j < rows*stride && j%stride < cols
			if !inside && math.Float32bits(v) != math.Float32bits(guard) {
				return false
			}
		}
		return true
	}
}

// randomWeight returns a weight of random codes with sane scales, at an
// address that is odd where the format allows.
func randomWeight(rng *rand.Rand, f Format, rows, cols int) Weight {
	n := rows * f.RowBytes(cols)
	off := 2
	if f == F32 {
		off = 4
	}
	data := make([]byte, n+off)[off:]
	put := func(at int, scale float64) {
		binary.LittleEndian.PutUint16(data[at:], halfBits(float32(scale*(0.5+rng.Float64()))))
	}
	switch f {
	case F32:
		for i := 0; i < n; i += 4 {
			binary.LittleEndian.PutUint32(data[i:], math.Float32bits(float32(rng.NormFloat64())))
		}
	case F16:
		for i := 0; i < n; i += 2 {
			binary.LittleEndian.PutUint16(data[i:], halfBits(float32(rng.NormFloat64())))
		}
	case BF16:
		for i := 0; i < n; i += 2 {
			binary.LittleEndian.PutUint16(data[i:], uint16(math.Float32bits(float32(rng.NormFloat64()))>>16))
		}
	default:
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		for b := 0; b < n; b += f.BlockBytes() {
			switch f {
			case Q8_0:
				put(b, 0.01)
			case Q4_0:
				put(b, -0.2)
			case Q4_1:
				put(b, 0.2)
				put(b+2, -1.5)
			case Q5_0:
				put(b, -0.1)
			case Q5_1:
				put(b, 0.1)
				put(b+2, -1.5)
			case Q4_K, Q5_K:
				put(b, 0.005)
				put(b+2, 0.01)
			case Q6_K:
				put(b+208, 0.001)
			}
		}
	}
	return NewWeight(f, rows, cols, data)
}

// halfBits rounds to binary16 towards zero; enough for test data.
func halfBits(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b >> 16 & 0x8000)
	exp := int(b>>23&255) - 127 + 15
	if exp <= 0 {
		return sign
	}
	return sign | uint16(exp)<<10 | uint16(b>>13&0x3ff)
}

// checkProduct holds dst = x·weightᵀ against gonum.
func checkProduct(t *testing.T, dst, x Matrix, weight Weight) {
	t.Helper()
	what := fmt.Sprintf("%s %dx%dx%d", weight.Format, x.Rows, weight.Cols, weight.Rows)
	oracleOf(Matrix{}, widened(x), widened(weight.Matrix()).T()).check(t, what, dst, fewRoundings)
}

func TestMatMulAgainstGonum(t *testing.T) {
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		w := new(Worker)
		trials := 6
		if testing.Short() {
			trials = 3
		}
		for _, f := range Formats() {
			colsOf := []int{1, 5, 8, 31, 32, 33, 67, 192, 576, 601, 1536}
			if f.BlockLen() > 1 {
				colsOf = []int{32, 64, 96, 192, 576, 704, 1536}
			}
			if f.BlockLen() == 256 {
				colsOf = []int{256, 512, 1536, 2048}
			}
			for _, cols := range colsOf {
				for range trials {
					rows, outs := 1+rng.IntN(40), 1+rng.IntN(70)
					x, xOK := guarded(rng, rows, cols, rng.IntN(3))
					dst, dstOK := guarded(rng, rows, outs, rng.IntN(3))
					weight := randomWeight(rng, f, outs, cols)
					w.MatMul(dst, x, weight)
					checkProduct(t, dst, x, weight)
					if !xOK() || !dstOK() {
						t.Fatalf("%s %dx%dx%d: wrote outside dst", f, rows, cols, outs)
					}
				}
			}
		}
	})
}

// TestMatMulBatchInvariant demands the same bits whatever the number of rows
// or threads.
func TestMatMulBatchInvariant(t *testing.T) {
	pools := []*Pool{NewPool(1), NewPool(2), NewPool(5)}
	defer func() {
		for _, p := range pools {
			p.Close()
		}
	}()
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for _, f := range Formats() {
			for _, shape := range [][2]int{{256, 200}, {768, 97}, {576, 131}, {1536, 8}, {67, 33}} {
				cols, outs := shape[0], shape[1]
				if cols%f.BlockLen() != 0 {
					continue
				}
				most := 150
				if testing.Short() {
					most = 41
				}
				x, _ := guarded(rng, most, cols, 1)
				weight := randomWeight(rng, f, outs, cols)
				want := NewMatrix(x.Rows, outs)
				for r := range x.Rows {
					new(Worker).MatMul(want.Span(r, r+1), x.Span(r, r+1), weight)
				}
				for rows := 1; rows <= x.Rows; rows += 1 + rows/20*7 {
					for i, p := range pools {
						if i != rows%len(pools) && rows != 2 {
							continue
						}
						from := rng.IntN(x.Rows - rows + 1)
						got := NewMatrix(rows, outs)
						p.MatMul(got, x.Span(from, from+rows), weight)
						sameBits(t, fmt.Sprintf("%s %dx%dx%d, %d threads", f, rows, cols, outs, p.Threads()), got, want.Span(from, from+rows))
					}
				}
			}
		}
	})
}

func sameBits(t *testing.T, what string, got, want Matrix) {
	t.Helper()
	for r := range want.Rows {
		for c, v := range want.Row(r) {
			if g := got.Row(r)[c]; math.Float32bits(g) != math.Float32bits(v) {
				t.Fatalf("%s: [%d][%d] = %v (%#x), want %v (%#x)", what, r, c, g, math.Float32bits(g), v, math.Float32bits(v))
			}
		}
	}
}

func TestMatMulNonFinite(t *testing.T) {
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, f := range Formats() {
			for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
				x, _ := guarded(rng, 7, 256, 0)
				x.Row(3)[77] = bad
				weight := randomWeight(rng, f, 20, 256)
				dst := NewMatrix(7, 20)
				new(Worker).MatMul(dst, x, weight)
				for r := range dst.Rows {
					for _, v := range dst.Row(r) {
						if (v-v != 0) != (r == 3) {
							t.Fatalf("%s: %v in row %d with %v in row 3", f, v, r, bad)
						}
					}
				}
			}
		}
	})
}

func BenchmarkMatMul(b *testing.B) {
	was := active
	defer func() { active = was }()
	p := NewPool(1)
	defer p.Close()
	rng := rand.New(rand.NewPCG(7, 8))
	for _, i := range implementations()[1:] {
		for _, f := range Formats() {
			for _, s := range [][3]int{{1, 576, 576}, {1, 576, 49152}, {4, 576, 1536}, {8, 576, 1536}, {16, 576, 1536}, {32, 576, 1536}, {512, 576, 576}, {512, 576, 192}, {512, 576, 1536}, {512, 1536, 576}} {
				if s[1]%f.BlockLen() != 0 {
					s[1] = 768 // of the k-quants
				}
				x := aligned(rng, s[0], s[1])
				weight := randomWeight(rng, f, s[2], s[1])
				dst := NewMatrix(s[0], s[2])
				b.Run(fmt.Sprintf("%s/%s/%dx%dx%d", i.name, f, s[0], s[1], s[2]), func(b *testing.B) {
					active = i
					b.ReportAllocs()
					for b.Loop() {
						p.MatMul(dst, x, weight)
					}
					seconds := b.Elapsed().Seconds() / float64(b.N)
					b.ReportMetric(2*float64(s[0]*s[1]*s[2])/seconds/1e9, "GFLOP/s")
					b.ReportMetric(float64(len(weight.Data))/seconds/1e9, "GB/s")
				})
			}
		}
	}
}

// aligned returns normal values as the arenas hold them: rows that start on a
// cache line where their length allows it.
func aligned(rng *rand.Rand, rows, cols int) Matrix {
	m := NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	return m
}

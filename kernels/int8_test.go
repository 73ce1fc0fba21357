package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/mat"
)

// quantised lists the formats that Int8 is for.
func quantised() (formats []Format) {
	for _, f := range Formats() {
		if f.BlockLen() > 1 {
			formats = append(formats, f)
		}
	}
	return formats
}

// rounding is the weight with Int8's products.
func rounding(w Weight) Weight {
	pool := NewPool(2)
	defer pool.Close()
	return pool.Int8(w, make([]byte, w.Int8Bytes()))
}

// eachInt8 is each, and for kernels that the processor has better ones than.
func eachInt8(t *testing.T, f func(t *testing.T)) {
	each(t, f)
	was := active
	defer func() { active = was }()
	for name, k := range lesserInt8() {
		other := *fastest()
		other.int8 = k
		active = &other
		t.Run(name, f)
	}
}

// activationsFor are rows of a kind: of normal values, of values that all round to
// the largest, and of blocks of zeros and of very different sizes.
func activationsFor(rng *rand.Rand, x Matrix, kind int) {
	for r := range x.Rows {
		for c := range x.Row(r) {
			v := &x.Row(r)[c]
			switch kind {
			case 1:
				*v = float32(math.Copysign(3, float64(*v)))
			case 2:
				*v *= float32(math.Pow(10, float64(rng.IntN(60)-44)))
				if c/int8Block%3 == 1 {
					*v = 0
				}
			case 3:
				*v = 1
			}
		}
	}
}

// Every implementation gives the bits of the portable one, which reads weights as
// they are stored: of any format, of any number of rows and outputs, on one thread
// and on several.
func TestInt8IsPortable(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		for _, f := range quantised() {
			for i, s := range []struct{ rows, outs, cols int }{{0, 8, 256}, {1, 8, 256}, {4, 24, 512}, {2, 1, 256}, {3, 19, 768}, {9, 70, 256}, {6, 333, 1024}, {37, 64, 512}, {40, 40, 2816}, {170, 24, 1024}} {
				for kind := range 4 {
					if kind > 0 && s.rows > 100 {
						break // portable Go takes long
					}
					rng := rand.New(rand.NewPCG(uint64(f), uint64(i)))
					x, xGuards := guarded(rng, s.rows, s.cols, 3)
					activationsFor(rng, x, kind)
					weight := randomWeight(rng, f, s.outs, s.cols)
					if f == Q4_1 { // an infinite scale, with a minimum that is not
						binary.LittleEndian.PutUint16(weight.Data, 0x7c00)
					}
					ofEight := randomWeight(rng, Q8_0, s.outs, s.cols)
					want, wantEight := NewMatrix(s.rows, s.outs), NewMatrix(s.rows, s.outs)
					was := active
					active = &portable
					new(Worker).MatMul(want, x, rounding(weight))
					new(Worker).MatMul(wantEight, x, rounding(ofEight))
					active = was
					weight, ofEight = rounding(weight), rounding(ofEight)
					if weight.int8 == nil {
						t.Fatal("products take activations as they are")
					}
					what := fmt.Sprintf("%s %v, activations %d", f, s, kind)
					for _, threads := range []int{1, 3} {
						got, guards := guarded(rng, s.rows, s.outs, 5)
						pool := NewPool(threads)
						pool.MatMul(got, x, weight)
						sameBits(t, what, got, want)
						other, otherGuards := guarded(rng, s.rows, s.outs, 1)
						plain, _ := guarded(rng, s.rows, s.outs, 0)
						eight, _ := guarded(rng, s.rows, s.outs, 0)
						pool.MatMuls(x, Product{got, weight}, Product{plain, weight.Span(0, s.outs)}, Product{other, weight}, Product{eight, ofEight})
						pool.Close()
						sameBits(t, what+", of several", got, want)
						sameBits(t, what+", the third of several", other, want)
						sameBits(t, what+", Q8_0 beside it", eight, wantEight)
						if !guards() || !otherGuards() || !xGuards() {
							t.Fatalf("%s: wrote beyond the result", what)
						}
					}
				}
			}
		}
	})
}

// A row alone has the bits that it has among others, also among more than stay in the
// second-level cache.
func TestInt8RowAlone(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		for _, f := range quantised() {
			for _, s := range []struct{ rows, outs, cols, step int }{{23, 100, 512, 1}, {600, 24, 1024, 83}} {
				rng := rand.New(rand.NewPCG(5, uint64(f)))
				x, _ := guarded(rng, s.rows, s.cols, 0)
				weight := rounding(randomWeight(rng, f, s.outs, s.cols))
				all, w := NewMatrix(s.rows, s.outs), new(Worker)
				w.MatMul(all, x, weight)
				for from := 0; from < s.rows; from += s.step {
					for _, to := range []int{from + 1, min(from+6, s.rows)} {
						some := NewMatrix(to-from, s.outs)
						w.MatMul(some, x.Span(from, to), weight)
						sameBits(t, fmt.Sprintf("%s rows %d to %d of %d", f, from, to, s.rows), some, all.Span(from, to))
					}
				}
			}
		}
	})
}

// The product is that of the dequantised weight with the rounded activations, and those
// are within half a step of what they were.
func TestInt8Oracle(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		for _, f := range quantised() {
			rng := rand.New(rand.NewPCG(7, uint64(f)))
			x, _ := guarded(rng, 5, 768, 0)
			weight := randomWeight(rng, f, 33, 768)
			got := NewMatrix(5, 33)
			new(Worker).MatMul(got, x, rounding(weight))
			in := roundedIn(new([]float32), x, false)
			in.roundRows(x, 0, x.Rows)
			near := NewMatrix(5, 768)
			for r := range x.Rows {
				for b := range in.blocks {
					block := in.at(r, b)[:roundedBytes]
					var scale [1]float32
					Decode(scale[:], F32, block)
					for i, q := range block[roundedCodes:] {
						c := b*int8Block + i
						near.Row(r)[c] = scale[0] * float32(int8(q))
						if e := math.Abs(float64(near.Row(r)[c] - x.Row(r)[c])); e > 0.5001*float64(scale[0]) {
							t.Fatalf("%v is rounded to %v, in steps of %v", x.Row(r)[c], near.Row(r)[c], scale[0])
						}
					}
				}
			}
			oracleOf(Matrix{}, widened(near), mat.DenseCopyOf(widened(weight.Matrix()).T())).check(t, f.String(), got, 4*fewRoundings)
		}
	})
}

// Activations are rounded to the same bits by every implementation: ties, values so
// small that they count as zeros, and values that are not finite among them, of which
// a block's results are NaN.
func TestInt8Round(t *testing.T) {
	inf := float32(math.Inf(1))
	rows := [][]float32{{0}, {127, 0.5, 1.5, -2.5, 126.5}, {1e-38, -3e-39}, {7.888609e-31}, {7.88861e-31, 1e-33}, {3e38, -3.4e38}, {inf, 1}, {1, -inf}, {float32(math.NaN()), 5}}
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for range 200 {
			row := make([]float32, int8Block)
			for i := range row {
				row[i] = float32(rng.NormFloat64() * math.Pow(2, float64(rng.IntN(40))))
			}
			rows = append(rows, row)
		}
		weight := randomWeight(rng, Q4_1, 8, int8Block)
		for _, row := range rows {
			x := NewMatrix(1, int8Block)
			copy(x.Data, row)
			want := make([]byte, roundedBytes)
			roundBlock(want, x.Data)
			in := roundedIn(new([]float32), x, false)
			in.roundRows(x, 0, 1)
			if !Finite(x.Data) {
				y := NewMatrix(1, 8)
				new(Worker).MatMul(y, x, rounding(weight))
				for _, v := range y.Data {
					if v == v {
						t.Errorf("%v: the product is %v", row, y.Data)
					}
				}
			} else if string(in.data) != string(want) {
				t.Errorf("%v:\n%v\nwant\n%v", row, in.data, want)
			}
			if active.int8 != nil && active.int8.apart != nil {
				roundsApart(t, row, want)
			}
		}
	})
}

// roundsApart reports a row that many rows that lie apart do not have as want, a block.
func roundsApart(t *testing.T, row []float32, want []byte) {
	x := NewMatrix(active.int8.many, int8Block)
	for r := range x.Rows {
		copy(x.Row(r), row)
	}
	in := roundedIn(new([]float32), x, false)
	if !in.apart() {
		t.Fatal("many rows lie as few do")
	}
	in.roundRows(x, 0, x.Rows)
	for r := range x.Rows {
		tile, i := in.tileAt(r, 0), r%apartRows
		scale, sum, codes := tile[4*i:][:4], tile[apartSums+4*i:][:4], make([]byte, 0, int8Block)
		for p := range int8Block / 8 {
			codes = append(codes, tile[active.int8.apartAt(i, p):][:8]...)
		}
		if !Finite(x.Data) {
			if e := math.Float32frombits(word32(scale)); e == e {
				t.Errorf("%v: the scale of row %d is %v", row, r, e)
			}
		} else if string(scale)+string(sum)+string(codes) != string(want[:roundedPairs])+string(want[roundedCodes:]) {
			t.Errorf("%v, row %d:\n%v %v %v\nwant\n%v", row, r, scale, sum, codes, want)
		}
	}
}

// A multiply-add in portable Go rounds once: also where the sum lies next to the middle
// of two values, is denormal, or is no number.
func TestFma32(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	value := func() float32 {
		v := math.Float32frombits(rng.Uint32())
		if rng.IntN(2) == 0 { // of few bits, so that sums are ties
			v = float32(math.Ldexp(float64(rng.IntN(1<<13)-1<<12), rng.IntN(50)-25))
		}
		return v
	}
	for range 200000 {
		a, b, c := value(), value(), value()
		got := fma32(a, b, c)
		if !Finite([]float32{a, b, c}) {
			if want := a*b + c; got != want && !(got != got && want != want) {
				t.Fatalf("%v·%v + %v is %v, and not %v", a, b, c, got, want)
			}
			continue
		}
		exact := new(big.Float).SetPrec(2000).SetFloat64(float64(a) * float64(b))
		exact.Add(exact, new(big.Float).SetFloat64(float64(c)))
		if want, _ := exact.Float32(); got != want {
			t.Fatalf("%v·%v + %v is %v, and not %v", a, b, c, got, want)
		}
	}
}

// A float format has no such products, and a span or gradient reads what is stored.
func TestInt8Of(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, f := range Formats() {
			weight := randomWeight(rng, f, 16, 256)
			rounds := rounding(weight)
			if got, want := rounds.int8 != nil, f.BlockLen() > 1; got != want {
				t.Errorf("%s: %v", f, got)
			}
			if rounds.int8 != nil && len(rounds.int8.groups) != weight.Int8Bytes() {
				t.Errorf("%s takes %d bytes, and not %d", f, len(rounds.int8.groups), weight.Int8Bytes())
			}
			x, dy := NewMatrix(1, 256), NewMatrix(1, 16)
			for i := range x.Data {
				x.Data[i] = float32(rng.NormFloat64())
			}
			copy(dy.Data, x.Data)
			w := new(Worker)
			y, want := NewMatrix(1, 8), NewMatrix(1, 8)
			w.MatMul(y, x, rounds.Span(8, 16))
			w.MatMul(want, x, weight.Span(8, 16))
			sameBits(t, f.String(), y, want)
			dx, wantGrad := NewMatrix(1, 256), NewMatrix(1, 256)
			w.InputGrad(dx, dy, rounds)
			w.InputGrad(wantGrad, dy, weight)
			sameBits(t, f.String()+", gradient", dx, wantGrad)
		}
	})
}

// Rows that are rounded take no more than PackedBytes, and that much where nothing
// else is packed; no rows take nothing.
func TestInt8PackedBytes(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 3))
		four, eight := randomWeight(rng, Q4_0, 16, 256), randomWeight(rng, Q8_0, 16, 256)
		for _, rows := range []int{1, 11, 12, 31, 32, 37} {
			for _, weights := range [][]Weight{{four}, {eight}, {four, eight}} {
				x, _ := guarded(rng, rows, 256, 0)
				var products []Product
				for _, w := range weights {
					products = append(products, Product{NewMatrix(rows, 16), rounding(w)})
				}
				p := NewPool(1)
				p.MatMuls(x, products...)
				p.Close()
				told, _ := PackedBytes(rows, weights...)
				takes := 4 * grown(len(p.tasks.matMul.rounded.data)/4)
				if takes > told || takes < told && active.pack == nil && active.lanes == nil {
					t.Errorf("%d rows of %d weights take %d bytes, and not %d", rows, len(weights), takes, told)
				}
			}
		}
		none, _ := PackedBytes(0)
		if got, _ := PackedBytes(0, four, eight); got != none {
			t.Errorf("no rows take %d bytes, and not %d", got, none)
		}
	})
}

// BenchmarkInt8 multiplies rows that are rounded already, on one thread, with each
// implementation, and tells the cycles of 256 multiply-adds. Cycles are measured by twelve
// float32 multiply-adds of a vector, which take six where two begin in each. The fastest
// of many repetitions counts.
func BenchmarkInt8(b *testing.B) {
	const cols, outs = 2048, 64
	was := active
	defer func() { active = was }()
	for _, i := range implementations() {
		if i.int8 == nil {
			continue
		}
		active = i
		for _, f := range quantised() {
			weight := rounding(randomWeight(rand.New(rand.NewPCG(1, 2)), f, outs, cols))
			for _, rows := range []int{1, 4, 8, 64, 512} {
				b.Run(fmt.Sprintf("%s/%s/%d", i.name, f, rows), func(b *testing.B) {
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
						i.peak.fma(4096)
						cycle = min(cycle, time.Since(start).Seconds()/4096/6)
						start = time.Now()
						w.mulInt8(y, in, weight, 0, outs)
						product = min(product, time.Since(start).Seconds())
					}
					b.ReportMetric(product/cycle*256/float64(rows*outs*cols), "cycles")
				})
			}
		}
	}
}

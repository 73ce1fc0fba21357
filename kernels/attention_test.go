package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/mat"
)

// attended is a batch of sequences over a shuffled cache.
type attended struct {
	q     Matrix
	kv    KV
	spans []Span
	a     Attention
}

func newAttended(rng *rand.Rand, a Attention, kvHeads, headDim int, lengths [][2]int) attended {
	return newAttendedIn(F32, rng, a, kvHeads, headDim, lengths)
}

func newAttendedIn(f Format, rng *rand.Rand, a Attention, kvHeads, headDim int, lengths [][2]int) attended {
	blocks, rows := 0, 0
	for _, l := range lengths {
		blocks += (l[0] + l[1] + BlockLen - 1) / BlockLen
		rows += l[1]
	}
	kv := NewKV(f, kvHeads, headDim, blocks)
	for i := range kv.K {
		kv.K[i], kv.V[i] = guard, guard // never written: must not be seen
	}
	for i := range kv.Stored {
		kv.Stored[i] = 0x7e // NaN in F16, and as a scale
	}
	order := rng.Perm(blocks)
	c := attended{kv: kv, a: a}
	c.q, _ = guarded(rng, rows, a.Heads*headDim, 3)
	row := 0
	for _, l := range lengths {
		s := Span{Start: row, End: row + l[1], Position: l[0]}
		for p := range l[0] + l[1] {
			if p%BlockLen == 0 {
				s.Blocks = append(s.Blocks, int32(order[0]))
				order = order[1:]
			}
			k, _ := guarded(rng, 2, kvHeads*headDim, 0)
			kv.Store(s.Blocks[p/BlockLen], p, k.Row(0), k.Row(1))
		}
		c.spans = append(c.spans, s)
		row += l[1]
	}
	return c
}

func (c attended) run(p *Pool) (dst, lse Matrix) {
	dst, lse = NewMatrix(c.q.Rows, c.q.Cols), NewMatrix(c.q.Rows, c.a.Heads)
	p.Attend(dst, c.q, c.kv, c.spans, c.a, lse)
	return dst, lse
}

// reference computes one row and head with gonum in float64, all keys at once.
func (c attended) reference(s Span, row, h int) []float64 {
	d := c.kv.HeadDim
	head := h / (c.a.Heads / c.kv.Heads)
	position := s.Position + row - s.Start
	k, v := make([]float32, c.kv.Heads*d), make([]float32, c.kv.Heads*d)
	var keys, values []float64
	var seenAt []int
	for j := range s.Position + s.End - s.Start {
		if c.a.Causal && j > position || c.a.Window > 0 && (j <= position-c.a.Window || j >= position+c.a.Window) {
			continue
		}
		c.kv.Load(s.Blocks[j/BlockLen], j, k, v)
		seenAt = append(seenAt, j)
		for i := range d {
			keys, values = append(keys, float64(k[head*d+i])), append(values, float64(v[head*d+i]))
		}
	}
	query := mat.NewVecDense(d, nil)
	for i, q := range c.q.Row(row)[h*d:][:d] {
		query.SetVec(i, float64(q))
	}
	seen := len(keys) / d
	var weights, out mat.VecDense
	weights.MulVec(mat.NewDense(seen, d, keys), query)
	for j := range seen {
		score := weights.AtVec(j)*float64(c.a.Scale) + c.bias(h, seenAt[j]-position)
		if c.a.Softcap > 0 {
			score = float64(c.a.Softcap) * math.Tanh(score/float64(c.a.Softcap))
		}
		weights.SetVec(j, math.Exp(score))
	}
	out.MulVec(mat.NewDense(seen, d, values).T(), &weights)
	out.ScaleVec(1/mat.Sum(&weights), &out)
	return out.RawVector().Data
}

// biasAt is some bias of a head at a distance.
func biasAt(head, distance int) float32 {
	return float32(math.Sin(float64(3*head) + float64(distance)/5))
}

func (c attended) bias(head, distance int) float64 {
	if c.a.Bias == nil {
		return 0
	}
	return float64(biasAt(head, distance))
}

// headDims keeps two of the head sizes in a short test.
func headDims(all ...int) []int {
	if testing.Short() {
		return []int{7, 64}
	}
	return all
}

func TestAttend(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 9))
		for _, a := range []Attention{
			{Heads: 9, Scale: 0.125, Causal: true},
			{Heads: 6, Scale: 0.1},
			{Heads: 3, Scale: 0.125, Causal: true, Window: 40},
			{Heads: 6, Scale: 0.125, Window: 9}, {Heads: 3, Scale: 0.2, Window: 40},
			{Heads: 6, Scale: 0.2, Causal: true, Softcap: 3},
			{Heads: 24, Scale: 0.3, Causal: true},
			{Heads: 3, Scale: 4, Causal: true}, // the maximum moves far
			{Heads: 6, Scale: 0.1, Bias: NewPositionBias(6, 128, 0.1, biasAt)},
			{Heads: 9, Scale: 0.2, Causal: true, Window: 40, Bias: NewPositionBias(9, 128, 0.2, biasAt)},
			{Heads: 6, Scale: 0.2, Causal: true, Softcap: 3, Bias: NewPositionBias(6, 128, 0.2, biasAt)},
		} {
			// A score's error grows with the scores.
			tolerance := 2e-6 * max(1, 32*float64(a.Scale))
			for i, d := range headDims(7, 16, 32, 40, 64, 80, 96, 128) {
				f := KVFormats()[(i+a.Heads/3)%3]
				c := newAttendedIn(f, rng, a, 3, d, [][2]int{{0, 70}, {31, 1}, {64, 5}, {0, 1}, {3, 33}})
				dst, _ := c.run(p)
				for _, s := range c.spans {
					for row := s.Start; row < s.End; row++ {
						for h := range a.Heads {
							for i, want := range c.reference(s, row, h) {
								if got := float64(dst.Row(row)[h*d+i]); !(math.Abs(got-want) < tolerance) {
									t.Fatalf("%s, %+v, dim %d, row %d, head %d: [%d] = %v, want %v", f, a, d, row, h, i, got, want)
								}
							}
						}
					}
				}
			}
		}
	})
}

// TestAttendBatchInvariant demands the same bits from rows attended one at a
// time, in chunks, and all at once by any number of threads.
func TestAttendBatchInvariant(t *testing.T) {
	pools := []*Pool{NewPool(1), NewPool(2), NewPool(4)}
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(10, 10))
		for _, a := range []Attention{
			{Heads: 9, Scale: 0.125, Causal: true}, {Heads: 3, Scale: 0.125, Causal: true, Window: 50},
			{Heads: 6, Scale: 0.125, Causal: true, Bias: NewPositionBias(6, 128, 0.125, biasAt)},
		} {
			c := newAttended(rng, a, 3, 64, [][2]int{{40, 75}, {100, 1}})
			want, wantLSE := c.run(pools[0])
			for _, p := range pools[1:] {
				got, lse := c.run(p)
				sameBits(t, fmt.Sprint(p.Threads(), " threads"), got, want)
				sameBits(t, "lse", lse, wantLSE)
			}
			for _, step := range []int{1, 7, 32} {
				got := NewMatrix(want.Rows, want.Cols)
				for _, s := range c.spans {
					for r := s.Start; r < s.End; r += step {
						n := min(step, s.End-r)
						part := s
						part.Start, part.End, part.Position = 0, n, s.Position+r-s.Start
						pools[r%3].Attend(got.Span(r, r+n), c.q.Span(r, r+n), c.kv, []Span{part}, a, Matrix{})
					}
				}
				sameBits(t, fmt.Sprint("chunks of ", step), got, want)
			}
		}
	})
	for _, p := range pools {
		p.Close()
	}
}

// TestAttendNonFinite demands that a bad key spoils the rows that see it, and
// not a bit of the others.
// TestAttendPaged moves the blocks to other pages: nothing else changes.
func TestAttendPaged(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 7))
	c := newAttended(rng, Attention{Heads: 6, Scale: 0.2, Causal: true}, 3, 16, [][2]int{{70, 40}, {0, 33}, {95, 1}})
	moved, size := c, c.kv.BlockSize()
	moved.kv.K, moved.kv.V = make([]float32, len(c.kv.K)), make([]float32, len(c.kv.V))
	for block, page := range rng.Perm(len(c.kv.K) / size) {
		moved.kv.Pages = append(moved.kv.Pages, int32(page))
		copy(moved.kv.K[page*size:][:size], c.kv.K[block*size:])
		copy(moved.kv.V[page*size:][:size], c.kv.V[block*size:])
	}
	p := NewPool(2)
	defer p.Close()
	each(t, func(t *testing.T) {
		want, _ := c.run(p)
		got, _ := moved.run(p)
		sameBits(t, "pages", got, want)
	})
}

func TestAttendNonFinite(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	each(t, func(t *testing.T) {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
			c := newAttended(rand.New(rand.NewPCG(12, 12)), Attention{Heads: 6, Scale: 0.125, Causal: true}, 2, 64, [][2]int{{0, 70}, {0, 40}})
			want, _ := c.run(p)
			const at = 45
			s := c.spans[0]
			k, v := make([]float32, 128), make([]float32, 128)
			c.kv.Load(s.Blocks[at/BlockLen], at, k, v)
			k[3], v[77] = bad, bad // of both heads
			k[64+3] = bad
			c.kv.Store(s.Blocks[at/BlockLen], at, k, v)
			got, _ := c.run(p)
			sameBits(t, "before", got.Span(0, at), want.Span(0, at))
			sameBits(t, "another sequence", got.Span(70, 110), want.Span(70, 110))
			for r := at; r < 70; r++ {
				for h := range 2 {
					if Finite(got.Row(r)[h*192:][:192]) {
						t.Fatalf("row %d, head %d is finite", r, h)
					}
				}
			}
		}
	})
}

func BenchmarkAttend(b *testing.B) {
	was := active
	defer func() { active = was }()
	p := NewPool(1)
	defer p.Close()
	rng := rand.New(rand.NewPCG(7, 8))
	peak := p.MeasurePeak(200 * time.Millisecond).GFLOPS // 0: it cannot be measured
	for _, s := range []struct {
		heads, kvHeads, headDim, past, rows int
		formats                             []Format
	}{
		{9, 3, 64, 0, 512, []Format{F32}}, {9, 3, 64, 512, 1, []Format{F32}}, {9, 3, 64, 2047, 1, []Format{F32}},
		{9, 3, 64, 3584, 512, []Format{F32}}, {14, 2, 64, 3584, 512, []Format{F32}}, {32, 8, 128, 3584, 512, []Format{F32}},
		{14, 2, 64, 4095, 1, KVFormats()}, {32, 8, 64, 4095, 1, KVFormats()}, {14, 2, 64, 16383, 1, KVFormats()},
	} {
		for _, f := range s.formats {
			c := newAttendedIn(f, rng, Attention{Heads: s.heads, Scale: 0.125, Causal: true}, s.kvHeads, s.headDim, [][2]int{{s.past, s.rows}})
			dst := NewMatrix(c.q.Rows, c.q.Cols)
			pairs := s.rows*s.past + s.rows*(s.rows+1)/2 // of queries and keys
			for _, i := range implementations() {
				b.Run(fmt.Sprintf("%s/%s/%d-%dx%d/%d+%d", i.name, f, s.heads, s.kvHeads, s.headDim, s.past, s.rows), func(b *testing.B) {
					active = i
					b.ReportAllocs()
					for b.Loop() {
						p.Attend(dst, c.q, c.kv, c.spans, c.a, Matrix{})
					}
					rate := 4 * float64(pairs*s.heads*s.headDim) / b.Elapsed().Seconds() * float64(b.N) / 1e9
					b.ReportMetric(rate, "GFLOP/s")
					if peak > 0 {
						b.ReportMetric(100*rate/peak, "%peak")
					}
				})
			}
		}
	}
}

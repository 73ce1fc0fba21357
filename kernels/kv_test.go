package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestKVStore demands of each format that a position reads back as what Encode
// makes of it, whatever lies beside it.
func TestKVStore(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 16))
	each(t, func(t *testing.T) {
		for _, f := range KVFormats() {
			for _, d := range []int{7, 32, 64, 80} {
				const heads = 2
				c := NewKV(f, heads, d, 3)
				k, v := randomMatrix(rng, 2*BlockLen, heads*d), randomMatrix(rng, 2*BlockLen, heads*d)
				for _, p := range rng.Perm(2 * BlockLen) {
					c.Store(int32(2-p/BlockLen), p, k.Row(p), v.Row(p))
				}
				gotK, gotV := make([]float32, heads*d), make([]float32, heads*d)
				for p := range 2 * BlockLen {
					c.Load(int32(2-p/BlockLen), p, gotK, gotV)
					for h := range heads {
						keys, values := c.block(int32(2-p/BlockLen), h, make([]float32, c.wideLen()))
						for i := range d {
							key, value := keys[i*BlockLen+p%BlockLen], values[p%BlockLen*d+i]
							if key != gotK[h*d+i] || value != gotV[h*d+i] {
								t.Fatalf("%s, dim %d, position %d, %d of head %d: a block has %v and %v, Load %v and %v", f, d, p, i, h, key, value, gotK[h*d+i], gotV[h*d+i])
							}
						}
					}
					for i, pair := range [][2][]float32{{gotK, k.Row(p)}, {gotV, v.Row(p)}} {
						want := make([]float32, 0, heads*d)
						for h := range heads {
							want = append(want, roundedAs(t, f, pair[1][h*d:][:d])...)
						}
						for j, w := range want {
							if math.Float32bits(pair[0][j]) != math.Float32bits(w) {
								t.Fatalf("%s, dim %d, position %d, %d of %d: %v, want %v", f, d, p, j, i, pair[0][j], w)
							}
						}
					}
				}
			}
		}
	})
}

// roundedAs is what Decode makes of what Encode makes of x, padded to whole blocks.
func roundedAs(t *testing.T, f Format, x []float32) []float32 {
	t.Helper()
	n := (len(x) + f.BlockLen() - 1) / f.BlockLen() * f.BlockLen()
	padded := append(append([]float32(nil), x...), make([]float32, n-len(x))...)
	b := make([]byte, f.RowBytes(n))
	if err := Encode(b, f, padded); err != nil {
		t.Fatal(err)
	}
	Decode(padded, f, b)
	return padded[:len(x)]
}

func randomMatrix(rng *rand.Rand, rows, cols int) Matrix {
	m := NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(rng.NormFloat64())
	}
	return m
}

// TestKVBatchInvariant demands of each format the same bits of rows attended one at
// a time, in chunks, and all at once by any number of threads.
func TestKVBatchInvariant(t *testing.T) {
	pools := []*Pool{NewPool(1), NewPool(3)}
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(10, 16))
		for _, f := range KVFormats()[1:] {
			for _, heads := range []int{3, 9} {
				c := newAttendedIn(f, rng, Attention{Heads: heads, Scale: 0.125, Causal: true}, 3, 64, [][2]int{{40, 75}, {100, 1}})
				want, _ := c.run(pools[0])
				all, _ := c.run(pools[1])
				sameBits(t, fmt.Sprint(f, " threads"), all, want)
				for _, step := range []int{1, 7, 32} {
					got := NewMatrix(want.Rows, want.Cols)
					for _, s := range c.spans {
						for r := s.Start; r < s.End; r += step {
							n := min(step, s.End-r)
							part := s
							part.Start, part.End, part.Position = 0, n, s.Position+r-s.Start
							pools[r%2].Attend(got.Span(r, r+n), c.q.Span(r, r+n), c.kv, []Span{part}, c.a, Matrix{})
						}
					}
					sameBits(t, fmt.Sprint(f, " chunks of ", step), got, want)
				}
			}
		}
	})
	for _, p := range pools {
		p.Close()
	}
}

// TestKVInRegisters demands of keys and values that are widened in registers, which few
// queries do, the bits of those that are widened first.
func TestKVInRegisters(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	each(t, func(t *testing.T) {
		if active.vectors == nil || active.vectors.scores[F16] == nil {
			t.Skip("it widens none in registers")
		}
		inRegisters := active
		defer func() { active = inRegisters }()
		rng := rand.New(rand.NewPCG(17, 16))
		for _, f := range KVFormats()[1:] {
			first, vectors := *inRegisters, *inRegisters.vectors
			vectors.scores[f], vectors.values[f] = nil, nil
			first.vectors = &vectors
			most := 2 * (len(inRegisters.vectors.scores[f]) - 1)
			for group := 1; group <= most; group++ {
				for i, d := range []int{32, 64, 96, 128} {
					a := []Attention{
						{Scale: 0.125, Causal: true}, {Scale: 4, Causal: true}, // the maximum moves far
						{Scale: 0.2, Causal: true, Window: 37}, {Scale: 0.2, Softcap: 3},
					}[(i+group)%4]
					a.Heads = 2 * group
					c := newAttendedIn(f, rng, a, 2, d, [][2]int{{0, 1}, {31, 1}, {95, 1}, {102, 1}})
					b := attendBand{attendTask: &attendTask{kv: c.kv}, v: inRegisters.vectors}
					if !b.inRegisters(group) {
						t.Fatalf("%s, %d queries of %d are not widened in registers", f, group, d)
					}
					active = inRegisters
					got, lse := c.run(p)
					active = &first
					want, wantLSE := c.run(p)
					what := fmt.Sprintf("%s, %d queries of %d", f, group, d)
					sameBits(t, what, got, want)
					sameBits(t, what+", lse", lse, wantLSE)
				}
			}
		}
	})
}

// TestKVNotFinite demands that what a format cannot hold spoils the rows that see it.
func TestKVNotFinite(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	each(t, func(t *testing.T) {
		for _, f := range KVFormats()[1:] {
			for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1)), 1e6, -1e6} {
				for i, what := range []string{"key", "value"} {
					c := newAttendedIn(f, rand.New(rand.NewPCG(12, 16)), Attention{Heads: 2, Scale: 0.125, Causal: true}, 1, 64, [][2]int{{0, 70}})
					want, _ := c.run(p)
					const at = 45
					stored := [][]float32{make([]float32, 64), make([]float32, 64)}
					c.kv.Load(c.spans[0].Blocks[at/BlockLen], at, stored[0], stored[1])
					stored[i][33] = bad
					c.kv.Store(c.spans[0].Blocks[at/BlockLen], at, stored[0], stored[1])
					got, _ := c.run(p)
					sameBits(t, "before", got.Span(0, at), want.Span(0, at))
					for r := at; r < 70; r++ {
						for h := range 2 {
							if Finite(got.Row(r)[h*64:][:64]) {
								t.Fatalf("%s of %v in a %s: row %d, head %d is finite", f, bad, what, r, h)
							}
						}
					}
				}
			}
		}
	})
}

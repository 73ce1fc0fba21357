package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestDisentangle holds the attention against one in float64, with each part of
// positions and without, texts of several lengths that share rows of positions, and
// its gradients against differences of it.
func TestDisentangle(t *testing.T) {
	const heads, d, reach = 3, 8, 12
	a := Disentangled{Heads: heads, Scale: 0.3}
	for distance := -reach + 1; distance < reach; distance++ {
		a.Index = append(a.Index, int32(min(max(distance, -4), 4)+4))
	}
	pools := []*Pool{NewPool(1), NewPool(3)}
	defer pools[0].Close()
	defer pools[1].Close()
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(21, 21))
		random := func(rows int) Matrix {
			m := NewMatrix(rows, heads*d)
			for i := range m.Data {
				m.Data[i] = float32(rng.NormFloat64())
			}
			return m
		}
		spans := []Span{{Start: 0, End: 1}, {Start: 1, End: 8}, {Start: 8, End: 11}}
		// The first text has one row of positions; the others share those of the longer.
		texts := []PositionRows{{Start: 0, First: 4}, {Start: 1, First: 0}, {Start: 1, First: 0}}
		for _, has := range [][2]bool{{true, true}, {true, false}, {false, true}} {
			q, k, v, dy := random(11), random(11), random(11), random(11)
			at := Positions{Texts: texts}
			if has[0] {
				at.K = random(10)
			}
			if has[1] {
				at.Q = random(10)
			}
			got, again := NewMatrix(11, heads*d), NewMatrix(11, heads*d)
			pools[0].Disentangle(got, q, k, v, at, spans, a)
			pools[1].Disentangle(again, q, k, v, at, spans, a)
			sameBits(t, "3 threads", again, got)
			loss := func(check bool) (sum float64) { // of the reference, weighted by dy
				for n, s := range spans {
					for i := s.Start; i < s.End; i++ {
						for h := range heads {
							for c, want := range disentangled(a, q, k, v, at, s, texts[n], i, h, d) {
								if e := math.Abs(float64(headOf(got, i, h, d)[c]) - want); check && !(e < 1e-5) {
									t.Fatalf("row %d, head %d: off by %g", i, h, e)
								}
								sum += want * float64(headOf(dy, i, h, d)[c])
							}
						}
					}
				}
				return sum
			}
			loss(true)
			grads := [][2]Matrix{{q, NewMatrix(11, heads*d)}, {k, NewMatrix(11, heads*d)}, {v, NewMatrix(11, heads*d)}, {at.K, {}}, {at.Q, {}}}
			for i := 3; i < 5; i++ {
				if !grads[i][0].Empty() {
					grads[i][1] = NewMatrix(10, heads*d)
				}
			}
			dat := Positions{K: grads[3][1], Q: grads[4][1], Texts: texts}
			pools[1].DisentangleGrad(grads[0][1], grads[1][1], grads[2][1], dat, dy, q, k, v, at, spans, a)
			for n, g := range grads {
				for i := 0; i < len(g[0].Data); i += 5 {
					const step = 1e-3
					was := g[0].Data[i]
					g[0].Data[i] = was + step
					up := float64(g[0].Data[i])
					above := loss(false)
					g[0].Data[i] = was - step
					width := up - float64(g[0].Data[i])
					want := (above - loss(false)) / width
					g[0].Data[i] = was
					if e := math.Abs(float64(g[1].Data[i]) - want); !(e < 1e-4*max(1, math.Abs(want))) {
						t.Fatalf("gradient %d, value %d is %g, want %g", n, i, g[1].Data[i], want)
					}
				}
			}
		}
	})
}

// disentangled is a row and head of the attention in float64.
func disentangled(a Disentangled, q, k, v Matrix, at Positions, s Span, rows PositionRows, i, h, d int) []float64 {
	dot := func(x, y []float32) (sum float64) {
		for c := range x {
			sum += float64(x[c]) * float64(y[c])
		}
		return sum
	}
	weights, total := make([]float64, s.End-s.Start), 0.0
	for j := range weights {
		query, key := headOf(q, i, h, d), headOf(k, s.Start+j, h, d)
		score, r := dot(query, key), rows.Start+int(a.Index[len(a.Index)/2+i-s.Start-j]-rows.First)
		if !at.K.Empty() {
			score += dot(query, headOf(at.K, r, h, d))
		}
		if !at.Q.Empty() {
			score += dot(key, headOf(at.Q, r, h, d))
		}
		weights[j] = math.Exp(score * float64(a.Scale))
		total += weights[j]
	}
	out := make([]float64, d)
	for j, p := range weights {
		for c, x := range headOf(v, s.Start+j, h, d) {
			out[c] += p / total * float64(x)
		}
	}
	return out
}

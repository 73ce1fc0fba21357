package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// gradients are dq and the gradients of the keys and values, in a row each.
func (c attended) gradients(p *Pool, dy Matrix) (dq, dkv Matrix) {
	y, lse := c.run(p)
	dq, dkv = NewMatrix(c.q.Rows, c.q.Cols), NewMatrix(2, len(c.kv.K))
	p.AttendGrad(dq, KV{Heads: c.kv.Heads, HeadDim: c.kv.HeadDim, K: dkv.Row(0), V: dkv.Row(1)}, dy, y, c.q, c.kv, c.spans, c.a, lse)
	return dq, dkv
}

// gradReference adds the gradients of one row and head in float64.
func (c attended) gradReference(s Span, row, h int, dy []float32, dq, dk, dv []float64) {
	d := c.kv.HeadDim
	kvHead := h / (c.a.Heads / c.kv.Heads)
	out := c.reference(s, row, h)
	q := c.q.Row(row)[h*d:][:d]
	from, to := c.a.Sees(row, s)
	scores, sum := make([]float64, to), 0.0
	at := func(j, i int) (k, v int) {
		base := int(s.Blocks[j/BlockLen])*c.kv.BlockSize() + kvHead*d*BlockLen
		return base + i*BlockLen + j%BlockLen, base + j%BlockLen*d + i
	}
	for j := from; j < to; j++ {
		for i := range d {
			k, _ := at(j, i)
			scores[j] += float64(q[i]) * float64(c.kv.K[k])
		}
		scores[j] = scores[j]*float64(c.a.Scale) + c.bias(h, j-(s.Position+row-s.Start))
		if c.a.Softcap > 0 {
			scores[j] = float64(c.a.Softcap) * math.Tanh(scores[j]/float64(c.a.Softcap))
		}
		sum += math.Exp(scores[j])
	}
	for j := from; j < to; j++ {
		p := math.Exp(scores[j]) / sum
		ds := 0.0
		for i := range d {
			_, v := at(j, i)
			ds += float64(dy[i]) * (float64(c.kv.V[v]) - out[i])
			dv[v] += p * float64(dy[i])
		}
		ds *= p * float64(c.a.Scale)
		if c.a.Softcap > 0 {
			ds *= 1 - math.Pow(scores[j]/float64(c.a.Softcap), 2)
		}
		for i := range d {
			k, _ := at(j, i)
			dq[i] += ds * float64(c.kv.K[k])
			dk[k] += ds * float64(q[i])
		}
	}
}

func TestAttendGrad(t *testing.T) {
	pools := []*Pool{NewPool(1), NewPool(3)}
	defer pools[0].Close()
	defer pools[1].Close()
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 11))
		for _, a := range []Attention{
			{Heads: 9, Scale: 0.125, Causal: true},
			{Heads: 3, Scale: 0.2},
			{Heads: 6, Scale: 0.125, Causal: true, Window: 40},
			{Heads: 6, Scale: 0.125, Window: 9}, {Heads: 3, Scale: 0.2, Window: 40},
			{Heads: 6, Scale: 0.2, Causal: true, Softcap: 3},
			{Heads: 150, Scale: 0.2, Causal: true},
			{Heads: 6, Scale: 0.2, Bias: NewPositionBias(6, 128, 0.2, biasAt)},
			{Heads: 6, Scale: 0.2, Causal: true, Softcap: 3, Bias: NewPositionBias(6, 128, 0.2, biasAt)},
		} {
			tolerance := 1e-5 * max(1, float64(a.Heads)/24) // a key sums over its group's queries
			for _, d := range headDims(7, 32, 64, 80) {
				if a.Heads > 100 && d > 7 {
					continue
				}
				c := newAttended(rng, a, 3, d, [][2]int{{0, 70}, {0, 1}, {0, 33}})
				dy, _ := guarded(rng, c.q.Rows, c.q.Cols, 2)
				dq, dkv := c.gradients(pools[0], dy)
				again, dkvAgain := c.gradients(pools[1], dy)
				sameBits(t, "dq, 3 threads", again, dq)
				sameBits(t, "dkv, 3 threads", dkvAgain, dkv)

				dk, dv := make([]float64, len(c.kv.K)), make([]float64, len(c.kv.K))
				near := func(what string, got float32, want float64) {
					if !(math.Abs(float64(got)-want) < tolerance*max(1, math.Abs(want))) {
						t.Fatalf("%+v, dim %d, %s = %v, want %v", a, d, what, got, want)
					}
				}
				for _, s := range c.spans {
					for row := s.Start; row < s.End; row++ {
						for h := range a.Heads {
							want := make([]float64, d)
							c.gradReference(s, row, h, dy.Row(row)[h*d:][:d], want, dk, dv)
							for i := range want {
								near(fmt.Sprintf("dq[%d][%d]", row, h*d+i), dq.Row(row)[h*d+i], want[i])
							}
						}
					}
				}
				for i := range dk {
					near(fmt.Sprintf("dk[%d]", i), dkv.Row(0)[i], dk[i])
					near(fmt.Sprintf("dv[%d]", i), dkv.Row(1)[i], dv[i])
				}
			}
		}
	})
}

func BenchmarkAttendGrad(b *testing.B) {
	was := active
	defer func() { active = was }()
	p := NewPool(1)
	defer p.Close()
	rng := rand.New(rand.NewPCG(7, 8))
	c := newAttended(rng, Attention{Heads: 9, Scale: 0.125, Causal: true}, 3, 64, [][2]int{{0, 512}})
	dy, _ := guarded(rng, c.q.Rows, c.q.Cols, 0)
	y, lse := c.run(p)
	dq, dkv := NewMatrix(c.q.Rows, c.q.Cols), NewMatrix(2, len(c.kv.K))
	for _, i := range implementations() {
		b.Run(i.name, func(b *testing.B) {
			active = i
			b.ReportAllocs()
			for b.Loop() {
				p.AttendGrad(dq, KV{Heads: c.kv.Heads, HeadDim: c.kv.HeadDim, K: dkv.Row(0), V: dkv.Row(1)}, dy, y, c.q, c.kv, c.spans, c.a, lse)
			}
			b.ReportMetric(10*float64(512*513/2*9*64)/b.Elapsed().Seconds()*float64(b.N)/1e9, "GFLOP/s")
		})
	}
}

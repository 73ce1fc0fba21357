package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

// BenchmarkDecodeAttention attends for one new row of a sequence on one thread: over
// keys and values that lie in the caches as far as they fit (warm), and over those of so
// many layers that no cache holds them, each in turn (cold). It tells the time of a
// layer, how fast keys and values are read and, of cold ones, the share of a plain read
// of the same memory. The fastest window of each kind counts: other work on the machine
// lengthens all but those.
func BenchmarkDecodeAttention(b *testing.B) {
	was := active
	defer func() { active = was }()
	for _, s := range []struct{ heads, kvHeads, headDim int }{{9, 3, 64}, {14, 2, 64}, {32, 8, 64}, {32, 8, 128}} {
		b.Run(fmt.Sprintf("%d-%dx%d", s.heads, s.kvHeads, s.headDim), func(b *testing.B) {
			for _, positions := range []int{1024, 4096, 16384} {
				b.Run(fmt.Sprint(positions), func(b *testing.B) {
					for _, f := range KVFormats() {
						b.Run(f.String(), func(b *testing.B) {
							d := newDecoded(f, s.heads, s.kvHeads, s.headDim, positions)
							b.Run("warm", d.warm)
							b.Run("cold", d.cold)
						})
					}
				})
			}
		})
	}
}

// decoded is one new row of a sequence, over a layer of the cache.
type decoded struct {
	q, dst Matrix
	layer  KV
	span   []Span
	a      Attention
	size   int // of the layer in bytes
}

func newDecoded(f Format, heads, kvHeads, headDim, positions int) decoded {
	rng := rand.New(rand.NewPCG(3, 4))
	d := decoded{
		q: randomMatrix(rng, 1, heads*headDim), dst: NewMatrix(1, heads*headDim),
		layer: NewKV(f, kvHeads, headDim, positions/BlockLen),
		span:  []Span{{End: 1, Position: positions - 1}},
		a:     Attention{Heads: heads, Scale: 0.125, Causal: true},
	}
	d.size = 2 * positions / BlockLen * d.layer.BlockBytes()
	m := randomMatrix(rng, 2*BlockLen, kvHeads*headDim)
	for p := range positions {
		d.layer.Store(int32(p/BlockLen), p, m.Row(p%BlockLen), m.Row(BlockLen+p%BlockLen))
	}
	for _, block := range rng.Perm(positions / BlockLen) {
		d.span[0].Blocks = append(d.span[0].Blocks, int32(block))
	}
	return d
}

const decodedWindow = 4 << 20 // bytes that are timed together, at least

func (d decoded) warm(b *testing.B) {
	d.each(b, func(b *testing.B, p *Pool, _ *peak) {
		best, n := math.Inf(1), max(1, decodedWindow/d.size)
		for b.Loop() {
			start := time.Now()
			for range n {
				p.Attend(d.dst, d.q, d.layer, d.span, d.a, Matrix{})
			}
			best = min(best, time.Since(start).Seconds())
		}
		d.report(b, best/float64(n))
	})
}

func (d decoded) cold(b *testing.B) {
	n := max(1, decodedWindow/d.size)
	window := n * d.size
	memory := make([]byte, (768<<20)/window*window)
	var layers []KV
	for at := 0; at < len(memory); at += d.size {
		layers = append(layers, d.layer.copiedTo(memory[at:][:d.size]))
	}
	d.each(b, func(b *testing.B, p *Pool, of *peak) {
		best, read := math.Inf(1), math.Inf(1)
		for at := 0; b.Loop(); at = (at + n) % len(layers) {
			start := time.Now()
			for _, layer := range layers[at:][:n] {
				p.Attend(d.dst, d.q, layer, d.span, d.a, Matrix{})
			}
			best = min(best, time.Since(start).Seconds())
			start = time.Now()
			of.read(&memory[(at*d.size+len(memory)/2/window*window)%len(memory)], window/512)
			read = min(read, time.Since(start).Seconds())
		}
		d.report(b, best/float64(n))
		b.ReportMetric(100*read/best, "%read")
	})
}

// each runs f for every implementation that has vectors.
func (d decoded) each(b *testing.B, f func(b *testing.B, p *Pool, of *peak)) {
	p := NewPool(1)
	defer p.Close()
	for _, i := range implementations() {
		if i.peak != nil {
			b.Run(i.name, func(b *testing.B) {
				active = i
				b.ReportAllocs()
				f(b, p, i.peak)
			})
		}
	}
}

func (d decoded) report(b *testing.B, seconds float64) {
	b.ReportMetric(seconds*1e6, "µs/layer")
	b.ReportMetric(float64(d.size)/seconds/1e9, "GB/s")
}

// copiedTo is a copy of c in memory.
func (c KV) copiedTo(memory []byte) KV {
	if c.Format != F32 {
		copy(memory, c.Stored)
		c.Stored = memory
		return c
	}
	all := unsafe.Slice((*float32)(unsafe.Pointer(&memory[0])), len(memory)/4)
	copy(all, c.K)
	copy(all[len(c.K):], c.V)
	c.K, c.V = all[:len(c.K)], all[len(c.K):]
	return c
}

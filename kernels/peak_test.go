package kernels

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

func TestMeasurePeak(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	each(t, func(t *testing.T) {
		peak := p.MeasurePeak(20 * time.Millisecond)
		if (peak.GFLOPS > 0) != (active.peak != nil) || (peak.GBps > 0) != (active.peak != nil) {
			t.Errorf("%+v", peak)
		}
		t.Logf("%.0f GFLOP/s, %.1f GB/s", peak.GFLOPS, peak.GBps)
	})
}

// What a product reads is the weight as it is stored, or as it is laid out for
// rounded activations.
func TestRead(t *testing.T) {
	each(t, func(t *testing.T) {
		for _, threads := range []int{1, 3} {
			p := NewPool(threads)
			for _, f := range Formats() {
				w := randomWeight(rand.New(rand.NewPCG(1, 2)), f, 48, 256)
				stored, laid := len(w.Data), w.Int8Bytes()
				if laid == 0 {
					laid = stored
				}
				if active.peak == nil {
					stored, laid = 0, 0
				}
				if got := p.Read(w); got != stored/512*512 {
					t.Errorf("%s: %d bytes of %d", f, got, stored)
				}
				if got := p.Read(rounding(w)); got != laid/512*512 {
					t.Errorf("%s, laid out anew: %d bytes of %d", f, got, laid)
				}
			}
			p.Close()
		}
	})
}

// What threads read joins up: each 512 bytes are read once.
func TestReadJoins(t *testing.T) {
	was := active
	defer func() { active = was }()
	for _, threads := range []int{1, 3, 4} {
		for _, rows := range []int{2, 3, 18, 31} {
			w := NewWeight(F32, rows, 128, make([]byte, rows*512))
			reads := make([]atomic.Int32, rows)
			recording := portable
			recording.peak = &peak{read: func(p *byte, n int) {
				first := (uintptr(unsafe.Pointer(p)) - uintptr(unsafe.Pointer(&w.Data[0]))) / 512
				for i := range n {
					reads[int(first)+i].Add(1)
				}
			}}
			active = &recording
			pool := NewPool(threads)
			pool.Read(w)
			pool.Close()
			for i := range reads {
				if n := reads[i].Load(); n != 1 {
					t.Errorf("%d threads read part %d of %d %d times", threads, i, rows, n)
				}
			}
		}
	}
}

package kernels

import (
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"
)

// faultyTask panics in one part.
type faultyTask struct {
	at  int
	ran atomic.Int32
}

func (t *faultyTask) Part(_ *Worker, part int) {
	if part == t.at {
		panic("part is at fault")
	}
	t.ran.Add(1)
}

func TestPoolPassesPanicsOn(t *testing.T) {
	for _, threads := range []int{1, 2, 4} {
		p := NewPool(threads)
		for at := range 50 {
			func() {
				defer func() {
					r := recover()
					if f, ok := r.(*Fault); ok {
						if !strings.Contains(f.Error(), "part is at fault") || !strings.Contains(f.Error(), "kernels.(*faultyTask).Part") {
							t.Errorf("%d threads, part %d: the message does not say what was where: %s", threads, at, f)
						}
						r = f.Value
					}
					if r != "part is at fault" {
						t.Errorf("%d threads, part %d: recovered %v", threads, at, r)
					}
				}()
				p.Run(50, &faultyTask{at: at})
			}()
			good := faultyTask{at: -1}
			if p.Run(50, &good); good.ran.Load() != 50 {
				t.Fatalf("%d threads: %d of 50 parts ran after a panic", threads, good.ran.Load())
			}
		}
		p.Close()
	}
}

// TestPoolSharesNoLines holds what threads write while they work to cache lines of
// their own, in pairs, as processors fetch them.
func TestPoolSharesNoLines(t *testing.T) {
	const pair = 128
	if n := unsafe.Sizeof(Worker{}); n != pair {
		t.Errorf("a worker takes %d bytes, want %d", n, pair)
	}
	if n := unsafe.Sizeof(helper{}); n != pair {
		t.Errorf("a helper takes %d bytes, want %d", n, pair)
	}
	p := NewPool(64)
	defer p.Close()
	lines := map[uintptr]bool{}
	alone := func(at unsafe.Pointer) {
		line := uintptr(at) / pair
		if uintptr(at)%pair != 0 || lines[line] {
			t.Errorf("%p shares its cache lines", at)
		}
		lines[line] = true
	}
	for _, w := range p.workers {
		alone(unsafe.Pointer(w))
	}
	for _, h := range p.helpers {
		alone(unsafe.Pointer(h))
	}
	if d := unsafe.Offsetof(p.open) - unsafe.Offsetof(p.next); d < 64 {
		t.Errorf("the parts' counter and the region's number are %d bytes apart", d)
	}
}

// TestRegionsDoNotGrow runs products, attention and rows by pools of 8 to 128
// threads: each calls its threads together as often as the others do.
func TestRegionsDoNotGrow(t *testing.T) {
	var want uint64
	for threads := 8; threads <= 128; threads *= 2 {
		p := NewPool(threads)
		x, wide, dst := NewMatrix(4, 1024), NewMatrix(4, 4096), NewMatrix(4, 1024)
		up, down := WeightOf(NewMatrix(4096, 1024)), WeightOf(NewMatrix(1024, 4096))
		kv := NewKV(F32, 4, 64, 4)
		spans := []Span{{0, 4, 60, []int32{0, 1}}}
		a := Attention{Heads: 16, Scale: 1, Causal: true}
		for range 3 {
			before := p.region
			p.MatMul(wide, x, up)
			p.MatMul(dst, wide, down)
			p.MatMuls(x, Product{wide, up}, Product{wide, up})
			p.StoreKV(kv, spans, x.Columns(0, 256), x.Columns(256, 512))
			p.Attend(dst, x, kv, spans, a, Matrix{})
			p.Activate(wide, wide, SiLU)
			if n := p.region - before; want == 0 {
				want = n
			} else if n != want {
				t.Errorf("%d threads come together %d times, 8 do %d times", threads, n, want)
			}
		}
		p.Close()
	}
	if want < 4 || want > 6 {
		t.Errorf("six operations take %d regions", want)
	}
}

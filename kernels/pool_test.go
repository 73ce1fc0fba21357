package kernels

import (
	"strings"
	"sync/atomic"
	"testing"
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

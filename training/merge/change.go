package merge

import (
	"fmt"
	"math"
	goruntime "runtime"
	"sync"
	"sync/atomic"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
)

// change is a tensor to be computed.
type change struct {
	adapters.Merged
	name   string // transformers'
	turned bool   // the file holds the transpose: Conv1D
	order  []int  // row i of the file is row order[i]; nil: the same
	base   func(dst []float32, i int)
}

// drift says what rounding did to the computed tensors.
type drift struct {
	error, change float64 // sums of squares: rounded - exact, exact - base
	largest       float64
	narrow        bool // something was rounded to 16 bits
	sync.Mutex
}

// share is the rounding error relative to the adapter's change, by Frobenius
// norms.
func (d *drift) share() float64 {
	if d.change == 0 {
		return 0
	}
	return math.Sqrt(d.error / d.change)
}

// bytes computes the tensor in format f, rows in parallel.
func (c *change) bytes(f kernels.Format, d *drift) ([]byte, error) {
	size := f.BlockBytes()
	out := make([]byte, c.Rows*c.Cols*size)
	d.narrow = d.narrow || f != kernels.F32
	var wait sync.WaitGroup
	var fault error
	var once sync.Mutex
	var next atomic.Int64
	for range min(goruntime.GOMAXPROCS(0), c.Rows) {
		wait.Go(func() {
			row, was, narrow := make([]float64, c.Cols), make([]float32, c.Cols), make([]float32, c.Cols)
			encoded := make([]byte, c.Cols*size)
			for {
				i := int(next.Add(1)) - 1
				if i >= c.Rows {
					return
				}
				from := i
				if c.order != nil {
					from = c.order[i]
				}
				c.Row(row, from)
				if bad := encode(encoded, f, row, narrow); bad >= 0 {
					once.Lock()
					fault = fmt.Errorf("%w: tensor %q: %v at row %d, column %d does not fit %s", ErrNotFinite, c.name, row[bad], from, bad, f)
					once.Unlock()
					continue
				}
				clear(was)
				c.base(was, from)
				d.add(row, narrow, was)
				if !c.turned {
					copy(out[i*c.Cols*size:], encoded)
					continue
				}
				for j := range c.Cols {
					copy(out[(j*c.Rows+i)*size:][:size], encoded[j*size:])
				}
			}
		})
	}
	wait.Wait()
	return out, fault
}

func (d *drift) add(exact []float64, rounded, was []float32) {
	lost, moved, largest := 0.0, 0.0, 0.0
	for i, x := range exact {
		e := float64(rounded[i]) - x
		lost += e * e
		m := x - float64(was[i])
		moved += m * m
		largest = max(largest, math.Abs(e))
	}
	d.Lock()
	defer d.Unlock()
	d.error, d.change, d.largest = d.error+lost, d.change+moved, max(d.largest, largest)
}

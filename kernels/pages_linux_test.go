package kernels

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

// endOfPages returns n bytes, a multiple of four, behind which lies memory that may be
// neither read nor written.
func endOfPages(t *testing.T, n int) []byte {
	t.Helper()
	page := syscall.Getpagesize()
	whole := (n + page - 1) / page * page
	memory, err := syscall.Mmap(-1, 0, whole+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil {
		err = syscall.Mprotect(memory[whole:], syscall.PROT_NONE)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(memory) })
	return memory[whole-n : whole : whole]
}

// matrixAtEnd is a matrix that endOfPages has.
func matrixAtEnd(t *testing.T, rows, cols int) Matrix {
	t.Helper()
	m := Matrix{Rows: rows, Cols: cols, Stride: cols}
	b := endOfPages(t, 4*rows*cols)
	m.Data = unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), rows*cols)
	return m
}

// TestInt8Pages demands that products of rounded activations read and write nothing beyond
// their operands: of any format, of few rows and of many.
func TestInt8Pages(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		for _, f := range quantised() {
			for _, s := range []struct{ rows, outs int }{{1, 8}, {2, 19}, {3, 32}, {4, 16}, {7, 5}, {13, 24}, {34, 33}} {
				const cols = 256
				rng := rand.New(rand.NewPCG(uint64(f), uint64(s.rows)))
				from, _ := guarded(rng, s.rows, cols, 0)
				one := randomWeight(rng, f, s.outs, cols)
				want := NewMatrix(s.rows, s.outs)
				new(Worker).MatMul(want, from, rounding(one))

				stored := one
				stored.Data = endOfPages(t, len(one.Data)+len(one.Data)%4)[len(one.Data)%4:]
				copy(stored.Data, one.Data)
				var room []byte
				if n := one.Int8Bytes(); n > 0 {
					room = endOfPages(t, n)
				}
				pool := NewPool(1)
				weight := pool.Int8(stored, room)
				pool.Close()
				x, y := matrixAtEnd(t, s.rows, cols), matrixAtEnd(t, s.rows, s.outs)
				copy(x.Data, from.Data)
				w := &Worker{packed: matrixAtEnd(t, 1, roundedSize(s.rows, cols, takesWide(weight))).Data}
				w.MatMul(y, x, weight)
				sameBits(t, fmt.Sprintf("%s, %v", f, s), y, want)
			}
		}
	})
}

// TestKVPages demands likewise that attention reads nothing beyond its keys and values.
func TestKVPages(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	each(t, func(t *testing.T) {
		for _, f := range KVFormats() {
			for group := 1; group <= 5; group++ {
				for _, d := range []int{32, 64, 96} {
					a := Attention{Heads: group, Scale: 0.125, Causal: true}
					c := newAttendedIn(f, rand.New(rand.NewPCG(9, 16)), a, 1, d, [][2]int{{61, 3}})
					want, _ := c.run(p)
					if f == F32 {
						k, v := matrixAtEnd(t, 1, len(c.kv.K)), matrixAtEnd(t, 1, len(c.kv.V))
						copy(k.Data, c.kv.K)
						copy(v.Data, c.kv.V)
						c.kv.K, c.kv.V = k.Data, v.Data
					} else {
						stored := endOfPages(t, len(c.kv.Stored))
						copy(stored, c.kv.Stored)
						c.kv.Stored = stored
					}
					got, _ := c.run(p)
					sameBits(t, fmt.Sprintf("%s, %d queries of %d", f, group, d), got, want)
				}
			}
		}
	})
}

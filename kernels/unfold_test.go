package kernels

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestUnfold: a row has what is around it in its own text, and 0 beyond.
func TestUnfold(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	x := MatrixOf(4, 2, []float32{1, 10, 2, 20, 3, 30, 4, 40})
	spans := []Span{{Start: 0, End: 3}, {Start: 3, End: 4}}
	got := NewMatrix(4, 6)
	for i := range got.Data {
		got.Data[i] = 7
	}
	p.Unfold(got, x, spans)
	want := []float32{
		0, 1, 2, 0, 10, 20,
		1, 2, 3, 10, 20, 30,
		2, 3, 0, 20, 30, 0,
		0, 4, 0, 0, 40, 0,
	}
	if !slices.Equal(got.Data, want) {
		t.Errorf("got %v, want %v", got.Data, want)
	}
	// The gradient is the transpose: the product of an unfolded x and dy is that of x and
	// the gradient of dy.
	dy, dx := NewMatrix(4, 6), NewMatrix(4, 2)
	sum, back := float32(0), float32(0)
	for i := range dy.Data {
		dy.Data[i] = float32(i*i%7 - 3)
		sum += dy.Data[i] * got.Data[i]
	}
	p.UnfoldGrad(dx, dy, spans)
	for i, v := range dx.Data {
		back += v * x.Data[i]
	}
	if sum != back || sum == 0 {
		t.Errorf("the products are %v and %v", sum, back)
	}
	p.UnfoldGrad(dx, dy, spans) // it adds
	twice := float32(0)
	for i, v := range dx.Data {
		twice += v * x.Data[i]
	}
	if twice != 2*sum {
		t.Errorf("added twice the product is %v, want %v", twice, 2*sum)
	}
}

// TestUnfoldShapes: rows that differ and widths that are even or no whole number are
// faults of the caller.
func TestUnfoldShapes(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	x := NewMatrix(4, 2)
	for _, wide := range []Matrix{NewMatrix(3, 6), NewMatrix(5, 6), NewMatrix(4, 7), NewMatrix(4, 4), NewMatrix(4, 0)} {
		for name, do := range map[string]func(){
			"Unfold":     func() { p.Unfold(wide, x, nil) },
			"UnfoldGrad": func() { p.UnfoldGrad(x, wide, nil) },
		} {
			func() {
				defer func() {
					if got := fmt.Sprint(recover()); !strings.Contains(got, badShape) {
						t.Errorf("%s, [%d, %d]: %s", name, wide.Rows, wide.Cols, got)
					}
				}()
				do()
			}()
		}
	}
}

package kernels

import "fmt"

// Unfold lays out what a convolution over the rows of a text reads, so that a product
// makes it: x is [rows, cols], dst [rows, cols·width], width odd. Value c·width+j of row r
// is column c of the row j-width/2 after r, and 0 outside r's span. Rows outside all
// spans are left as they are.
func (p *Pool) Unfold(dst, x Matrix, spans []Span) {
	width := unfoldWidth(dst, x)
	for _, s := range spans {
		for r := s.Start; r < s.End; r++ {
			to := dst.Row(r)
			for j := range width {
				from := r + j - width/2
				if from < s.Start || from >= s.End {
					for c := range x.Cols {
						to[c*width+j] = 0
					}
					continue
				}
				for c, v := range x.Row(from) {
					to[c*width+j] = v
				}
			}
		}
	}
}

// UnfoldGrad adds to dx what comes of dy, the gradient of what Unfold made. Rows outside
// all spans add nothing and are left as they are.
func (p *Pool) UnfoldGrad(dx, dy Matrix, spans []Span) {
	width := unfoldWidth(dy, dx)
	for _, s := range spans {
		for r := s.Start; r < s.End; r++ {
			from := dy.Row(r)
			for j := range width {
				to := r + j - width/2
				if to < s.Start || to >= s.End {
					continue
				}
				row := dx.Row(to)
				for c := range row {
					row[c] += from[c*width+j]
				}
			}
		}
	}
}

// unfoldWidth is the odd number of rows that each row of wide has side by side.
func unfoldWidth(wide, x Matrix) int {
	if wide.Rows != x.Rows || x.Cols == 0 || wide.Cols%x.Cols != 0 || wide.Cols/x.Cols%2 == 0 {
		panic(fmt.Sprintf("kernels: %s: [%d, %d] unfolded to [%d, %d]", badShape, x.Rows, x.Cols, wide.Rows, wide.Cols))
	}
	return wide.Cols / x.Cols
}

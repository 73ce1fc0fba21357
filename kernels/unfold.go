package kernels

// Unfold lays out what a convolution over the rows of a text reads, so that a product
// makes it: x is [rows, cols], dst [rows, cols·width], width odd. Value c·width+j of row r
// is column c of the row j-width/2 after r, and 0 outside r's span.
func (p *Pool) Unfold(dst, x Matrix, spans []Span) {
	width := dst.Cols / x.Cols
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

// UnfoldGrad adds to dx what comes of dy, the gradient of what Unfold made.
func (p *Pool) UnfoldGrad(dx, dy Matrix, spans []Span) {
	width := dy.Cols / dx.Cols
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

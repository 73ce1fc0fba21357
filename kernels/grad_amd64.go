//go:build !noasm

package kernels

import "unsafe"

// outerTile adds a product to a tile of c; see the generated files.
type outerTile = func(c *float32, cStride int, a *float32, aRow, aStep int, b *float32, bStride, k, n int)

// product adds a·b to c, [m, n], where a[r][i] lies at r*aRow + i*aStep and b
// is [k, n], all in bytes: tiles of c stay in registers while i runs in order.
func (d *dots) product(c *float32, cStride, m, n int, a *float32, aRow, aStep int, b *float32, bStride, k int) {
	wide := d.width * d.lanes
	for j := 0; j < n; {
		cols := min(wide, n-j)
		if cols < wide {
			cols = min(cols, d.lanes)
		}
		for r := 0; r < m; r += d.rows {
			rows := min(d.rows, m-r)
			f := d.outer[rows]
			if cols < wide {
				f = d.outerN[rows]
			}
			f(at(c, r*cStride+4*j), cStride, at(a, r*aRow), aRow, aStep, at(b, 4*j), bStride, k, cols)
		}
		j += cols
	}
}

// gradOuts are the outputs of a weight that are widened at a time for InputGrad.
const gradOuts = 128

// gradCols is how many of its columns: a tile that stays in the second-level cache, of
// whole blocks and, where they can be both, of whole tiles.
func (d *dots) gradCols(f Format) int {
	const some, more = 256, 384
	if d.panel != nil && more%max(f.BlockLen(), 1) == 0 {
		return more
	}
	return some
}

func (d *dots) inputGradient(w *Worker, dx, dy Matrix, weight Weight) {
	if dx.Empty() || dy.Empty() {
		return
	}
	rowBytes, cols := weight.Format.RowBytes(weight.Cols), d.gradCols(weight.Format)
	stride := 4*cols + 64
	tile := grow(&w.tile, gradOuts*stride/4)
	for i := 0; i < weight.Cols; i += cols {
		n := min(cols, weight.Cols-i)
		for o := 0; o < weight.Rows; o += gradOuts {
			outs := min(gradOuts, weight.Rows-o)
			src := weight.Data[o*rowBytes+weight.Format.RowBytes(i):]
			b, bs := (*float32)(unsafe.Pointer(&src[0])), rowBytes
			// Rows 2048 bytes apart fall into few sets of the cache.
			if weight.Format != F32 || d.panel == nil && rowBytes%2048 == 0 {
				for k := range outs {
					d.widen(tile[k*stride/4:][:n], weight.Format, src[k*rowBytes:])
				}
				b, bs = &tile[0], stride
			}
			a := dy.Columns(o, o+outs)
			if d.panel != nil && 4*dy.Stride%2048 == 0 {
				apart := Matrix{a.Rows, outs, outs + 16, grow(&w.packed, a.Rows*(outs+16))}
				apart.Copy(a)
				a = apart
			}
			d.inputPart(w, &dx.Data[i], 4*dx.Stride, dx.Rows, n, &a.Data[0], 4*a.Stride, b, bs, outs)
		}
	}
}

// besideRows is where laying the columns of b that a tile takes side by side begins to pay.
const besideRows = 16

// inputPart adds a·b to c, a being rows.
func (d *dots) inputPart(w *Worker, c *float32, cStride, m, n int, a *float32, aStride int, b *float32, bStride, k int) {
	wide, done := d.width*d.lanes, 0
	var panel []float32
	if d.panel != nil && m >= besideRows {
		done, panel = n/wide*wide, grow(&w.panel, k*wide)
	}
	for j := 0; j < done; j += wide {
		d.panel(&panel[0], at(b, 4*j), bStride, k)
		d.product(at(c, 4*j), cStride, m, wide, a, aStride, 4, &panel[0], 4*wide, k)
	}
	if done < n {
		d.product(at(c, 4*done), cStride, m, n-done, a, aStride, 4, at(b, 4*done), bStride, k)
	}
}

// gradRows are summed at a time for WeightGrad, and gradPanels the panels of x that stay
// in the second-level cache.
const gradRows, gradPanels = 128, 16

func (d *dots) weightGradient(w *Worker, dw, dy, x Matrix) {
	if dw.Empty() || x.Rows == 0 {
		return
	}
	for r := 0; r < x.Rows; r += gradRows {
		to := min(r+gradRows, x.Rows)
		d.weightPart(w, dw, dy.Span(r, to), x.Span(r, to))
	}
}

// weightPart adds dyᵀ·x to dw. Panels of both are laid side by side; what is no whole
// panel is read where it lies.
func (d *dots) weightPart(w *Worker, dw, dy, x Matrix) {
	wide, k := d.width*d.lanes, x.Rows
	outs, cols := 0, 0
	var ofX, ofDY []float32
	if d.panel != nil && dw.Rows >= wide && dw.Cols >= wide {
		outs, cols = dw.Rows/wide*wide, dw.Cols/wide*wide
		panels := grow(&w.panel, (gradPanels+1)*k*wide)
		ofX, ofDY = panels[k*wide:], panels[:k*wide]
	}
	for j := 0; j < cols; j += gradPanels * wide {
		end := min(j+gradPanels*wide, cols)
		for i := j; i < end; i += wide {
			d.panel(&ofX[(i-j)*k], &x.Data[i], 4*x.Stride, k)
		}
		for o := 0; o < outs; o += wide {
			d.panel(&ofDY[0], &dy.Data[o], 4*dy.Stride, k)
			for i := j; i < end; i += wide {
				d.product(&dw.Data[o*dw.Stride+i], 4*dw.Stride, wide, wide, &ofDY[0], 4, 4*wide, &ofX[(i-j)*k], 4*wide, k)
			}
		}
	}
	rest := func(c, a, b Matrix) {
		if !c.Empty() {
			d.product(&c.Data[0], 4*c.Stride, c.Rows, c.Cols, &a.Data[0], 4, 4*a.Stride, &b.Data[0], 4*b.Stride, k)
		}
	}
	rest(dw.Span(0, outs).Columns(cols, dw.Cols), dy, x.Columns(cols, dw.Cols))
	rest(dw.Span(outs, dw.Rows), dy.Columns(outs, dw.Rows), x)
}

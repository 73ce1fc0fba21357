//go:build !noasm

package kernels

// The amx implementation's gradients, as products of planes (tile_amd64.go):
// three of a, which is dy, and of b one to three, after its format; a quantised
// weight is widened and has three. Pairs of planes below 2^-24 of a product
// are left out. A sum of 32 terms of a pair of planes is added to c at once, in
// order: six roundings where a plain sum has 32. The tests hold an element's
// error to 2^-21 of the sum of its terms' sizes. Numbers below 2^-126 count as
// 0, an infinite operand gives a NaN.

var amxGradients = gradTiles{
	// Adapters' low ranks, and their few rows when serving, are better off
	// without packing.
	use: func(outs, cols int) bool { return outs > 128 && cols > 128 },
	planes: func(f Format) int {
		switch f {
		case F16, BF16:
			return tileFormats[f].planes
		}
		return 3
	},
	pack: gradPack,
	mul:  gradMul,
}

var amxOuter = [4]func(c *float32, cStride int, a *byte, aTile int, b *byte, blocks, cNext, aNext, bNext, count int){1: amxOuter1, amxOuter2, amxOuter3}

var amxPairs = [4]func(dst *byte, lo, hi *float32, next, n int){1: amxPairs1, amxPairs2, amxPairs3}

// gradPack packs a block of b: packed[cols/32][blocks][2][planes] tiles.
func gradPack(w *Worker, t *outerTask, block int) {
	from := t.from + block*gradTerms
	terms := min(gradTerms, t.from+t.terms-from)
	cols := t.c.Cols
	whole := cols / gradWide
	at := func(r int) *float32 { return &t.x.Data[(from+r)*t.x.Stride] }
	if !t.w.Empty() && t.w.Format == F32 {
		rowBytes := 4 * cols
		at = func(r int) *float32 { return floatPtr(&t.w.Data[(from+r)*rowBytes]) }
	}
	if terms < gradTerms || cols%gradWide != 0 || !t.w.Empty() && t.w.Format != F32 {
		whole = (cols + gradWide - 1) / gradWide
		stride := whole*gradWide + 16
		rows := grow(&w.tile, gradTerms*stride)
		for r := range gradTerms {
			row := rows[r*stride:][:whole*gradWide]
			switch {
			case r >= terms:
				clear(row)
			case t.w.Empty():
				copy(row, t.x.Row(from+r))
			default:
				dotAVX512.widen(row[:cols], t.w.Format, t.w.Row(from+r))
			}
		}
		at = func(r int) *float32 { return &rows[r*stride] }
	}
	tiles := 2 * t.planes * tileWords
	blocks := (t.terms + gradTerms - 1) / gradTerms
	for i := range tileRows {
		amxPairs[t.planes](bytePtr(&t.packed[block*tiles+i*tileRows]), at(i), at(i+tileRows), 4*blocks*tiles, whole)
	}
}

// gradChunk is how many blocks are multiplied at a time.
const gradChunk = 16

// gradMul multiplies rows [from, to) of c, a's tiles being packed as
// [rows/16][blocks][3].
func gradMul(w *Worker, t *outerTask, from, to int) {
	cols, rows := t.c.Cols, to-from
	pairs, panels := (rows+gradWide-1)/gradWide, (cols+gradWide-1)/gradWide
	mem := grow(&w.tile, 2*pairs*gradChunk*3*tileWords+gradWide*gradWide)
	a, edge := mem[gradWide*gradWide:], mem[:gradWide*gradWide]
	outer := amxOuter[t.planes]
	blocks, tiles := (t.terms+gradTerms-1)/gradTerms, 2*t.planes*tileWords
	for k := 0; k < blocks; k += gradChunk {
		n := min(gradChunk, blocks-k)
		tile := n * 3 * tileWords
		for r := 0; r < rows; r += tileRows {
			t.packA(a[r/tileRows*tile:][:tile], from+r, min(tileRows, rows-r), k, n)
		}
		for j := range panels {
			b := bytePtr(&t.packed[(j*blocks+k)*tiles])
			whole := 0
			if (j+1)*gradWide <= cols {
				whole = rows / gradWide
			}
			if whole > 0 {
				outer(&t.c.Data[from*t.c.Stride+j*gradWide], 4*t.c.Stride, bytePtr(&a[0]), 4*tile, b, n,
					4*gradWide*t.c.Stride, 8*tile, 0, whole)
			}
			for i := whole; i < pairs; i++ {
				r := from + i*gradWide
				c := t.c.Span(r, min(r+gradWide, to)).Columns(j*gradWide, min((j+1)*gradWide, cols))
				m := Matrix{c.Rows, c.Cols, gradWide, edge}
				m.Copy(c)
				outer(&edge[0], 4*gradWide, bytePtr(&a[i*2*tile]), 4*tile, b, n, 0, 0, 0, 1)
				c.Copy(m)
			}
		}
	}
}

// packA packs blocks [k, k+n) of rows [r, r+rows) of a, at most 16. What other
// rows hold shows only in sums that are thrown away.
func (t *outerTask) packA(dst []float32, r, rows, k, n int) {
	const block = 3 * tileWords
	from := t.from + k*gradTerms
	terms := min(n*gradTerms, t.from+t.terms-from)
	whole := terms / gradTerms
	if !t.transposed {
		for i := range rows {
			src := t.a.Row(r + i)[from : from+terms]
			if whole > 0 {
				amxPackF32(bytePtr(&dst[i*tileRows]), bytePtr(&src[0]), nil, nil, whole)
			}
			if whole < n {
				var tail [gradTerms]float32
				copy(tail[:], src[whole*gradTerms:])
				amxPackF32(bytePtr(&dst[whole*block+i*tileRows]), bytePtr(&tail[0]), nil, nil, 1)
			}
		}
		return
	}
	first := 0
	if rows == tileRows && whole > 0 {
		amxPackColumns(bytePtr(&dst[0]), &t.a.Data[from*t.a.Stride+r], 4*t.a.Stride, whole)
		first = whole
	}
	for b := first; b < n; b++ {
		var square [gradTerms * tileRows]float32
		for i := range min(gradTerms, terms-b*gradTerms) {
			copy(square[i*tileRows:], t.a.Row(from + b*gradTerms + i)[r:r+rows])
		}
		amxPackColumns(bytePtr(&dst[b*block]), &square[0], 4*tileRows, 1)
	}
}

func amxInputGrad(w *Worker, dx, dy Matrix, weight Weight) {
	if !amxGradients.use(weight.Rows, weight.Cols) {
		dotAVX512.inputGradient(w, dx, dy, weight)
		return
	}
	var t outerTask
	amxGradients.inputGrad(&t, dx, dy, weight)
	t.run(nil, w)
}

func amxWeightGrad(w *Worker, dw, dy, x Matrix) {
	if !amxGradients.use(dw.Rows, dw.Cols) {
		dotAVX512.weightGradient(w, dw, dy, x)
		return
	}
	var t outerTask
	amxGradients.weightGrad(&t, dw, dy, x)
	t.run(nil, w)
}

package kernels

import "unsafe"

// lanes computes products of many rows with the bits of the implementation's others.
// Both operands are packed once, eight rows of each side by side and by the partial sum
// that a column is of; parts are blocks of rows, which stay in the second-level cache,
// by outputs.
type lanes struct {
	blockCols func(cols int) int
	widen     func(dst []float32, f Format, src []byte)
	rows      func(dst *float32, dstStride, pitch int, x *float32, xStride, n int) // packs eight
	tiles     [laneTall + 1]laneTile
}

// laneTile multiplies so many rows of x with laneWide outputs; see the generated files.
type laneTile = func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add int, sums *float32)

const (
	laneTall  = 4       // rows of a tile
	laneWide  = 24      // outputs of a tile
	laneUnit  = 32      // columns in a step of a tile
	lanePad   = 16      // keeps partial sums from lying a multiple of a page apart
	laneFew   = 32      // rows for which packing begins to pay
	laneBlock = 128     // rows of a part
	laneMost  = 2 << 20 // values of weights packed at a time
)

// use reports whether a product is one for lanes. Those of few outputs, as of adapters,
// are better off without packing.
func (l *lanes) use(weight Weight, rows int) bool {
	return l != nil && rows >= laneFew && weight.Cols > 0 && weight.Cols%laneUnit == 0 && weight.Rows >= 2*laneWide
}

// useAll reports whether all products of so many rows are.
func (l *lanes) useAll(products []Product, rows int) bool {
	for _, m := range products {
		if !l.use(m.W, rows) {
			return false
		}
	}
	return len(products) > 0
}

// laneTask is a product in hand.
type laneTask struct {
	*lanes
	phase  lanePhase
	x, dst Matrix
	w      Weight
	outs   int // of dst, in tiles a part
	px, pw []float32
}

type lanePhase uint8

const (
	lanePackX lanePhase = iota
	lanePackW
	laneMultiply
)

// ofX and ofW are the values of eight rows of x, and of a tile's outputs, in n columns.
func ofX(n int) int { return 8 * (n + lanePad) }
func ofW(n int) int { return 8 * (n/8*laneWide + lanePad) }

func tilesOf(n, size int) int { return (n + size - 1) / size }

// laneColumns is a block of columns, with what is packed of it.
type laneColumns struct {
	from, n int
	x, w    []float32
}

// blocks yields the blocks of columns in order.
func (t *laneTask) blocks(yield func(laneColumns) bool) {
	b := laneColumns{x: t.px, w: t.pw}
	for block := t.blockCols(t.x.Cols); b.from < t.x.Cols; b.from += block {
		b.n = min(block, t.x.Cols-b.from)
		if !yield(b) {
			return
		}
		b.x = b.x[tilesOf(t.x.Rows, 8)*ofX(b.n):]
		if t.phase != lanePackX {
			b.w = b.w[tilesOf(t.w.Rows, laneWide)*ofW(b.n):]
		}
	}
}

// matMul sets the destinations of products of x.
func (l *lanes) matMul(p *Pool, x Matrix, products []Product) {
	t := &p.tasks.lanes
	*t = laneTask{lanes: l, x: x}
	groups := tilesOf(x.Rows, 8)
	blocks := tilesOf(x.Cols, l.blockCols(x.Cols))
	t.px = grow(&p.packed, groups*8*(x.Cols+blocks*lanePad))
	p.Run(tilesOf(groups, laneGroups), t)
	each := 8 * (x.Cols/8*laneWide + blocks*lanePad)
	most := max(laneMost/each, 1) * laneWide // outputs at a time
	for _, m := range products {
		for o := 0; o < m.W.Rows; o += most {
			end := min(o+most, m.W.Rows)
			t.w, t.dst = m.W.Span(o, end), m.Dst.Columns(o, end)
			tiles := tilesOf(end-o, laneWide)
			t.pw = grow(&p.packedWeights, tiles*each)
			t.phase = lanePackW
			p.Run(tiles, t)
			t.phase = laneMultiply
			// Some parts a thread, of blocks of rows and, where those are few, of outputs.
			blocks := tilesOf(x.Rows, laneBlock)
			t.outs = tiles
			if want := 4 * p.Threads(); p.Threads() > 1 && blocks < want {
				t.outs = max(1, tiles/tilesOf(want, blocks))
			}
			p.Run(blocks*tilesOf(tiles, t.outs), t)
		}
	}
	*t = laneTask{}
}

// laneGroups are packed by a part.
const laneGroups = 4

// Part implements Task.
func (t *laneTask) Part(w *Worker, part int) {
	switch t.phase {
	case lanePackX:
		for g := part * laneGroups; g < min((part+1)*laneGroups, tilesOf(t.x.Rows, 8)); g++ {
			t.packX(g)
		}
	case lanePackW:
		t.packW(w, part)
	case laneMultiply:
		tiles := tilesOf(t.w.Rows, laneWide)
		bands := tilesOf(tiles, t.outs)
		row, band := part/bands*laneBlock, part%bands*t.outs
		t.multiply(w, row, min(row+laneBlock, t.x.Rows), band, min(band+t.outs, tiles))
	}
}

// packX packs eight rows of x.
func (t *laneTask) packX(group int) {
	for b := range t.blocks {
		dst, r := b.x[group*ofX(b.n):], 8*group
		if r+8 <= t.x.Rows {
			t.rows(&dst[0], ofX(b.n)/2, 32, &t.x.Data[r*t.x.Stride+b.from], 4*t.x.Stride, b.n/8)
			continue
		}
		for ; r < t.x.Rows; r++ {
			for i, v := range t.x.Row(r)[b.from : b.from+b.n] {
				dst[i%8*(ofX(b.n)/8)+i/8*8+r%8] = v
			}
		}
	}
}

// packW packs the weights of a tile's outputs. What stands for outputs that there are not
// shows in sums that are thrown away.
func (t *laneTask) packW(w *Worker, tile int) {
	rowBytes, first := t.w.Format.RowBytes(t.w.Cols), tile*laneWide
	for b := range t.blocks {
		dst, stride := b.w[tile*ofW(b.n):], b.n+lanePad
		for o := 0; o < min(laneWide, t.w.Rows-first); o += 8 {
			src := t.w.Data[(first+o)*rowBytes+t.w.Format.RowBytes(b.from):]
			at, apart := (*float32)(unsafe.Pointer(&src[0])), rowBytes
			if rows := min(8, t.w.Rows-first-o); t.w.Format != F32 || rows < 8 {
				wide := grow(&w.tile, 8*stride)
				for i := range rows {
					t.widen(wide[i*stride:][:b.n], t.w.Format, src[i*rowBytes:])
				}
				at, apart = &wide[0], 4*stride
			}
			t.rows(&dst[o], ofW(b.n)/2, 4*laneWide, at, apart, b.n/8)
		}
	}
}

// multiply sets rows [from, to) of the outputs of tiles [first, end). An output's blocks of
// columns are added in order.
func (t *laneTask) multiply(w *Worker, from, to, first, end int) {
	mem := grow(&w.tile, 4*laneTall*laneWide)
	sums, edge := &mem[0], mem[3*laneTall*laneWide:]
	for b := range t.blocks {
		xStride, wStride, steps := ofX(b.n)/2, ofW(b.n)/2, b.n/laneUnit
		for i := first; i < end; i++ {
			weights, outs := &b.w[i*ofW(b.n)], min(laneWide, t.w.Rows-i*laneWide)
			for r := from; r < to; r += laneTall {
				rows, x := min(laneTall, to-r), &b.x[r/8*ofX(b.n)+r%8]
				if outs == laneWide {
					t.tiles[rows](&t.dst.Data[r*t.dst.Stride+i*laneWide], 4*t.dst.Stride, x, xStride, weights, wStride, steps, b.from, sums)
					continue
				}
				dst, own := t.dst.Span(r, r+rows).Columns(i*laneWide, i*laneWide+outs), Matrix{rows, outs, laneWide, edge}
				own.Copy(dst)
				t.tiles[rows](&edge[0], 4*laneWide, x, xStride, weights, wStride, steps, b.from, sums)
				dst.Copy(own)
			}
		}
	}
}

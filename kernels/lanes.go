package kernels

import "unsafe"

// lanes computes products of many rows with the bits of the implementation's others.
// Both operands are packed once, eight rows of each side by side and by the partial sum
// that a column is of; parts are blocks of rows, which stay in the second-level cache,
// by outputs.
type lanes struct {
	few       int // rows for which packing begins to pay
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
	laneBlock = 128     // rows of a part
	laneMost  = 2 << 20 // values of weights packed at a time
)

// use reports whether a product of float32 is one for lanes. Those of few outputs, as of
// adapters, are better off without packing.
func (l *lanes) use(weight Weight, rows int) bool {
	return l != nil && weight.int8 == nil && rows >= l.few && weight.Cols > 0 && weight.Cols%laneUnit == 0 && weight.Rows >= 2*laneWide
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

// laneTask is products of x in hand: outputs of some of them, as many as are packed at a
// time.
type laneTask struct {
	*lanes
	x        Matrix
	px       []float32 // x packed
	xPacked  bool
	packing  bool
	products []laneProduct
}

// laneProduct is dst = x·wᵀ, with the weights packed.
type laneProduct struct {
	dst    Matrix
	w      Weight
	pw     []float32
	tiles  int // of outputs
	band   int // of them in a part
	packed int // tiles of the products before it
	first  int // the first of its parts
}

// ofX and ofW are the values of eight rows of x, and of a tile's outputs, in n columns.
func ofX(n int) int { return 8 * (n + lanePad) }
func ofW(n int) int { return 8 * (n/8*laneWide + lanePad) }

func tilesOf(n, size int) int { return (n + size - 1) / size }

// laneColumns is a block of columns, with what lies before it of eight rows and of a tile.
type laneColumns struct{ from, n, x, w int }

// blocks yields the blocks of columns in order.
func (t *laneTask) blocks(yield func(laneColumns) bool) {
	var b laneColumns
	for block := t.blockCols(t.x.Cols); b.from < t.x.Cols; b.from += block {
		b.n = min(block, t.x.Cols-b.from)
		if !yield(b) {
			return
		}
		b.x, b.w = b.x+ofX(b.n), b.w+ofW(b.n)
	}
}

// packed are the values that x takes, packed, and a tile of outputs, and how many tiles are
// packed at a time.
func (l *lanes) packed(rows, cols int) (x, tile, most int) {
	blocks := tilesOf(cols, l.blockCols(cols))
	x = tilesOf(rows, 8) * 8 * (cols + blocks*lanePad)
	tile = 8 * (cols/8*laneWide + blocks*lanePad)
	return x, tile, max(laneMost/tile, 1)
}

// matMul sets the destinations of products of x.
func (l *lanes) matMul(p *Pool, x Matrix, products []Product) {
	t := &p.tasks.lanes
	*t = laneTask{lanes: l, x: x, products: t.products[:0]}
	inX, tile, most := l.packed(x.Rows, x.Cols)
	t.px = grow(&p.packed, inX)
	taken := 0
	for _, m := range products {
		for o := 0; o < m.W.Rows; {
			if taken == most {
				t.run(p, tile)
				taken = 0
			}
			end := min(o+(most-taken)*laneWide, m.W.Rows)
			t.products = append(t.products, laneProduct{dst: m.Dst.Columns(o, end), w: m.W.Span(o, end), tiles: tilesOf(end-o, laneWide), packed: taken})
			taken += tilesOf(end-o, laneWide)
			o = end
		}
	}
	t.run(p, tile)
	clear(t.products)
	*t = laneTask{products: t.products[:0]}
}

// run packs what is in hand and multiplies it.
func (t *laneTask) run(p *Pool, tile int) {
	rows, parts := tilesOf(t.x.Rows, laneBlock), 0
	last := &t.products[len(t.products)-1]
	tiles := last.packed + last.tiles
	packed := grow(&p.packedWeights, tiles*tile)
	// Some parts a thread, of blocks of rows and, where those are few, of outputs.
	bands := 1
	if want := 4 * p.Threads(); p.Threads() > 1 && rows < want {
		bands = tilesOf(want, rows)
	}
	for i := range t.products {
		m := &t.products[i]
		m.pw = packed[m.packed*tile:][:m.tiles*tile]
		m.band, m.first = max(1, tilesOf(tiles, bands)), parts
		parts += rows * tilesOf(m.tiles, m.band)
	}
	if t.packing = true; t.xPacked {
		p.Run(tiles, t)
	} else {
		p.Run(tiles+tilesOf(t.x.Rows, 8*laneGroups), t)
	}
	t.packing, t.xPacked = false, true
	p.Run(parts, t)
	clear(t.products)
	t.products = t.products[:0]
}

// laneGroups are packed by a part.
const laneGroups = 4

// Part implements Task.
func (t *laneTask) Part(w *Worker, part int) {
	i := len(t.products) - 1
	if t.packing {
		last := &t.products[i]
		if part -= last.packed + last.tiles; part >= 0 {
			for g := part * laneGroups; g < min((part+1)*laneGroups, tilesOf(t.x.Rows, 8)); g++ {
				t.packX(g)
			}
			return
		}
		part += last.packed + last.tiles
		for t.products[i].packed > part {
			i--
		}
		t.packW(w, &t.products[i], part-t.products[i].packed)
		return
	}
	for t.products[i].first > part {
		i--
	}
	m := &t.products[i]
	bands := tilesOf(m.tiles, m.band)
	row, band := (part-m.first)/bands*laneBlock, (part-m.first)%bands*m.band
	t.multiply(w, m, row, min(row+laneBlock, t.x.Rows), band, min(band+m.band, m.tiles))
}

// packX packs eight rows of x.
func (t *laneTask) packX(group int) {
	for b := range t.blocks {
		dst, r := t.px[b.x*tilesOf(t.x.Rows, 8)+group*ofX(b.n):], 8*group
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
func (t *laneTask) packW(w *Worker, m *laneProduct, tile int) {
	rowBytes, first := m.w.Format.RowBytes(m.w.Cols), tile*laneWide
	for b := range t.blocks {
		dst, stride := m.pw[b.w*m.tiles+tile*ofW(b.n):], b.n+lanePad
		for o := 0; o < min(laneWide, m.w.Rows-first); o += 8 {
			src := m.w.Data[(first+o)*rowBytes+m.w.Format.RowBytes(b.from):]
			at, apart := (*float32)(unsafe.Pointer(&src[0])), rowBytes
			if rows := min(8, m.w.Rows-first-o); m.w.Format != F32 || rows < 8 {
				wide := grow(&w.tile, 8*stride)
				for i := range rows {
					t.widen(wide[i*stride:][:b.n], m.w.Format, src[i*rowBytes:])
				}
				at, apart = &wide[0], 4*stride
			}
			t.rows(&dst[o], ofW(b.n)/2, 4*laneWide, at, apart, b.n/8)
		}
	}
}

// multiply sets rows [from, to) of the outputs of tiles [first, end). An output's blocks of
// columns are added in order.
func (t *laneTask) multiply(w *Worker, m *laneProduct, from, to, first, end int) {
	mem := grow(&w.tile, 4*laneTall*laneWide)
	sums, edge := &mem[0], mem[3*laneTall*laneWide:]
	for b := range t.blocks {
		px, pw := t.px[b.x*tilesOf(t.x.Rows, 8):], m.pw[b.w*m.tiles:]
		xStride, wStride, steps := ofX(b.n)/2, ofW(b.n)/2, b.n/laneUnit
		for i := first; i < end; i++ {
			weights, outs := &pw[i*ofW(b.n)], min(laneWide, m.w.Rows-i*laneWide)
			for r := from; r < to; r += laneTall {
				rows, x := min(laneTall, to-r), &px[r/8*ofX(b.n)+r%8]
				if outs == laneWide {
					t.tiles[rows](&m.dst.Data[r*m.dst.Stride+i*laneWide], 4*m.dst.Stride, x, xStride, weights, wStride, steps, b.from, sums)
					continue
				}
				dst, own := m.dst.Span(r, r+rows).Columns(i*laneWide, i*laneWide+outs), Matrix{rows, outs, laneWide, edge}
				own.Copy(dst)
				t.tiles[rows](&edge[0], 4*laneWide, x, xStride, weights, wStride, steps, b.from, sums)
				dst.Copy(own)
			}
		}
	}
}

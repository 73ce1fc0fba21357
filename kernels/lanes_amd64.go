//go:build !noasm

package kernels

import "unsafe"

// lanes computes products of many rows with the bits of dots: both operands are packed
// by partial sum, eight rows of each side by side, see the generated files.
type lanes struct {
	*dots
	tiles [laneTall + 1]func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add int, sums *float32)
	rows  func(dst *float32, dstStride, pitch int, x *float32, xStride, n int) // packs eight
}

const (
	laneTall = 4  // rows of a tile
	laneWide = 24 // outputs of a tile
	// laneBand is how many outputs are packed at a time: they stay in the second-level
	// cache beside laneSpan groups of rows.
	laneBand, laneSpan = 4 * laneWide, 4
	laneUnit           = 32 // columns in a step of a tile
	// laneFew is where packing begins to pay.
	laneFew = 32
)

// use reports whether a product is one for lanes. Those of few outputs, as of adapters,
// are better off without packing.
func (l *lanes) use(weight Weight, rows int) bool {
	return rows >= laneFew && weight.Cols%laneUnit == 0 && weight.Cols > 0 && weight.Rows >= 2*laneWide
}

// size is that of x packed: by block of columns, group of eight rows and partial sum.
func (l *lanes) size(weight Weight, rows int) int {
	blocks := (weight.Cols + l.blockCols(weight.Cols) - 1) / l.blockCols(weight.Cols)
	return (rows + 7) / 8 * (8*weight.Cols + blocks*8*lanePad)
}

// lanePad keeps partial sums from lying a multiple of a page apart.
const lanePad = 16

// group packs rows [16·group, 16·group+16) of x.
func (l *lanes) group(weight Weight, packed []float32, x Matrix, group int) {
	block, groups := l.blockCols(x.Cols), (x.Rows+7)/8
	for c := 0; c < x.Cols; c += block {
		n := min(block, x.Cols-c)
		own := 8*n + 8*lanePad
		for g := 2 * group; g < min(2*group+2, groups); g++ {
			dst := packed[g*own:][:own]
			if r := 8 * g; r+8 <= x.Rows {
				l.rows(&dst[0], 4*(n+lanePad), 32, &x.Data[r*x.Stride+c], 4*x.Stride, n/8)
				continue
			}
			for r := 8 * g; r < x.Rows; r++ {
				for i, v := range x.Row(r)[c : c+n] {
					dst[i%8*(n+lanePad)+i/8*8+r%8] = v
				}
			}
		}
		packed = packed[groups*own:]
	}
}

// mul multiplies packed rows with part of weight.
func (l *lanes) mul(w *Worker, dst Matrix, packed []float32, part, weight Weight) {
	block, groups := l.blockCols(weight.Cols), (dst.Rows+7)/8
	slice := block/8*laneWide + lanePad
	const sums, edge = 3 * laneTall * laneWide, laneTall * laneWide
	mem := grow(&w.tile, sums+edge+laneBand/laneWide*8*slice+8*(block+lanePad))
	t := laneTask{lanes: l, slice: slice, sums: &mem[0], edge: mem[sums:][:edge]}
	t.tile, t.wide = mem[sums+edge:][:laneBand/laneWide*8*slice], mem[sums+edge+laneBand/laneWide*8*slice:]
	for t.from = 0; t.from < weight.Cols; t.from += block {
		t.n = min(block, weight.Cols-t.from)
		own := 8*t.n + 8*lanePad
		for band := 0; band < part.Rows; band += laneBand {
			outs := min(laneBand, part.Rows-band)
			t.pack(part, band, outs)
			for r := 0; r < dst.Rows; r += 8 * laneSpan {
				rows := dst.Span(r, min(r+8*laneSpan, dst.Rows))
				for o := 0; o < outs; o += laneWide {
					t.mul(rows.Columns(band+o, band+min(o+laneWide, outs)), packed[r/8*own:], own, &t.tile[o/laneWide*8*slice])
				}
			}
		}
		packed = packed[groups*own:]
	}
}

// laneTask is a block of columns of a weight in hand.
type laneTask struct {
	*lanes
	from, n    int       // columns
	slice      int       // values of a partial sum's part of a tile
	tile, wide []float32 // weights packed, and widened
	edge       []float32 // a tile of which outputs are not wanted
	sums       *float32
}

// pack packs outputs [first, first+outs) of the block.
func (t *laneTask) pack(part Weight, first, outs int) {
	rowBytes, stride := part.Format.RowBytes(part.Cols), t.n+lanePad
	for o := 0; o < outs; o += 8 {
		src := part.Data[(first+o)*rowBytes+part.Format.RowBytes(t.from):]
		w, ws := (*float32)(unsafe.Pointer(&src[0])), rowBytes
		if rows := min(8, outs-o); part.Format != F32 || rows < 8 {
			for i := range rows {
				t.widen(t.wide[i*stride:][:t.n], part.Format, src[i*rowBytes:])
			}
			w, ws = &t.wide[0], 4*stride
		}
		t.rows(&t.tile[o/laneWide*8*t.slice+o%laneWide], 4*t.slice, 4*laneWide, w, ws, t.n/8)
	}
}

// mul sets columns of dst, which are those of a tile, or adds to them what the block
// contributes.
func (t *laneTask) mul(dst Matrix, x []float32, own int, w *float32) {
	if dst.Cols < laneWide {
		t.mulEdge(dst, x, own, w)
		return
	}
	for r := 0; r < dst.Rows; r += laneTall {
		t.tiles[min(laneTall, dst.Rows-r)](&dst.Data[r*dst.Stride], 4*dst.Stride, &x[r/8*own+r%8], 4*(t.n+lanePad), w, 4*t.slice, t.n/laneUnit, t.from, t.sums)
	}
}

// mulEdge is mul for fewer outputs than a tile has.
func (t *laneTask) mulEdge(dst Matrix, x []float32, own int, w *float32) {
	for r := 0; r < dst.Rows; r += laneTall {
		rows := dst.Span(r, min(r+laneTall, dst.Rows))
		edge := Matrix{rows.Rows, rows.Cols, laneWide, t.edge}
		edge.Copy(rows)
		t.tiles[rows.Rows](&edge.Data[0], 4*laneWide, &x[r/8*own+r%8], 4*(t.n+lanePad), w, 4*t.slice, t.n/laneUnit, t.from, t.sums)
		rows.Copy(edge)
	}
}

var lanesAVX2 = lanes{
	dots:  &dotAVX2,
	tiles: [...]func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add int, sums *float32){1: lanes1AVX2, lanes2AVX2, lanes3AVX2, lanes4AVX2},
	rows:  lanesPackAVX2,
}

func init() {
	dotAVX2.pack = &packing{use: lanesAVX2.use, size: lanesAVX2.size, group: lanesAVX2.group, mul: lanesAVX2.mul, shared: true}
}

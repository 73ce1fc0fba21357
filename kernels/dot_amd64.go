//go:build !noasm

package kernels

import "unsafe"

// dots computes products in dot form: for each output a row of partial sums,
// one a lane, folded once for every block of columns; the blocks' sums are
// added in order. Tiles of rows × outputs share loads and differ in nothing
// else, so the number of rows never shows.
type dots struct {
	implementation
	lanes         int
	rows          int   // rows of the largest tile
	outs          []int // widths of tiles, falling
	band          int   // outputs whose widened weights stay in the cache
	block         int   // most columns in a block
	tiles         [7][5]dotTile
	width         int // vectors in a row of outer, [rows]
	outer, outerN [7]outerTile
	panel         func(dst, b *float32, bStride, k int) // nil: tiles read b where it lies

	fewRows   int // most rows for fused
	fusedOuts int // all of them take so many outputs
	fusedCols int // longer rows of x come by four at a time; 0: none do
	fused     [len(layouts)][fusedRows]fusedTile

	decode [len(layouts)]func(dst *float32, src *byte, n int)
}

type dotTile = func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add int)

// blockCols is the length of a block of columns: a function of the row's
// length alone, in whole blocks of every format that fits the row.
func (d *dots) blockCols(cols int) int {
	unit := 32
	if cols%256 == 0 {
		unit = 256
	}
	blocks := (cols + d.block - 1) / d.block
	return ((cols+blocks-1)/blocks + unit - 1) / unit * unit
}

func (d *dots) mul(w *Worker, dst, x Matrix, weight Weight) {
	if dst.Empty() {
		return
	}
	if x.Cols == 0 {
		dst.Zero()
		return
	}
	if done := d.mulFused(dst, x, weight); done > 0 {
		if done == weight.Rows {
			return
		}
		dst, weight = dst.Columns(done, weight.Rows), weight.Span(done, weight.Rows)
	}
	block := d.blockCols(x.Cols)
	direct := weight.Format == F32
	band := min(d.band, weight.Rows)
	rowBytes := weight.Format.RowBytes(weight.Cols)
	stride := 4*block + 64 // not a multiple of a page
	var tile []float32
	if !direct {
		tile = grow(&w.tile, band*stride/4)
	}
	// A span of x's rows over one block stays in the second-level cache while
	// all outputs pass. It never shows in a result: an output's blocks are
	// added in order.
	span := d.span(x.Rows, block)
	for c := 0; c < x.Cols; c += block {
		n := min(block, x.Cols-c)
		for r := 0; r < x.Rows; r += span {
			rows := min(span, x.Rows-r)
			for o := 0; o < weight.Rows; o += band {
				outs := min(band, weight.Rows-o)
				src := weight.Data[o*rowBytes+weight.Format.RowBytes(c):]
				wp, ws := (*float32)(unsafe.Pointer(&src[0])), rowBytes
				if !direct {
					for i := range outs {
						d.widen(tile[i*stride/4:][:n], weight.Format, src[i*rowBytes:])
					}
					wp, ws = &tile[0], stride
				}
				d.tile(&dst.Data[r*dst.Stride+o], 4*dst.Stride, &x.Data[r*x.Stride+c], 4*x.Stride, rows, wp, ws, outs, n, c)
			}
		}
	}
}

const spanBytes = 512 << 10

// span is the number of rows in a span, even where there are several.
func (d *dots) span(rows, block int) int {
	spans := (4*rows*block + spanBytes - 1) / spanBytes
	return (rows/max(spans, 1)/d.rows + 1) * d.rows
}

// tile covers rows × outs with tiles.
func (d *dots) tile(dst *float32, dstStride int, x *float32, xStride, rows int, w *float32, wStride, outs, n, add int) {
	for r := 0; r < rows; r += d.rows {
		k := min(d.rows, rows-r)
		xr := at(x, r*xStride)
		o, wo, left := at(dst, r*dstStride), w, outs
		for _, width := range d.outs {
			f := d.tiles[k][width]
			for left >= width {
				f(o, dstStride, xr, xStride, wo, wStride, n, add)
				if left -= width; left == 0 {
					break
				}
				o, wo = at(o, 4*width), at(wo, width*wStride)
			}
		}
	}
}

func at(p *float32, bytes int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), bytes))
}

// widen is Decode.
func (d *dots) widen(dst []float32, f Format, src []byte) {
	switch f {
	case F32:
		copy(bytesOf(dst), src)
	case F16, BF16:
		n := len(dst) &^ (d.lanes - 1)
		if n > 0 {
			d.decode[f](&dst[0], &src[0], n)
		}
		if n < len(dst) {
			Decode(dst[n:], f, src[2*n:])
		}
	default:
		d.decode[f](&dst[0], &src[0], len(dst)/f.BlockLen())
	}
}

var dotAVX2 = dots{
	implementation: implementation{name: "avx2", vectors: &vectorAVX2, peak: &peak{24 * 8, fmaPeakAVX2, readAllAVX2}},
	lanes:          8, rows: 4, outs: []int{3, 2, 1}, band: 12, block: 640,
	tiles: [7][5]dotTile{
		1: {1: dot1x1AVX2, 2: dot1x2AVX2, 3: dot1x3AVX2},
		2: {1: dot2x1AVX2, 2: dot2x2AVX2, 3: dot2x3AVX2},
		3: {1: dot3x1AVX2, 2: dot3x2AVX2, 3: dot3x3AVX2},
		4: {1: dot4x1AVX2, 2: dot4x2AVX2, 3: dot4x3AVX2},
	},
	fewRows: 8, fusedOuts: 12, fusedCols: 896,
	fused: [len(layouts)][fusedRows]fusedTile{
		F32: {
			fusedF32_1AVX2, fusedF32_2AVX2, fusedF32_3AVX2, fusedF32_4AVX2,
			fusedF32_5AVX2, fusedF32_6AVX2, fusedF32_7AVX2, fusedF32_8AVX2,
		},
		F16: {
			fusedF16_1AVX2, fusedF16_2AVX2, fusedF16_3AVX2, fusedF16_4AVX2,
			fusedF16_5AVX2, fusedF16_6AVX2, fusedF16_7AVX2, fusedF16_8AVX2,
		},
		BF16: {
			fusedBF16_1AVX2, fusedBF16_2AVX2, fusedBF16_3AVX2, fusedBF16_4AVX2,
			fusedBF16_5AVX2, fusedBF16_6AVX2, fusedBF16_7AVX2, fusedBF16_8AVX2,
		},
		Q8_0: {
			fusedQ8_0_1AVX2, fusedQ8_0_2AVX2, fusedQ8_0_3AVX2, fusedQ8_0_4AVX2,
			fusedQ8_0_5AVX2, fusedQ8_0_6AVX2, fusedQ8_0_7AVX2, fusedQ8_0_8AVX2,
		},
		Q4_0: {
			fusedQ4_0_1AVX2, fusedQ4_0_2AVX2, fusedQ4_0_3AVX2, fusedQ4_0_4AVX2,
			fusedQ4_0_5AVX2, fusedQ4_0_6AVX2, fusedQ4_0_7AVX2, fusedQ4_0_8AVX2,
		},
		Q4_1: {
			fusedQ4_1_1AVX2, fusedQ4_1_2AVX2, fusedQ4_1_3AVX2, fusedQ4_1_4AVX2,
			fusedQ4_1_5AVX2, fusedQ4_1_6AVX2, fusedQ4_1_7AVX2, fusedQ4_1_8AVX2,
		},
		Q5_0: {
			fusedQ5_0_1AVX2, fusedQ5_0_2AVX2, fusedQ5_0_3AVX2, fusedQ5_0_4AVX2,
			fusedQ5_0_5AVX2, fusedQ5_0_6AVX2, fusedQ5_0_7AVX2, fusedQ5_0_8AVX2,
		},
		Q5_1: {
			fusedQ5_1_1AVX2, fusedQ5_1_2AVX2, fusedQ5_1_3AVX2, fusedQ5_1_4AVX2,
			fusedQ5_1_5AVX2, fusedQ5_1_6AVX2, fusedQ5_1_7AVX2, fusedQ5_1_8AVX2,
		},
		Q4_K: {
			fusedQ4_K_1AVX2, fusedQ4_K_2AVX2, fusedQ4_K_3AVX2, fusedQ4_K_4AVX2,
			fusedQ4_K_5AVX2, fusedQ4_K_6AVX2, fusedQ4_K_7AVX2, fusedQ4_K_8AVX2,
		},
		Q5_K: {
			fusedQ5_K_1AVX2, fusedQ5_K_2AVX2, fusedQ5_K_3AVX2, fusedQ5_K_4AVX2,
			fusedQ5_K_5AVX2, fusedQ5_K_6AVX2, fusedQ5_K_7AVX2, fusedQ5_K_8AVX2,
		},
		Q6_K: {
			fusedQ6_K_1AVX2, fusedQ6_K_2AVX2, fusedQ6_K_3AVX2, fusedQ6_K_4AVX2,
			fusedQ6_K_5AVX2, fusedQ6_K_6AVX2, fusedQ6_K_7AVX2, fusedQ6_K_8AVX2,
		},
	},
	decode: [len(layouts)]func(dst *float32, src *byte, n int){
		F16: decodeF16AVX2, BF16: decodeBF16AVX2, Q8_0: decodeQ8_0AVX2, Q4_0: decodeQ4_0AVX2, Q4_1: decodeQ4_1AVX2,
		Q5_0: decodeQ5_0AVX2, Q5_1: decodeQ5_1AVX2,
		Q4_K: decodeQ4_KAVX2, Q5_K: decodeQ5_KAVX2, Q6_K: decodeQ6_KAVX2,
	},
	width:  3,
	outer:  [7]outerTile{1: outer1x3AVX2, outer2x3AVX2, outer3x3AVX2, outer4x3AVX2},
	outerN: [7]outerTile{1: outer1xNAVX2, outer2xNAVX2, outer3xNAVX2, outer4xNAVX2},
	panel:  outerPanelAVX2,
}

var dotAVX512 = dots{
	implementation: implementation{name: "avx512", vectors: &vectorAVX512, peak: &peak{24 * 16, fmaPeakAVX512, readAllAVX512}},
	lanes:          16, rows: 6, outs: []int{4, 1}, band: 8, block: 640,
	tiles: [7][5]dotTile{
		1: {1: dot1x1AVX512, 4: dot1x4AVX512},
		2: {1: dot2x1AVX512, 4: dot2x4AVX512},
		3: {1: dot3x1AVX512, 4: dot3x4AVX512},
		4: {1: dot4x1AVX512, 4: dot4x4AVX512},
		5: {1: dot5x1AVX512, 4: dot5x4AVX512},
		6: {1: dot6x1AVX512, 4: dot6x4AVX512},
	},
	fewRows: 32, fusedOuts: 4,
	fused: [len(layouts)][fusedRows]fusedTile{
		F32: {
			fusedF32_1AVX512, fusedF32_2AVX512, fusedF32_3AVX512, fusedF32_4AVX512,
			fusedF32_5AVX512, fusedF32_6AVX512, fusedF32_7AVX512, fusedF32_8AVX512,
		},
		F16: {
			fusedF16_1AVX512, fusedF16_2AVX512, fusedF16_3AVX512, fusedF16_4AVX512,
			fusedF16_5AVX512, fusedF16_6AVX512, fusedF16_7AVX512, fusedF16_8AVX512,
		},
		BF16: {
			fusedBF16_1AVX512, fusedBF16_2AVX512, fusedBF16_3AVX512, fusedBF16_4AVX512,
			fusedBF16_5AVX512, fusedBF16_6AVX512, fusedBF16_7AVX512, fusedBF16_8AVX512,
		},
		Q8_0: {
			fusedQ8_0_1AVX512, fusedQ8_0_2AVX512, fusedQ8_0_3AVX512, fusedQ8_0_4AVX512,
			fusedQ8_0_5AVX512, fusedQ8_0_6AVX512, fusedQ8_0_7AVX512, fusedQ8_0_8AVX512,
		},
		Q4_0: {
			fusedQ4_0_1AVX512, fusedQ4_0_2AVX512, fusedQ4_0_3AVX512, fusedQ4_0_4AVX512,
			fusedQ4_0_5AVX512, fusedQ4_0_6AVX512, fusedQ4_0_7AVX512, fusedQ4_0_8AVX512,
		},
		Q4_1: {
			fusedQ4_1_1AVX512, fusedQ4_1_2AVX512, fusedQ4_1_3AVX512, fusedQ4_1_4AVX512,
			fusedQ4_1_5AVX512, fusedQ4_1_6AVX512, fusedQ4_1_7AVX512, fusedQ4_1_8AVX512,
		},
		Q5_0: {
			fusedQ5_0_1AVX512, fusedQ5_0_2AVX512, fusedQ5_0_3AVX512, fusedQ5_0_4AVX512,
			fusedQ5_0_5AVX512, fusedQ5_0_6AVX512, fusedQ5_0_7AVX512, fusedQ5_0_8AVX512,
		},
		Q5_1: {
			fusedQ5_1_1AVX512, fusedQ5_1_2AVX512, fusedQ5_1_3AVX512, fusedQ5_1_4AVX512,
			fusedQ5_1_5AVX512, fusedQ5_1_6AVX512, fusedQ5_1_7AVX512, fusedQ5_1_8AVX512,
		},
		Q4_K: {
			fusedQ4_K_1AVX512, fusedQ4_K_2AVX512, fusedQ4_K_3AVX512, fusedQ4_K_4AVX512,
			fusedQ4_K_5AVX512, fusedQ4_K_6AVX512, fusedQ4_K_7AVX512, fusedQ4_K_8AVX512,
		},
		Q5_K: {
			fusedQ5_K_1AVX512, fusedQ5_K_2AVX512, fusedQ5_K_3AVX512, fusedQ5_K_4AVX512,
			fusedQ5_K_5AVX512, fusedQ5_K_6AVX512, fusedQ5_K_7AVX512, fusedQ5_K_8AVX512,
		},
		Q6_K: {
			fusedQ6_K_1AVX512, fusedQ6_K_2AVX512, fusedQ6_K_3AVX512, fusedQ6_K_4AVX512,
			fusedQ6_K_5AVX512, fusedQ6_K_6AVX512, fusedQ6_K_7AVX512, fusedQ6_K_8AVX512,
		},
	},
	decode: [len(layouts)]func(dst *float32, src *byte, n int){
		F16: decodeF16AVX512, BF16: decodeBF16AVX512, Q8_0: decodeQ8_0AVX512, Q4_0: decodeQ4_0AVX512, Q4_1: decodeQ4_1AVX512,
		Q5_0: decodeQ5_0AVX512, Q5_1: decodeQ5_1AVX512,
		Q4_K: decodeQ4_KAVX512, Q5_K: decodeQ5_KAVX512, Q6_K: decodeQ6_KAVX512,
	},
	width:  4,
	outer:  [7]outerTile{1: outer1x4AVX512, outer2x4AVX512, outer3x4AVX512, outer4x4AVX512, outer5x4AVX512, outer6x4AVX512},
	outerN: [7]outerTile{1: outer1xNAVX512, outer2xNAVX512, outer3xNAVX512, outer4xNAVX512, outer5xNAVX512, outer6xNAVX512},
}

func init() {
	for _, d := range []*dots{&dotAVX2, &dotAVX512} {
		d.matMul = d.mul
		d.inputGrad = d.inputGradient
		d.weightGrad = d.weightGradient
		d.implementation.widen = d.widen
	}
}

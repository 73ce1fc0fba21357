//go:build !noasm

package kernels

import "unsafe"

// Products in dot form: for each output four partial sums, one a lane, folded
// once for every block of columns; the blocks' sums are added in order. Few
// rows multiply with weights that are widened into registers, many with a band
// of outputs' weights widened into the first-level cache. Both add in the same
// order, so the number of rows never shows.
const (
	neonLanes = 4
	neonRows  = 5   // rows of the largest tile
	neonOuts  = 4   // outputs of a tile
	neonBlock = 640 // most columns in a block, but for the rounding to 256
	neonWide  = 768 // and with it
	neonBand  = 12  // outputs whose weights stay in the first-level cache
	neonSpan  = 160 // rows of x of which a block stays in the second-level cache
)

type (
	neonTile  = func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add int)
	neonFused = func(dst *float32, dstStride int, x *float32, xStride int, w *byte, cols, block, outs int)
)

var (
	neonTiles  = [neonRows + 1]neonTile{1: dot1x4NEON, dot2x4NEON, dot3x4NEON, dot4x4NEON, dot5x4NEON}
	neonSingle = [neonRows + 1]neonTile{1: dot1x1NEON, dot2x1NEON, dot3x1NEON, dot4x1NEON, dot5x1NEON}
)

// neonBlockCols is the length of a block of columns: a function of the row's
// length alone, in whole blocks of every format that fits the row.
func neonBlockCols(cols int) int {
	unit := 32
	if cols%256 == 0 {
		unit = 256
	}
	blocks := (cols + neonBlock - 1) / neonBlock
	return ((cols+blocks-1)/blocks + unit - 1) / unit * unit
}

func neonMul(w *Worker, dst, x Matrix, weight Weight) {
	if dst.Empty() {
		return
	}
	if x.Cols == 0 {
		dst.Zero()
		return
	}
	done := 0
	if neonFewRows(x.Rows, x.Cols) {
		done = weight.Rows / neonOuts * neonOuts
		neonMulFew(dst.Columns(0, done), x, weight.Span(0, done))
	}
	if done < weight.Rows {
		neonMulMany(w, dst.Columns(done, weight.Rows), x, weight.Span(done, weight.Rows))
	}
}

// neonFewRows reports whether weights are widened into registers: for eight rows
// while they stay in a first-level cache of 64 KiB, for four of any length.
func neonFewRows(rows, cols int) bool {
	return cols%32 == 0 && (rows <= 4 || rows <= len(neonFew[0]) && cols <= 1536)
}

// neonMulFew multiplies with whole groups of outputs, whose weights it reads
// where they lie.
func neonMulFew(dst, x Matrix, weight Weight) {
	if dst.Empty() {
		return
	}
	neonFew[weight.Format][x.Rows-1](&dst.Data[0], 4*dst.Stride, &x.Data[0], 4*x.Stride,
		&weight.Data[0], x.Cols, neonBlockCols(x.Cols), weight.Rows)
}

func neonMulMany(w *Worker, dst, x Matrix, weight Weight) {
	block, rowBytes := neonBlockCols(x.Cols), weight.Format.RowBytes(weight.Cols)
	const apart = 4 * (neonWide + 16) // not a multiple of a page
	wide := grow(&w.tile, neonBand*apart/4)
	for r := 0; r < x.Rows; r += neonSpan {
		rows := min(neonSpan, x.Rows-r)
		for c := 0; c < x.Cols; c += block {
			n := min(block, x.Cols-c)
			for o := 0; o < weight.Rows; o += neonBand {
				outs := min(neonBand, weight.Rows-o)
				src := weight.Data[o*rowBytes+weight.Format.RowBytes(c):]
				wp, ws := (*float32)(unsafe.Pointer(&src[0])), rowBytes
				if weight.Format != F32 {
					for i := range outs {
						neonWiden(wide[i*apart/4:][:n], weight.Format, src[i*rowBytes:])
					}
					wp, ws = &wide[0], apart
				}
				neonMulBand(&dst.Data[r*dst.Stride+o], 4*dst.Stride, &x.Data[r*x.Stride+c], 4*x.Stride, rows, wp, ws, outs, n, c)
			}
		}
	}
}

// neonMulBand covers rows × outs with tiles; it adds to dst if add is not 0.
func neonMulBand(dst *float32, dstStride int, x *float32, xStride, rows int, w *float32, wStride, outs, n, add int) {
	for r := 0; r < rows; r += neonRows {
		k := min(neonRows, rows-r)
		for o := 0; o < outs; {
			tile, width := neonTiles[k], neonOuts
			if outs-o < neonOuts {
				tile, width = neonSingle[k], 1
			}
			tile(offset(dst, r*dstStride+4*o), dstStride, offset(x, r*xStride), xStride, offset(w, o*wStride), wStride, n, add)
			o += width
		}
	}
}

func offset(p *float32, bytes int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), bytes))
}

// neonWiden is Decode.
func neonWiden(dst []float32, f Format, src []byte) {
	if f == F32 {
		copy(bytesOf(dst), src)
		return
	}
	unit := max(f.BlockLen(), 32)
	n := len(dst) / unit
	if n > 0 {
		neonDecoders[f](&dst[0], &src[0], n)
	}
	if n *= unit; n < len(dst) {
		Decode(dst[n:], f, src[f.RowBytes(n):])
	}
}

var neonDecoders = [len(layouts)]func(dst *float32, src *byte, n int){
	F16: decodeF16NEON, BF16: decodeBF16NEON, Q8_0: decodeQ8_0NEON, Q4_0: decodeQ4_0NEON, Q4_1: decodeQ4_1NEON,
	Q5_0: decodeQ5_0NEON, Q5_1: decodeQ5_1NEON,
	Q4_K: decodeQ4_KNEON, Q5_K: decodeQ5_KNEON, Q6_K: decodeQ6_KNEON,
}

// neonFew multiplies one to eight rows.
var neonFew = [len(layouts)][8]neonFused{
	F32: {
		fusedF32_1NEON, fusedF32_2NEON, fusedF32_3NEON, fusedF32_4NEON,
		fusedF32_5NEON, fusedF32_6NEON, fusedF32_7NEON, fusedF32_8NEON,
	},
	F16: {
		fusedF16_1NEON, fusedF16_2NEON, fusedF16_3NEON, fusedF16_4NEON,
		fusedF16_5NEON, fusedF16_6NEON, fusedF16_7NEON, fusedF16_8NEON,
	},
	BF16: {
		fusedBF16_1NEON, fusedBF16_2NEON, fusedBF16_3NEON, fusedBF16_4NEON,
		fusedBF16_5NEON, fusedBF16_6NEON, fusedBF16_7NEON, fusedBF16_8NEON,
	},
	Q8_0: {
		fusedQ8_0_1NEON, fusedQ8_0_2NEON, fusedQ8_0_3NEON, fusedQ8_0_4NEON,
		fusedQ8_0_5NEON, fusedQ8_0_6NEON, fusedQ8_0_7NEON, fusedQ8_0_8NEON,
	},
	Q4_0: {
		fusedQ4_0_1NEON, fusedQ4_0_2NEON, fusedQ4_0_3NEON, fusedQ4_0_4NEON,
		fusedQ4_0_5NEON, fusedQ4_0_6NEON, fusedQ4_0_7NEON, fusedQ4_0_8NEON,
	},
	Q4_1: {
		fusedQ4_1_1NEON, fusedQ4_1_2NEON, fusedQ4_1_3NEON, fusedQ4_1_4NEON,
		fusedQ4_1_5NEON, fusedQ4_1_6NEON, fusedQ4_1_7NEON, fusedQ4_1_8NEON,
	},
	Q5_0: {
		fusedQ5_0_1NEON, fusedQ5_0_2NEON, fusedQ5_0_3NEON, fusedQ5_0_4NEON,
		fusedQ5_0_5NEON, fusedQ5_0_6NEON, fusedQ5_0_7NEON, fusedQ5_0_8NEON,
	},
	Q5_1: {
		fusedQ5_1_1NEON, fusedQ5_1_2NEON, fusedQ5_1_3NEON, fusedQ5_1_4NEON,
		fusedQ5_1_5NEON, fusedQ5_1_6NEON, fusedQ5_1_7NEON, fusedQ5_1_8NEON,
	},
	Q4_K: {
		fusedQ4_K_1NEON, fusedQ4_K_2NEON, fusedQ4_K_3NEON, fusedQ4_K_4NEON,
		fusedQ4_K_5NEON, fusedQ4_K_6NEON, fusedQ4_K_7NEON, fusedQ4_K_8NEON,
	},
	Q5_K: {
		fusedQ5_K_1NEON, fusedQ5_K_2NEON, fusedQ5_K_3NEON, fusedQ5_K_4NEON,
		fusedQ5_K_5NEON, fusedQ5_K_6NEON, fusedQ5_K_7NEON, fusedQ5_K_8NEON,
	},
	Q6_K: {
		fusedQ6_K_1NEON, fusedQ6_K_2NEON, fusedQ6_K_3NEON, fusedQ6_K_4NEON,
		fusedQ6_K_5NEON, fusedQ6_K_6NEON, fusedQ6_K_7NEON, fusedQ6_K_8NEON,
	},
}

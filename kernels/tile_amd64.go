//go:build !noasm

package kernels

import "unsafe"

// The amx implementation multiplies bfloat16 and int8 tiles and yet keeps
// float32 operands. A float32 is exactly the sum of three bfloat16, its planes:
// F32, F16 and BF16 weights are one to three planes and take one tile product
// per pair of planes, smallest first, in float32 sums over 32 columns that are
// added in order. Quantised codes are multiplied as integers (int_amd64.go).
//
// What differs from the dequantised product: planes are exact down to 2^-126,
// below which the tile unit takes a plane for zero (an error under 2^-126 for
// each operand); pairs of planes that matter less than 2^-24 of a product are
// left out; an infinite operand gives a NaN rather than an infinity.
//
// Every tile column is a sum of its own, so an output's bits depend neither on
// the other rows nor on how many there are.

// tileFormat is how a weight format is multiplied: as planes, or as integers
// (see int_amd64.go).
type tileFormat struct {
	planes   int // of a weight; 0: integers
	mul      func(acc *float32, a, b *byte, d, m, s *float32, sums, groups, outs, blocks, bStride, sStride, first int)
	pack     func(dst, src *byte, d, m *float32, n int)
	packInt  func(dst, src *byte, rowBytes int, d, m *float32, rows, n int)
	one      fewKernel // for one row; nil: none
	few      fewKernel // for at most 16
	oneInt   intKernel // for one row
	eightInt intKernel // for at most 8
	fewInt   intKernel // for at most 16
	packs    bool      // few rows too multiply weights that are packed, see mulPacked
}

type fewKernel = func(acc *float32, src *byte, rowBytes int, b *byte, scratch *float32, outs, blocks int)

var tileFormats = [len(layouts)]tileFormat{
	F32:  {planes: 3, mul: amxMul3, pack: amxPackF32, one: amxOneF32, few: amxFewF32},
	F16:  {planes: 2, mul: amxMul2, pack: amxPackF16, one: amxOneF16, few: amxFewF16},
	BF16: {planes: 1, mul: amxMul1, pack: amxPackBF16, one: amxOneBF16, few: amxFewBF16},
	Q8_0: {mul: amxMulInt, packInt: amxPackIntQ8_0, oneInt: amxOneIntQ8_0, eightInt: amx8IntQ8_0, fewInt: amx16IntQ8_0},
	Q4_0: {mul: amxMulInt, packInt: amxPackIntQ4_0, oneInt: amxOneIntQ4_0, eightInt: amx8IntQ4_0, fewInt: amx16IntQ4_0},
	Q4_1: {mul: amxMulIntAffine, packInt: amxPackIntQ4_1, oneInt: amxOneIntQ4_1, eightInt: amx8IntQ4_1, fewInt: amx16IntQ4_1},
	Q5_0: {mul: amxMulInt, packInt: amxPackIntQ5_0, oneInt: amxOneIntQ5_0, eightInt: amx8IntQ5_0, fewInt: amx16IntQ5_0},
	Q5_1: {mul: amxMulIntAffine, packInt: amxPackIntQ5_1, oneInt: amxOneIntQ5_1, eightInt: amx8IntQ5_1, fewInt: amx16IntQ5_1},
	Q4_K: {mul: amxMulIntAffine, packInt: amxPackIntQ4_K, packs: true},
	Q5_K: {mul: amxMulIntAffine, packInt: amxPackIntQ5_K, packs: true},
}

// aWords and bWords are the 32-bit words of a block: 16 outputs' weights, and
// 16 rows of x.
func (f *tileFormat) aWords() int {
	if f.planes == 0 {
		return tileWords / 2
	}
	return f.planes * tileWords
}

func (f *tileFormat) bWords() int {
	if f.planes == 0 {
		return 3 * tileWords / 2
	}
	return 3 * tileWords
}

const (
	tileRows  = 16
	tileCols  = 32
	tileWords = 256 // 32-bit words in a tile
)

// useTiles decides by the whole weight, never by the rows at hand. Q6_K is no tile
// format: with a scale for each 16 columns its packing takes one row seven times as
// long as AVX-512's product.
func useTiles(w Weight) bool {
	return tileFormats[w.Format].mul != nil && (w.Format != F32 || w.Rows >= 64 && w.Cols >= 64)
}

// tilePackedLen is the number of words that rows of activations take: planes
// or digits, and then two factors for each block.
func tilePackedLen(w Weight, rows int) int {
	f := &tileFormats[w.Format]
	return groupsOf(rows) * blocksOf(w.Cols) * (f.bWords() + 2*tileRows)
}

func groupsOf(rows int) int { return (rows + tileRows - 1) / tileRows }
func blocksOf(cols int) int { return (cols + tileCols - 1) / tileCols }

// tilePack packs group g of x's rows.
func tilePack(weight Weight, packed []float32, x Matrix, g int) {
	f := &tileFormats[weight.Format]
	blocks, groups := blocksOf(x.Cols), groupsOf(x.Rows)
	data, factors := packed[g*blocks*f.bWords():], packed[groups*blocks*f.bWords():]
	factors = factors[g*blocks*tileRows:]
	r := g * tileRows
	rows := min(tileRows, x.Rows-r)
	switch {
	case f.planes == 0 && f.takesOne(weight, x.Rows):
		amxPackRowDigits(bytePtr(&data[0]), &factors[0], 4*blocks, &x.Data[0], x.Cols)
	case f.planes == 0:
		amxPackDigits(bytePtr(&data[0]), &factors[0], 4*groups*blocks*tileRows, &x.Data[r*x.Stride], 4*x.Stride, rows, x.Cols)
	case f.takesOne(weight, x.Rows):
		amxPackRow(bytePtr(&data[0]), &x.Data[0], x.Cols)
	default:
		amxPackRows(bytePtr(&data[0]), &factors[0], &x.Data[r*x.Stride], 4*x.Stride, rows, x.Cols)
	}
}

func floatPtr(p *byte) *float32 { return (*float32)(unsafe.Pointer(p)) }

// tileMul is MatMul with x packed for the whole weight, of which this is a
// part.
func tileMul(w *Worker, dst Matrix, packed []float32, weight, whole Weight) {
	if dst.Empty() {
		return
	}
	if weight.Cols == 0 {
		dst.Zero()
		return
	}
	f := &tileFormats[weight.Format]
	one := f.takesOne(whole, dst.Rows)
	if f.packs && dst.Rows <= 8 && weight.Rows%tileRows == 0 {
		f.mulPacked(w, dst, packed, weight, one)
		return
	}
	if one {
		f.mulOne(w, dst, packed, weight)
		return
	}
	if f.planes == 0 && f.takesFew(dst.Rows, weight) {
		f.mulFewInt(w, dst, packed, weight)
		return
	}
	if done := f.mulFew(w, dst, packed, weight); done > 0 {
		if done == weight.Rows {
			return
		}
		dst, weight = dst.Columns(done, weight.Rows), weight.Span(done, weight.Rows)
	}
	blocks, groups := blocksOf(weight.Cols), groupsOf(dst.Rows)
	aWords, bWords := f.aWords(), f.bWords()
	factors := packed[groups*blocks*bWords:]
	chunk, panel, band := f.shape(groups, blocks)
	if weight.Format.BlockLen() > tileCols {
		chunk = min(blocks, 8)
		panel = (panel + 7) / 8 * 8
	}
	panel, band = min(panel, blocks), min(band, groupsOf(weight.Rows))
	span := min(groups, tileSpan)

	// Of several panels, the sums of all rows wait for the next.
	words, scales, sums := band*panel*aWords, band*panel*tileRows, tileOuts*span
	if panel < blocks {
		sums = band * groups
	}
	mem := grow(&w.tile, words+2*scales+(sums+1)*tileWords)
	a, d := mem[:words], mem[words:][:scales]
	m, acc := mem[words+scales:][:scales], mem[words+2*scales:]

	for top := 0; top < weight.Rows; top += band * tileRows {
		end := min(top+band*tileRows, weight.Rows)
		for left := 0; left < blocks; left += panel {
			right := min(left+panel, blocks)
			for o := top; o < end; o += tileOuts * tileRows {
				n := min(tileOuts, groupsOf(end-o))
				for k := left; k < right; k += chunk {
					kn := min(chunk, right-k)
					for i := range n {
						block := (o-top)/tileRows*(right-left) + n*(k-left) + i*kn
						f.packGroup(a[block*aWords:], weight, o+i*tileRows, min(tileRows, end-o-i*tileRows), k, kn, d[block*tileRows:], m[block*tileRows:])
					}
				}
			}
			for g := 0; g < groups; g += span {
				gn := min(span, groups-g)
				for o := top; o < end; o += tileOuts * tileRows {
					n, at := min(tileOuts, groupsOf(end-o)), 0
					if panel < blocks {
						at = ((o-top)/tileRows*groups + g*n) * tileWords
					}
					for k := left; k < right; k += chunk {
						kn := min(chunk, right-k)
						first := 0
						if k == 0 {
							first = 1
						}
						block := (o-top)/tileRows*(right-left) + n*(k-left)
						ap, bp := bytePtr(&a[block*aWords]), bytePtr(&packed[(g*blocks+k)*bWords])
						dp, mp, fp := &d[block*tileRows], &m[block*tileRows], &factors[(g*blocks+k)*tileRows]
						f.mul(&acc[at], ap, bp, dp, mp, fp, 4*groups*blocks*tileRows, gn, n, kn, 4*blocks*bWords, 4*blocks*tileRows, first)
					}
					if right == blocks {
						unpackTiles(dst.Columns(o, min(o+n*tileRows, end)), acc[at:], g, gn)
					}
				}
			}
		}
	}
}

// fewRows is where packing weights once begins to pay.
const fewRows = 4 * tileRows

// mulFew multiplies at most fewRows rows with as many outputs as come in whole
// groups, and returns how many those were.
func (f *tileFormat) mulFew(w *Worker, dst Matrix, packed []float32, weight Weight) int {
	if f.few == nil || dst.Rows > fewRows || weight.Cols%tileCols != 0 || weight.Rows < tileRows {
		return 0
	}
	const scratch = 14 << 10 / 4
	blocks, groups, rowBytes := weight.Cols/tileCols, groupsOf(dst.Rows), weight.Format.RowBytes(weight.Cols)
	done := weight.Rows / tileRows * tileRows
	mem := grow(&w.tile, scratch+tileOuts*tileWords)
	for o := 0; o < done; o += tileOuts * tileRows {
		n := min(tileOuts, (done-o)/tileRows)
		for g := range groups {
			f.few(&mem[scratch], &weight.Data[o*rowBytes], rowBytes, bytePtr(&packed[g*blocks*3*tileWords]),
				&mem[0], n, blocks)
			unpackTiles(dst.Columns(o, o+n*tileRows), mem[scratch:], g, 1)
		}
	}
	return done
}

// takesOne reports whether a product of so many rows is that of one row and
// reads the weights where they lie.
func (f *tileFormat) takesOne(w Weight, rows int) bool {
	if rows != 1 || w.Rows%tileRows != 0 || w.Cols%tileCols != 0 {
		return false
	}
	return f.one != nil || f.packs || f.oneInt != nil && w.Cols >= 6*tileCols
}

func (f *tileFormat) mulOne(w *Worker, dst Matrix, packed []float32, weight Weight) {
	blocks, rowBytes := blocksOf(weight.Cols), weight.Format.RowBytes(weight.Cols)
	scratch := grow(&w.tile, 14<<10/4)
	if f.planes == 0 {
		f.oneInt(&dst.Data[0], &weight.Data[0], rowBytes, bytePtr(&packed[0]), &packed[blocks*f.bWords()], 4*blocks,
			bytePtr(&scratch[0]), weight.Rows/tileRows, blocks)
		return
	}
	f.one(&dst.Data[0], &weight.Data[0], rowBytes, bytePtr(&packed[0]), &scratch[0], weight.Rows/tileRows, blocks)
}

// unpackTiles writes the accumulators of groups [g, g+gn) of rows to dst.
func unpackTiles(dst Matrix, acc []float32, g, gn int) {
	n := groupsOf(dst.Cols)
	for r := range gn {
		row := (g + r) * tileRows
		for i := range n {
			amxUnpack(&dst.Data[row*dst.Stride+i*tileRows], 4*dst.Stride, &acc[(r*n+i)*tileWords],
				min(tileRows, dst.Rows-row), min(tileRows, dst.Cols-i*tileRows))
		}
	}
}

// tileSpan is how many groups of rows, and tileOuts how many groups of
// outputs, are multiplied in one call.
const tileSpan, tileOuts = 2, 4

// shape chooses how many blocks are multiplied in one call, to stay in the first-level
// cache, and how many groups of outputs are packed at a time, and of those how many
// blocks, to stay in the second. All rows are read once for each band of outputs, so
// that many outputs and few blocks are better than the reverse, and sums are written and
// read again for each panel of blocks. It never shows in a result.
func (f *tileFormat) shape(groups, blocks int) (chunk, panel, band int) {
	planes := max(f.planes, 1)
	if groups == 1 {
		return min(blocks, 12/planes), blocks, tileOuts
	}
	const room, leastBand = 768, 20
	chunk = min(blocks, max(4, 9/planes))
	if panel = blocks; room/(blocks*planes) < leastBand {
		panel = room / (leastBand * planes) / chunk * chunk
	}
	return chunk, panel, max(1, room/(panel*planes*tileOuts)) * tileOuts
}

// packGroup packs blocks [k, k+n) of rows [row, row+rows), at most 16.
func (f *tileFormat) packGroup(dst []float32, weight Weight, row, rows, k, n int, d, m []float32) {
	rowBytes := weight.Format.RowBytes(weight.Cols)
	src := weight.Data[row*rowBytes+weight.Format.RowBytes(k*tileCols):]
	if f.planes == 0 {
		f.packInt(bytePtr(&dst[0]), &src[0], rowBytes, &d[0], &m[0], rows, n*tileCols/weight.Format.BlockLen())
		return
	}
	for i := range rows {
		f.packFloats(dst[i*tileRows:], weight.Format, src[i*rowBytes:], min(n*tileCols, weight.Cols-k*tileCols), n)
	}
}

// packFloats packs n blocks of a row of cols values, the last perhaps in part.
func (f *tileFormat) packFloats(dst []float32, format Format, at []byte, cols, n int) {
	whole := cols / tileCols
	if whole > 0 {
		f.pack(bytePtr(&dst[0]), &at[0], nil, nil, whole)
	}
	if whole < n {
		var tail [4 * tileCols]byte
		copy(tail[:], at[format.RowBytes(whole*tileCols):format.RowBytes(cols)])
		f.pack(bytePtr(&dst[whole*f.planes*tileWords]), &tail[0], nil, nil, 1)
	}
}

var amx = implementation{
	name:    "amx",
	vectors: &vectorAVX512,
	peak:    &peak{24 * 16, fmaPeakAVX512, readAllAVX512},
	widen:   dotAVX512.widen,
	pack:    &packing{size: tilePackedLen, group: tilePack, mul: tileMul, use: useTiles},
	matMul: func(w *Worker, dst, x Matrix, weight Weight) {
		if !useTiles(weight) {
			dotAVX512.mul(w, dst, x, weight)
			return
		}
		packed := grow(&w.packed, tilePackedLen(weight, x.Rows))
		if len(packed) > 0 {
			for g := range groupsOf(x.Rows) {
				tilePack(weight, packed, x, g)
			}
		}
		tileMul(w, dst, packed, weight, weight)
	},
	inputGrad:  amxInputGrad,
	weightGrad: amxWeightGrad,
	gradTiles:  &amxGradients,
}

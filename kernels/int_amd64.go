//go:build !noasm

package kernels

// Quantised codes are multiplied as integers: 32 activations of a row share a
// power of two, s, and are integers of 24 bits in three signed digits, so that
// a block's Σ q·x is exact in int32 for each digit, whatever instruction adds
// it up and however many rows there are. Rounding x to its 24 bits loses at
// most 2^-23 of the block's largest magnitude. A block with a value that is not
// finite has a NaN for its s.

type intKernel = func(dst *float32, src *byte, rowBytes int, b *byte, s *float32, sums int, scratch *byte, outs, blocks int)

// takesFew reports whether a part of a weight is read where it lies for each
// group of rows.
func (f *tileFormat) takesFew(rows int, part Weight) bool {
	return rows <= fewRows && f.fewInt != nil && part.Rows%tileRows == 0 && part.Cols >= 6*tileCols
}

func (f *tileFormat) mulFewInt(w *Worker, dst Matrix, packed []float32, weight Weight) {
	const scratch = 12 << 10 / 4
	blocks, groups, rowBytes := blocksOf(weight.Cols), groupsOf(dst.Rows), weight.Format.RowBytes(weight.Cols)
	factors := packed[groups*blocks*f.bWords():]
	mem := grow(&w.tile, scratch+tileOuts*tileWords)
	for o := 0; o < weight.Rows; o += tileOuts * tileRows {
		n := min(tileOuts, (weight.Rows-o)/tileRows)
		for g := range groups {
			mul := f.fewInt
			if dst.Rows-g*tileRows <= 8 {
				mul = f.eightInt
			}
			mul(&mem[scratch], &weight.Data[o*rowBytes], rowBytes, bytePtr(&packed[g*blocks*f.bWords()]),
				&factors[g*blocks*tileRows], 4*groups*blocks*tileRows, bytePtr(&mem[0]), n, blocks)
			unpackTiles(dst.Columns(o, o+n*tileRows), mem[scratch:], g, 1)
		}
	}
}

// mulPacked multiplies at most eight rows with weights that it packs, sixteen outputs
// after sixteen; one: x is packed as a single row.
func (f *tileFormat) mulPacked(w *Worker, dst Matrix, packed []float32, weight Weight, one bool) {
	const scratch = 12 << 10 / 4
	blocks, rowBytes := blocksOf(weight.Cols), weight.Format.RowBytes(weight.Cols)
	codes, scales := blocks*f.aWords(), blocks*tileRows
	mem := grow(&w.tile, scratch+codes+2*scales+tileWords)
	a, d, m := mem[scratch:][:codes], mem[scratch+codes:][:scales], mem[scratch+codes+scales:][:scales]
	out, digits, factors := mem[scratch+codes+2*scales:], bytePtr(&packed[0]), packed[blocks*f.bWords():]
	for o := 0; o < weight.Rows; o += tileRows {
		f.packInt(bytePtr(&a[0]), &weight.Data[o*rowBytes], rowBytes, &d[0], &m[0], tileRows, blocks*tileCols/weight.Format.BlockLen())
		if one {
			amxOneIntPacked(&dst.Data[o], bytePtr(&a[0]), &d[0], &m[0], digits, &factors[0], 4*blocks, bytePtr(&mem[0]), 1, blocks)
			continue
		}
		amx8IntPacked(&out[0], bytePtr(&a[0]), &d[0], &m[0], digits, &factors[0], 4*blocks*tileRows, bytePtr(&mem[0]), 1, blocks)
		unpackTiles(dst.Columns(o, o+tileRows), out, 0, 1)
	}
}

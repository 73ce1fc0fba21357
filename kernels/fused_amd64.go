//go:build !noasm

package kernels

//go:generate go run -C _asm . -isa fused-avx2 -pkg kernels -out ../fused_avx2_amd64.s -stubs ../fused_avx2_amd64.go
//go:generate go run -C _asm . -isa fused-avx512 -pkg kernels -out ../fused_avx512_amd64.s -stubs ../fused_avx512_amd64.go

// fusedTile multiplies a few rows with weights that it widens into
// registers, where they lie: the bits are those of widen and a tile.
type fusedTile = func(dst *float32, dstStride int, x *float32, xStride int, w *byte, cols, block, outs int)

const (
	fusedRows = 8
	// fusedBand is how many outputs' weights are read again from the first-level
	// cache for the next rows.
	fusedBand = 12
)

// mulFused multiplies with as many outputs as fused tiles cover, and returns
// how many those were.
func (d *dots) mulFused(dst, x Matrix, weight Weight) int {
	tiles := &d.fused[weight.Format]
	if tiles[0] == nil || x.Rows > d.fewRows || x.Cols%32 != 0 {
		return 0
	}
	done := weight.Rows / d.fusedOuts * d.fusedOuts
	block, rowBytes := d.blockCols(x.Cols), weight.Format.RowBytes(weight.Cols)
	together := fusedRows
	if d.fusedCols > 0 && x.Cols > d.fusedCols {
		together = 4 // stay in the first-level cache
	}
	groups := (x.Rows + together - 1) / together
	for o := 0; o < done; o += fusedBand {
		outs := min(fusedBand, done-o)
		for r, g := 0, groups; g > 0; g-- {
			rows := (x.Rows - r + g - 1) / g // even groups
			tiles[rows-1](&dst.Data[r*dst.Stride+o], 4*dst.Stride, &x.Data[r*x.Stride], 4*x.Stride,
				&weight.Data[o*rowBytes], x.Cols, block, outs)
			r += rows
		}
	}
	return done
}

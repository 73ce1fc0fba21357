package kernels

// Tiles of sixteen rows are multiplied by instructions that read the rows' values where
// they lie. So many rows are rounded otherwise than some: by 32 columns the scales of
// sixteen rows, their scaled sums, and then their values, 32 bytes a row or, by two
// rows, eight of one and eight of the other in turn. Rows that the last tile has beyond are
// zeros.
const (
	apartRows  = 16
	apartSums  = 4 * apartRows
	apartCodes = 8 * apartRows
	apartBytes = apartCodes + apartRows*int8Block
)

// apart reports whether rows lie so.
func (x rounded) apart() bool { return x.step == apartBytes }

// tileAt is the tile of row r, from column 32·b on.
func (x rounded) tileAt(r, b int) []byte { return x.data[(r/apartRows*x.blocks+b)*apartBytes:] }

// apartAt is where the i-th row of a tile has columns 8p to 8p+7 of 32.
func (k *int8Kernels) apartAt(i, p int) int {
	if k.pairs {
		return apartCodes + i/2*2*int8Block + 16*p + i%2*8
	}
	return apartCodes + i*int8Block + 8*p
}

// roundApart is roundRows for rows that lie apart.
func (dst rounded) roundApart(x Matrix, from, to int) {
	for r := from; r < to; r++ {
		i := r % apartRows
		active.int8.apart(&dst.tileAt(r, 0)[4*i], apartBytes, active.int8.apartAt(i, 0)-4*i, &x.Row(r)[0], dst.blocks)
	}
	if to < dst.rows {
		return
	}
	for r := to; r%apartRows != 0; r++ {
		i := r % apartRows
		for b := range dst.blocks {
			tile := dst.tileAt(r, b)
			put32(tile[4*i:], 0)
			put32(tile[apartSums+4*i:], 0)
			for p := range int8Block / 8 {
				clear(tile[active.int8.apartAt(i, p):][:8])
			}
		}
	}
}

// mulApart adds the products of some blocks of columns, from 32·b on, to dst, the rows of
// x from top on; of the first blocks it sets them. Of fewer outputs than two groups have,
// all are added in few.
func (x rounded) mulApart(dst Matrix, top, b, blocks int, tiles *int8Tiles, room []byte, few []float32) {
	all, outs := dst, 2*active.int8.outs
	if dst.Cols < outs {
		all = Matrix{Rows: dst.Rows, Cols: outs, Stride: outs, Data: few}
		copyRows(all, dst)
	}
	tiles.apart(&all.Data[0], 4*all.Stride, &x.tileAt(top, b)[0], x.blocks*apartBytes, &room[0], blocks, b, dst.Rows)
	if dst.Cols < outs {
		copyRows(dst, all)
	}
}

// copyRows copies the columns that both matrices have.
func copyRows(dst, src Matrix) {
	for r := range dst.Rows {
		copy(dst.Row(r), src.Row(r))
	}
}

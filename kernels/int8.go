package kernels

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Products may round their activations to 8 bits and multiply the codes of a
// quantised weight as they are (Weight.Int8). Of each row of x, 32 columns share a
// scale; a sum of 32 products is exact in integers, whatever adds it up. It is
// multiplied by both scales and added to those before it, in order:
//
//	y[r][o] = Σ_b float32(Σ_i q[o][b][i]·x[r][b][i]) · (d[o][b]·e[r][b])
//
// where the product of the scales rounds to float32, and then each multiply-add. So
// all implementations give the same bits, of one row and of many. Formats with a
// minimum m add m·s next, s being e times the sum of the block's x. Codes of four
// bits with a minimum begin at 0, all others are around 0: a Q5_1 or Q5_K code is 16
// less, and 16·d is in its minimum. Q6_K, whose scales are those of sixteen, has q
// times its integer scale in the sum.

// int8Kernels compute such products with an instruction set.
type int8Kernels struct {
	outs     int  // lie side by side, a lane each
	rows     int  // share weights in registers
	many     int  // rows for which weights are unpacked
	tileRows int  // rows that share weights that are unpacked
	band     int  // bytes of unpacked weights that stay in the cache for the next rows
	panel    int  // bytes of activations that stay in the second-level cache
	wide     bool // many rows of Q8_0 take activations of 16 bits
	round    int8Round
	apart    int8Round // of many rows that lie apart; nil: they lie as some do
	pairs    bool      // whose values lie by two rows: eight of one, eight of the other
	products [len(layouts)][int8Rows]int8Product
	unpack   [len(layouts)]func(dst, w *byte, blocks int)
	tiles    [len(layouts)]*int8Tiles
}

type int8Product = func(dst *float32, dstStride int, x *byte, step int, w *byte, blocks, groups int)

// int8Tiles add the products of some rows with unpacked weights of two groups, which
// take so many bytes for 32 columns: by the number of rows, from one on, or all rows that
// lie apart.
type int8Tiles struct {
	bytes int
	mul   []int8Tile
	apart int8Apart
}

type (
	int8Round = func(dst *byte, step, wide int, x *float32, blocks int)
	int8Tile  = func(dst *float32, dstStride int, x *byte, step int, w *byte, blocks, add int)
	int8Apart = func(dst *float32, dstStride int, x *byte, tile int, w *byte, blocks, add, rows int)
)

const (
	int8Rows  = 8        // most rows that share weights in registers
	int8Band  = 16 << 10 // bytes of weights that stay in the first-level cache for the next rows
	int8Block = 32       // columns

	// A block of rounded activations: its scale, the scale times its sum, sums in
	// pairs of 16 bits, its values. Of a pair, the first is of the columns 4i and
	// 4i+1, the second of the others. There are -8 and -16 times those of all columns,
	// and -32 times those of either half.
	roundedBytes = 56
	wideBytes    = 64 // its values in 16 bits
	roundedSum   = 4
	roundedPairs = 8
	roundedCodes = 24
)

// Int8 returns w as a weight whose products round their activations to 8 bits. It is
// laid out for them in room, of w.Int8Bytes() zeros; where that is 0 they read it as it
// is stored. A float format has no such products: it is returned as it is. Gradients,
// single rows and spans read what is stored.
func (p *Pool) Int8(w Weight, room []byte) Weight {
	if w.Format.BlockLen() == 1 || w.Empty() || w.Data == nil {
		return w
	}
	w.int8 = &int8Weight{}
	if n := w.Int8Bytes(); n > 0 {
		w.int8.groups = room[:n:n]
		p.Run((w.Rows+laidRows-1)/laidRows, &layTask{w, w.int8.groups})
	}
	return w
}

// layTask lays out some groups of a weight.
type layTask struct {
	w    Weight
	room []byte
}

const laidRows = 32 // of a part

func (t *layTask) Part(_ *Worker, part int) {
	interleave(t.room, t.w, part*laidRows, min((part+1)*laidRows, t.w.Rows), active.int8.outs)
}

// HasInt8 reports whether the implementation in force has kernels for the products of
// Int8; else they are computed by portable Go.
func HasInt8() bool { return active.int8 != nil }

// Int8Bytes is the room that Int8 lays w out in, about as much as w takes; 0 where the
// implementation in force reads it as it is stored.
func (w Weight) Int8Bytes() int {
	if w.Format.BlockLen() == 1 || active.int8 == nil {
		return 0
	}
	outs := active.int8.outs
	return (w.Rows + outs - 1) / outs * groupBytes(w.Format, w.Cols, outs)
}

// int8Weight is a weight for products with rounded activations: groups of outputs, side
// by side; nil where the stored form is read.
type int8Weight struct{ groups []byte }

// rounded is x with its rows rounded, in tiles of some rows that are multiplied
// together: of each 32 columns the tile's rows lie side by side and, for weights of
// eight bits and many rows, the values in 16 bits behind them. Where they lie apart,
// there are sixteen rows: their scales, their scaled sums and then their values.
type rounded struct {
	rows, blocks int
	tile, step   int // rows, and the bytes of 32 columns
	data         []byte
}

// at is the block of row r that begins at column 32·b.
func (x rounded) at(r, b int) []byte {
	return x.data[(r/x.tile*x.blocks+b)*x.step+r%x.tile*roundedBytes:]
}

// tileOfRounded are the rows of one tile, as many as fit, evenly divided where there may
// be fewer, and the bytes that it takes for 32 columns. With values in 16 bits these are always those of the
// largest tile: kernels have the place of such values, behind so many rows, as a constant.
func tileOfRounded(rows int, wide bool) (tile, step int) {
	k := active.int8
	if k == nil {
		return 1, roundedBytes
	}
	rows = max(rows, 1)
	most := k.tileRows
	if rows < k.many {
		most, wide = k.rows, false
	}
	if rows >= k.many && k.apart != nil {
		return most, apartBytes
	}
	tiles := (rows + most - 1) / most
	tile = (rows + tiles - 1) / tiles
	if wide {
		return tile, most * (roundedBytes + wideBytes)
	}
	return tile, tile * roundedBytes
}

// roundedSize is the words that rows take, rounded.
func roundedSize(rows, cols int, wide bool) int {
	tile, step := tileOfRounded(rows, wide)
	return (rows + tile - 1) / tile * (cols / int8Block) * step / 4
}

// roundedIn returns room for x, rounded, in words of s.
func roundedIn(s *[]float32, x Matrix, wide bool) rounded {
	if x.Empty() {
		return rounded{}
	}
	tile, step := tileOfRounded(x.Rows, wide)
	return rounded{x.Rows, x.Cols / int8Block, tile, step, bytesOf(grow(s, roundedSize(x.Rows, x.Cols, wide)))}
}

// takesWide reports whether products of w take activations of 16 bits too, of many rows.
func takesWide(w Weight) bool {
	return w.int8 != nil && w.Format == Q8_0 && active.int8 != nil && active.int8.wide
}

// roundRows rounds rows [from, to) of x.
func (dst rounded) roundRows(x Matrix, from, to int) {
	if dst.apart() {
		dst.roundApart(x, from, to)
		return
	}
	for r := from; r < to; r++ {
		row := x.Row(r)
		if k := active.int8; k != nil {
			wide := 0
			if dst.step > dst.tile*roundedBytes {
				wide = k.tileRows*roundedBytes + r%dst.tile*(wideBytes-roundedBytes)
			}
			k.round(&dst.at(r, 0)[0], dst.step, wide, &row[0], dst.blocks)
			continue
		}
		for b := range dst.blocks {
			roundBlock(dst.at(r, b), row[b*int8Block:][:int8Block])
		}
	}
}

// leastRounded is 2^-100, as an integer: a block of nothing larger counts as zeros.
const leastRounded = (127 - 100) << 23

// roundBlock rounds 32 activations to the nearest of 255 values, ties to even, of
// which the largest is the block's largest. One that is not finite makes the scale
// a NaN.
func roundBlock(dst []byte, x []float32) {
	var top uint32
	for _, v := range x {
		top = max(top, math.Float32bits(v)&^(1<<31))
	}
	var scale, inverse float32
	if top > leastRounded {
		largest := math.Float32frombits(top)
		scale, inverse = largest/127+(largest-largest), 127/largest
	}
	var sums [4]int16
	for i, v := range x {
		q := int8(math.RoundToEven(float64(float32(v * inverse))))
		dst[roundedCodes+i] = byte(q)
		sums[i/16*2+i/2%2] += int16(q)
	}
	all := [2]int16{sums[0] + sums[2], sums[1] + sums[3]}
	put32(dst, math.Float32bits(scale))
	put32(dst[roundedSum:], math.Float32bits(scale*float32(all[0]+all[1])))
	for i, v := range []int16{-8 * all[0], -8 * all[1], -16 * all[0], -16 * all[1], -32 * sums[0], -32 * sums[1], -32 * sums[2], -32 * sums[3]} {
		binary.LittleEndian.PutUint16(dst[roundedPairs+2*i:], uint16(v))
	}
}

// mulInt8 sets outputs [from, to) of dst, from being a multiple of those of a group.
func (w *Worker) mulInt8(dst Matrix, x rounded, weight Weight, from, to int) {
	if dst.Empty() {
		return
	}
	if active.int8 == nil || weight.int8.groups == nil {
		w.mulInt8Portable(dst, x, weight, from, to)
		return
	}
	k := active.int8
	outs := k.outs
	tiles, size := &k.products[weight.Format], groupBytes(weight.Format, weight.Cols, outs)
	whole, blocks := to/outs*outs, weight.Cols/weight.Format.BlockLen()
	if x.apart() {
		whole = to
	}
	if x.rows >= k.many {
		from = w.mulUnpacked(dst, x, weight, from, whole)
	}
	band := max(1, int8Band/size) * outs
	if x.rows <= k.rows {
		band = max(whole-from, 1)
	}
	for o := from; o < whole; o += band {
		groups := min(band, whole-o) / outs
		for r := 0; r < x.rows; {
			rows := min(k.rows, x.tile-r%x.tile, x.rows-r)
			tiles[rows-1](&dst.Data[r*dst.Stride+o], 4*dst.Stride, &x.at(r, 0)[0], x.step,
				&weight.int8.groups[o/outs*size], blocks, groups)
			r += rows
		}
	}
	if whole == to {
		return
	}
	var rest [16]float32 // of the last group, which has fewer outputs
	for r := range x.rows {
		tiles[0](&rest[0], 0, &x.at(r, 0)[0], x.step, &weight.int8.groups[whole/outs*size], blocks, 1)
		copy(dst.Row(r)[whole:to], rest[:])
	}
}

// mulUnpacked sets outputs of dst from from on, two groups at a time as far as to, and
// returns where it ended: at to where rows lie apart. Weights are unpacked for all rows whose activations stay in
// the second-level cache.
func (w *Worker) mulUnpacked(dst Matrix, x rounded, weight Weight, from, to int) int {
	k, f := active.int8, weight.Format
	outs := 2 * k.outs
	unpack, tiles, size := k.unpack[f], k.tiles[f], groupBytes(f, weight.Cols, k.outs)
	each := f.BlockLen() / int8Block
	most := k.band / (tiles.bytes * each) * each
	bands := (x.blocks + most - 1) / most
	most = (x.blocks/each + bands - 1) / bands * each // even bands
	panel := max(1, k.panel/(most*x.step)) * x.tile
	end, rest := from+(to-from)/outs*outs, 0
	if x.apart() {
		end, rest = to, min(panel, x.rows)*outs
	}
	words := grow(&w.tile, most*tiles.bytes/4+rest)
	room, few := bytesOf(words[:len(words)-rest]), words[len(words)-rest:]
	span := end - from // outputs that one band of columns is multiplied with, then the next
	if x.rows <= panel/bands {
		span = outs // all bands of activations stay in the cache: weights are read as they lie
	}
	for top := 0; top < x.rows; top += panel {
		last := min(top+panel, x.rows)
		for first := from; first < end; first += span {
			for b := 0; b < x.blocks; b += most {
				for o := first; o < min(first+span, end); o += outs {
					blocks := min(most, x.blocks-b)
					for g := range min(2, (end-o+k.outs-1)/k.outs) {
						at := (o/k.outs+g)*size + groupBytes(f, b*int8Block, k.outs)
						unpack(&room[4*k.outs*g], &weight.int8.groups[at], blocks/each)
					}
					if x.apart() {
						x.mulApart(dst.Span(top, last).Columns(o, min(o+outs, end)), top, b, blocks, tiles, room, few)
						continue
					}
					for r := top; r < last; r += x.tile {
						rows := min(x.tile, last-r)
						tiles.mul[rows-1](&dst.Data[r*dst.Stride+o], 4*dst.Stride, &x.at(r, b)[0], x.step, &room[0], blocks, b)
					}
				}
			}
		}
	}
	return end
}

func (w *Worker) mulInt8Portable(dst Matrix, x rounded, weight Weight, from, to int) {
	cols, blocks := weight.Cols, x.blocks
	words := grow(&w.tile, (cols+1)/2+2*blocks)
	hasMinima := minimaOf(weight.Format)
	scales, minima := words[:blocks], words[blocks:2*blocks]
	codes := unsafe.Slice((*int16)(unsafe.Pointer(&words[2*blocks])), cols)
	for o := from; o < to; o++ {
		int8Codes(codes, scales, minima, weight.Format, weight.Row(o))
		for r := range x.rows {
			dst.Row(r)[o] = int8Dot(codes, scales, minima, hasMinima, x, r)
		}
	}
}

// int8Dot is one output of one row.
func int8Dot(codes []int16, scales, minima []float32, hasMinima bool, x rounded, r int) (y float32) {
	for b, d := range scales {
		x, q := x.at(r, b)[:roundedBytes], codes[b*int8Block:][:int8Block]
		var sum int32
		for i, v := range x[roundedCodes:] {
			sum += int32(q[i]) * int32(int8(v))
		}
		y = fma32(float32(sum), d*math.Float32frombits(word32(x)), y)
		if hasMinima {
			y = fma32(minima[b], math.Float32frombits(word32(x[roundedSum:])), y)
		}
	}
	return y
}

// fma32 is a·b + c, rounded once: in float64 the product is exact, and a sum that is
// not is made odd, so that its second rounding is that of the exact one (Boldo and
// Melquiond, 2008).
func fma32(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	t := s - p
	lost := (p - (s - t)) + (d - t)
	if bits := math.Float64bits(s); bits%2 == 0 && (lost > 0 || lost < 0) {
		if (lost > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}

// minimaOf reports whether codes of a format are multiplied without their minimum.
func minimaOf(f Format) bool {
	switch f {
	case Q4_1, Q5_1, Q4_K, Q5_K:
		return true
	}
	return false
}

// int8Codes unpacks a row: what its activations are multiplied by as integers, and
// for each 32 of them the scale and, where the format has one, the minimum.
func int8Codes(codes []int16, scales, minima []float32, f Format, row []byte) {
	n := f.BlockLen()
	for b := range len(codes) / n {
		block, q, at := row[b*f.BlockBytes():][:f.BlockBytes()], codes[b*n:][:n], b*n/int8Block
		unpackCodes(q, f, block)
		for i := range q {
			q[i] -= offsetOf(f)
		}
		switch f {
		case Q8_0, Q4_0, Q5_0:
			scales[at] = half(block)
		case Q4_1, Q5_1:
			scales[at], minima[at] = half(block), half(block[2:])
		case Q4_K, Q5_K:
			d, dmin := half(block), half(block[2:])
			for j := range 8 {
				sc, mn := scaleMinK4(j, block[4:16])
				scales[at+j] = d * float32(sc)
				minima[at+j] = -float32(dmin * float32(mn))
			}
		case Q6_K:
			for j := range 8 {
				scales[at+j] = half(block[208:])
			}
			for i := range q {
				q[i] *= int16(int8(block[192+i/16]))
			}
		}
		if offset := offsetOf(f); offset > 0 && minimaOf(f) { // 0·d is no 0 where d is infinite
			for j := at; j < at+n/int8Block; j++ {
				minima[j] += float32(offset) * scales[j]
			}
		}
	}
}

// offsetOf is what is taken off the codes of a format.
func offsetOf(f Format) int16 {
	switch f {
	case Q4_0:
		return 8
	case Q5_0, Q5_1, Q5_K:
		return 16
	case Q6_K:
		return 32
	}
	return 0
}

// int8Task rounds rows of x, a few a part.
type int8Task struct {
	dst rounded
	x   Matrix
}

const roundedRows = 16 // of a part

func (t *int8Task) Part(_ *Worker, part int) {
	t.dst.roundRows(t.x, part*roundedRows, min((part+1)*roundedRows, t.x.Rows))
}

// round rounds x for products that take it so.
func (p *Pool) round(x Matrix, wide bool) rounded {
	t := &p.tasks.int8
	t.dst, t.x = roundedIn(&p.packed, x, wide), x
	if x.Rows*x.Cols < 1<<15 {
		t.dst.roundRows(x, 0, x.Rows)
	} else {
		p.Run((x.Rows+roundedRows-1)/roundedRows, t)
	}
	t.x = Matrix{}
	return t.dst
}

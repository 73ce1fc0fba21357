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
// where each operation rounds to float32 and none is fused. So all
// implementations give the same bits, of one row and of many. Formats with a
// minimum m subtract or add m·s, s being e times the sum of the block's x. Q6_K,
// whose scales are those of sixteen, has q times its integer scale in the sum.

// int8Kernels compute such products with an instruction set.
type int8Kernels struct {
	round    func(dst *byte, x *float32, blocks int)
	products [len(layouts)][int8Rows]int8Product
}

type int8Product = func(dst *float32, dstStride int, x *byte, xStride int, w *byte, blocks, groups int)

const (
	int8Rows  = 4        // share weights in registers
	int8Band  = 16 << 10 // bytes of weights that stay in the first-level cache for the next rows
	int8Outs  = 8        // lie side by side
	int8Block = 32       // columns

	// A block of rounded activations: its scale, the scale times its sum, eight
	// times its sum, the sums of both halves in 16 bits, its values.
	roundedBytes = 48
	roundedSum   = 4
	roundedEight = 8
	roundedHalf  = 12
	roundedCodes = 16
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
	interleave(t.room, t.w, part*laidRows, min((part+1)*laidRows, t.w.Rows))
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
	return (w.Rows + int8Outs - 1) / int8Outs * groupBytes(w.Format, w.Cols)
}

// int8Weight is a weight for products with rounded activations: groups of eight
// outputs, side by side; nil where the stored form is read.
type int8Weight struct{ groups []byte }

// rounded is x with its rows rounded.
type rounded struct {
	rows, blocks int
	data         []byte
}

func (x rounded) row(r int) []byte { return x.data[r*x.blocks*roundedBytes:][:x.blocks*roundedBytes] }

// roundedIn returns room for x, rounded, in words of s.
func roundedIn(s *[]float32, x Matrix) rounded {
	blocks := x.Cols / int8Block
	return rounded{x.Rows, blocks, bytesOf(grow(s, x.Rows*blocks*roundedBytes/4))}
}

// roundRows rounds rows [from, to) of x.
func (dst rounded) roundRows(x Matrix, from, to int) {
	for r := from; r < to; r++ {
		to, row := dst.row(r), x.Row(r)
		if k := active.int8; k != nil {
			k.round(&to[0], &row[0], dst.blocks)
			continue
		}
		for b := range dst.blocks {
			roundBlock(to[b*roundedBytes:][:roundedBytes], row[b*int8Block:][:int8Block])
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
	var sums [2]int32
	for i, v := range x {
		q := int8(math.RoundToEven(float64(float32(v * inverse))))
		dst[roundedCodes+i] = byte(q)
		sums[i/16] += int32(q)
	}
	sum := sums[0] + sums[1]
	put := binary.LittleEndian.PutUint32
	put(dst, math.Float32bits(scale))
	put(dst[roundedSum:], math.Float32bits(float32(scale*float32(sum))))
	put(dst[roundedEight:], uint32(8*sum))
	put(dst[roundedHalf:], uint32(uint16(sums[0]))|uint32(sums[1])<<16)
}

// mulInt8 sets outputs [from, to) of dst, from being a multiple of eight.
func (w *Worker) mulInt8(dst Matrix, x rounded, weight Weight, from, to int) {
	if dst.Empty() {
		return
	}
	if active.int8 == nil || weight.int8.groups == nil {
		w.mulInt8Portable(dst, x, weight, from, to)
		return
	}
	tiles, size := &active.int8.products[weight.Format], groupBytes(weight.Format, weight.Cols)
	whole, blocks := to/int8Outs*int8Outs, weight.Cols/weight.Format.BlockLen()
	stride := x.blocks * roundedBytes
	parts := (x.rows + int8Rows - 1) / int8Rows
	band := max(1, int8Band/size) * int8Outs
	if parts == 1 {
		band = max(whole-from, 1)
	}
	for o := from; o < whole; o += band {
		groups := min(band, whole-o) / int8Outs
		for r, left := 0, parts; left > 0; left-- {
			rows := (x.rows - r + left - 1) / left // even parts
			tiles[rows-1](&dst.Data[r*dst.Stride+o], 4*dst.Stride, &x.row(r)[0], stride,
				&weight.int8.groups[o/int8Outs*size], blocks, groups)
			r += rows
		}
	}
	if whole == to {
		return
	}
	var rest [int8Outs]float32 // of the last group, which has fewer outputs
	for r := range x.rows {
		tiles[0](&rest[0], 0, &x.row(r)[0], stride, &weight.int8.groups[whole/int8Outs*size], blocks, 1)
		copy(dst.Row(r)[whole:to], rest[:])
	}
}

func (w *Worker) mulInt8Portable(dst Matrix, x rounded, weight Weight, from, to int) {
	cols, blocks := weight.Cols, x.blocks
	words := grow(&w.tile, (cols+1)/2+2*blocks)
	scales, minima := words[:blocks], words[blocks:2*blocks]
	codes := unsafe.Slice((*int16)(unsafe.Pointer(&words[2*blocks])), cols)
	for o := from; o < to; o++ {
		int8Codes(codes, scales, minima, weight.Format, weight.Row(o))
		for r := range x.rows {
			dst.Row(r)[o] = int8Dot(codes, scales, minima, x.row(r))
		}
	}
}

// int8Dot is one output of one row.
func int8Dot(codes []int16, scales, minima []float32, x []byte) (y float32) {
	for b, d := range scales {
		x, q := x[b*roundedBytes:][:roundedBytes], codes[b*int8Block:][:int8Block]
		var sum int32
		for i, v := range x[roundedCodes:] {
			sum += int32(q[i]) * int32(int8(v))
		}
		scale := math.Float32frombits(binary.LittleEndian.Uint32(x))
		y += float32(float32(sum) * float32(d*scale))
		if m := minima[b]; m != 0 {
			y += float32(m * math.Float32frombits(binary.LittleEndian.Uint32(x[roundedSum:])))
		}
	}
	return y
}

// int8Codes unpacks a row: what its activations are multiplied by as integers, and
// for each 32 of them the scale and the minimum, 0 where the format has none.
func int8Codes(codes []int16, scales, minima []float32, f Format, row []byte) {
	clear(minima)
	n := f.BlockLen()
	for b := range len(codes) / n {
		block, q, at := row[b*f.BlockBytes():][:f.BlockBytes()], codes[b*n:][:n], b*n/int8Block
		unpackCodes(q, f, block)
		switch f {
		case Q4_1, Q5_1:
			minima[at] = half(block[2:])
			fallthrough
		case Q8_0, Q4_0, Q5_0:
			scales[at] = half(block)
			if f == Q4_0 || f == Q5_0 {
				for i := range q {
					q[i] -= int16(offsetOf(f))
				}
			}
		case Q4_K, Q5_K:
			d, dmin := half(block), half(block[2:])
			for j := range 8 {
				sc, mn := scaleMinK4(j, block[4:16])
				scales[at+j], minima[at+j] = d*float32(sc), -(dmin * float32(mn))
			}
		case Q6_K:
			for j := range 8 {
				scales[at+j] = half(block[208:])
			}
			for i := range q {
				q[i] = (q[i] - 32) * int16(int8(block[192+i/16]))
			}
		}
	}
}

// offsetOf is what is taken off the codes of a format whose blocks have no minimum.
func offsetOf(f Format) int {
	switch f {
	case Q4_0:
		return 8
	case Q5_0:
		return 16
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
func (p *Pool) round(x Matrix) rounded {
	t := &p.tasks.int8
	t.dst, t.x = roundedIn(&p.packed, x), x
	if x.Rows*x.Cols < 1<<15 {
		t.dst.roundRows(x, 0, x.Rows)
	} else {
		p.Run((x.Rows+roundedRows-1)/roundedRows, t)
	}
	t.x = Matrix{}
	return t.dst
}

package kernels

import "encoding/binary"

// Kernels for rounded activations read eight outputs at once, a lane each, so
// that nothing is added across lanes. For that, once at the start, the weights of
// eight outputs are laid side by side, 32 columns at a time: the outputs' scales and
// minima as they are stored; of codes of more than four bits the higher ones; then,
// for i = 0 … 3, of each output four bytes with the low four bits of the codes
// 4i … 4i+3, and above them of 16+4i … 19+4i. Codes of eight bits are four bytes of
// each output for i = 0 … 7. A k-quant has the head of its 256 columns first, and the
// integer scales and minima of 32, a byte each: 2 % more bytes than it is stored
// in, which no other format takes.

// interleavedBytes are those of eight outputs: what 256 columns of a k-quant have in
// front, what 32 columns take, and where their codes begin.
var interleavedBytes = [len(layouts)]struct{ head, bytes, codes int }{
	Q8_0: {0, 272, 16}, Q4_0: {0, 144, 16}, Q4_1: {0, 160, 32}, Q5_0: {0, 176, 48}, Q5_1: {0, 192, 64},
	Q4_K: {32, 144, 16}, Q5_K: {32, 176, 48}, Q6_K: {16, 208, 80},
}

// groupBytes is the size of a group of eight outputs.
func groupBytes(f Format, cols int) int {
	l := &interleavedBytes[f]
	return cols/f.BlockLen()*l.head + cols/int8Block*l.bytes
}

// interleave lays outputs [from, to) of w out in groups of eight, which are zeros; the
// last may have fewer.
func interleave(groups []byte, w Weight, from, to int) {
	size := groupBytes(w.Format, w.Cols)
	for o := from; o < to; o++ {
		interleaveRow(groups[o/int8Outs*size:][:size], o%int8Outs, w.Format, w.Row(o))
	}
}

// interleaveRow puts the row of one output into its lane.
func interleaveRow(group []byte, lane int, f Format, row []byte) {
	l := &interleavedBytes[f]
	var codes [256]int16
	for ; len(row) > 0; row = row[f.BlockBytes():] {
		block := row[:f.BlockBytes()]
		switch f {
		case Q4_K, Q5_K:
			copy(group[2*lane:], block[:2])
			copy(group[16+2*lane:], block[2:4])
		case Q6_K:
			copy(group[2*lane:], block[208:210])
		}
		group = group[l.head:]
		q := codes[:f.BlockLen()]
		if f != Q8_0 && f != Q4_0 && f != Q4_1 {
			unpackCodes(q, f, block)
		}
		for j := 0; j < f.BlockLen()/int8Block; j++ {
			dst := group[:l.bytes]
			group = group[l.bytes:]
			switch f {
			case Q8_0, Q4_0, Q5_0:
				copy(dst[2*lane:], block[:2])
			case Q4_1, Q5_1:
				copy(dst[2*lane:], block[:2])
				copy(dst[16+2*lane:], block[2:4])
			case Q4_K, Q5_K:
				dst[lane], dst[8+lane] = scaleMinK4(j, block[4:16])
			case Q6_K:
				dst[lane], dst[8+lane] = block[192+2*j], block[193+2*j]
			}
			quads, codes := dst[l.codes+4*lane:], q[j*int8Block:]
			switch f {
			case Q8_0:
				for i := range 8 {
					copy(quads[32*i:][:4], block[2+4*i:])
				}
			case Q4_0, Q4_1:
				for i := range 4 {
					copy(quads[32*i:][:4], block[len(block)-16+4*i:])
				}
			default:
				putFours(quads, codes)
				if l.codes > 16 {
					putHigh(dst[l.codes-32*highQuads(f):], lane, codes, f)
				}
			}
		}
	}
}

// putFours stores the low four bits of 32 codes.
func putFours(quads []byte, codes []int16) {
	for i := range 4 {
		to := quads[32*i:][:4]
		for j := range to {
			to[j] = byte(codes[4*i+j])&15 | byte(codes[16+4*i+j])<<4
		}
	}
}

// highQuads is how many quads of an output hold the bits of codes above the low four: a
// byte has one bit of eight codes, or two of four.
func highQuads(f Format) int {
	if f == Q6_K {
		return 2
	}
	return 1
}

// putHigh stores the other bits: of column 4g+j the fifth in bit g of byte j, of
// Q6_K the two in bits 2(g%4) of byte j of the quad g/4.
func putHigh(dst []byte, lane int, codes []int16, f Format) {
	for g := range 8 {
		at, shift := 0, g
		if f == Q6_K {
			at, shift = 32*(g/4), 2*(g%4)
		}
		for j := range 4 {
			dst[at+4*lane+j] |= byte(codes[4*g+j]) >> 4 << shift
		}
	}
}

// unpackCodes sets the codes of a block as they are stored, without an offset; those of
// Q8_0 are signed.
func unpackCodes(codes []int16, f Format, b []byte) {
	switch f {
	case Q8_0:
		for i, q := range b[2:34] {
			codes[i] = int16(int8(q))
		}
	case Q4_0, Q4_1:
		for i, q := range b[len(b)-16:] {
			codes[i], codes[i+16] = int16(q&15), int16(q>>4)
		}
	case Q5_0, Q5_1:
		low := b[len(b)-16:]
		high := binary.LittleEndian.Uint32(b[len(b)-20:])
		for i := range 32 {
			codes[i] = int16(five(high, low, i))
		}
	case Q4_K, Q5_K:
		qs := b[len(b)-128:]
		for i := range codes {
			codes[i] = int16(qs[i/64*32+i%32] >> (i / 32 % 2 * 4) & 15)
			if f == Q5_K {
				codes[i] |= int16(b[16+i%32]>>(i/32)&1) << 4
			}
		}
	case Q6_K:
		for i := range codes {
			n, part, at := i/128, i/32%4, i%32
			low := b[64*n+part%2*32+at] >> (part / 2 * 4) & 15
			codes[i] = int16(low | b[128+32*n+at]>>(2*part)&3<<4)
		}
	}
}

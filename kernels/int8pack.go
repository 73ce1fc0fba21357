package kernels

import "encoding/binary"

// Kernels for rounded activations read eight outputs at once, or sixteen, a lane each,
// so that nothing is added across lanes. For that, once at the start, the weights of so
// many outputs are laid side by side, 32 columns at a time: the outputs' scales and
// minima as they are stored; of codes of more than four bits the higher ones; then,
// for i = 0 … 3, of each output four bytes with the low four bits of the codes
// 4i … 4i+3, and above them of 16+4i … 19+4i. Codes of eight bits are four bytes of
// each output for i = 0 … 7. A k-quant has the head of its 256 columns first, and the
// integer scales and minima of 32, a byte each: of Q4_K 2.8 % and of Q5_K 2.3 % more
// bytes than it is stored in, of Q6_K, as of the other formats, none.

// interleavedBytes are those of one output: what 256 columns of a k-quant have in
// front, what 32 columns take, and what they take before their codes.
var interleavedBytes = [len(layouts)]struct{ head, bytes, codes int }{
	Q8_0: {0, 34, 2}, Q4_0: {0, 18, 2}, Q4_1: {0, 20, 4}, Q5_0: {0, 22, 6}, Q5_1: {0, 24, 8},
	Q4_K: {4, 18, 2}, Q5_K: {4, 22, 6}, Q6_K: {2, 26, 10},
}

// groupBytes is the size of a group of so many outputs.
func groupBytes(f Format, cols, outs int) int {
	l := &interleavedBytes[f]
	return outs * (cols/f.BlockLen()*l.head + cols/int8Block*l.bytes)
}

// interleave lays outputs [from, to) of w out in groups of outs, which are zeros; the
// last may have fewer.
func interleave(groups []byte, w Weight, from, to, outs int) {
	size := groupBytes(w.Format, w.Cols, outs)
	for o := from; o < to; o++ {
		interleaveRow(groups[o/outs*size:][:size], o%outs, outs, w.Format, w.Row(o))
	}
}

// interleaveRow puts the row of one output into its lane, of outs.
func interleaveRow(group []byte, lane, outs int, f Format, row []byte) {
	l := &interleavedBytes[f]
	for ; len(row) > 0; row = row[f.BlockBytes():] {
		block := row[:f.BlockBytes()]
		switch f {
		case Q4_K, Q5_K:
			copy(group[2*lane:], block[:2])
			copy(group[2*(outs+lane):], block[2:4])
		case Q6_K:
			copy(group[2*lane:], block[208:210])
		}
		group = group[outs*l.head:]
		for j := range f.BlockLen() / int8Block {
			interleaveBlock(group[:outs*l.bytes], lane, outs, f, block, j)
			group = group[outs*l.bytes:]
		}
	}
}

// interleaveBlock puts the j-th 32 columns of a block into the lane of an output, of outs.
func interleaveBlock(dst []byte, lane, outs int, f Format, block []byte, j int) {
	begin, next := outs*interleavedBytes[f].codes, 4*outs
	quads := dst[begin+4*lane:]
	if f.BlockLen() == int8Block {
		copy(dst[2*lane:], block[:2])
	}
	switch f {
	case Q8_0:
		for i := range 8 {
			put32(quads[next*i:], word32(block[2+4*i:]))
		}
		return
	case Q4_1, Q5_1:
		copy(dst[2*(outs+lane):], block[2:4])
	case Q4_K, Q5_K:
		dst[lane], dst[outs+lane] = scaleMinK4(j, block[4:16])
		putFours(quads, next, block[len(block)-128+j/2*32:], j%2 == 1)
	case Q6_K:
		dst[lane], dst[outs+lane] = block[192+2*j], block[193+2*j]
		putFours(quads, next, block[j/4*64+j%2*32:], j%4 >= 2)
	}
	switch f {
	case Q4_0, Q4_1, Q5_0, Q5_1:
		for i := range 4 {
			put32(quads[next*i:], word32(block[len(block)-16+4*i:]))
		}
	}
	// What codes have above four bits: of column 4g+i the fifth in bit g of byte i, of
	// Q6_K two in bits 2(g%4) of byte i of the quad g/4.
	switch f {
	case Q5_0, Q5_1:
		high := word32(block[len(block)-20:])
		for i := range 4 {
			dst[begin-next+4*lane+i] = eachFourth(high >> i)
		}
	case Q5_K:
		var high uint32
		for g := range 8 {
			high |= word32(block[16+4*g:]) >> j & 0x01010101 << g
		}
		put32(dst[begin-next+4*lane:], high)
	case Q6_K:
		for half := range 2 {
			var high uint32
			for g := range 4 {
				high |= word32(block[128+j/4*32+half*16+4*g:]) >> (2 * (j % 4)) & 0x03030303 << (2 * g)
			}
			put32(dst[begin-(2-half)*next+4*lane:], high)
		}
	}
}

// putFours stores the low four bits of 32 codes, which are the lower or the upper half
// of 32 bytes, in quads that are next bytes apart.
func putFours(quads []byte, next int, codes []byte, upper bool) {
	for i := range 4 {
		a, b := word32(codes[4*i:]), word32(codes[16+4*i:])
		if upper {
			put32(quads[next*i:], a>>4&0x0f0f0f0f|b&0xf0f0f0f0)
		} else {
			put32(quads[next*i:], a&0x0f0f0f0f|b&0x0f0f0f0f<<4)
		}
	}
}

// eachFourth gathers bits 0, 4, … 28 of v.
func eachFourth(v uint32) byte {
	v &= 0x11111111
	v = (v | v>>3) & 0x03030303
	v = (v | v>>6) & 0x000f000f
	return byte(v | v>>12)
}

func word32(b []byte) uint32   { return binary.LittleEndian.Uint32(b) }
func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }

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

package kernels

import (
	"encoding/binary"
	"math"
)

// Decode widens len(dst) stored values of format f from src to float32; the
// block formats follow ggml-quants.c's dequantize_row_* of llama.cpp.
func Decode(dst []float32, f Format, src []byte) {
	switch f {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = Half(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	default:
		n, size := f.BlockLen(), f.BlockBytes()
		block := blockDecoders[f]
		for len(dst) > 0 {
			block(dst[:n], src[:size])
			dst, src = dst[n:], src[size:]
		}
	}
}

var blockDecoders = [...]func(dst []float32, b []byte){
	Q8_0: decodeQ8_0, Q4_0: decodeQ4_0, Q4_1: decodeQ4_1, Q5_0: decodeQ5_0, Q5_1: decodeQ5_1,
	Q4_K: decodeQ4_K, Q5_K: decodeQ5_K, Q6_K: decodeQ6_K,
}

func half(b []byte) float32 { return Half(binary.LittleEndian.Uint16(b)) }

func decodeQ8_0(dst []float32, b []byte) {
	d := half(b)
	for i, q := range b[2:34] {
		dst[i] = d * float32(int8(q))
	}
}

func decodeQ4_0(dst []float32, b []byte) {
	d := half(b)
	for i, q := range b[2:18] {
		dst[i] = d * float32(int(q&15)-8)
		dst[i+16] = d * float32(int(q>>4)-8)
	}
}

func decodeQ4_1(dst []float32, b []byte) {
	d, m := half(b), half(b[2:])
	for i, q := range b[4:20] {
		dst[i] = float32(d*float32(q&15)) + m
		dst[i+16] = float32(d*float32(q>>4)) + m
	}
}

// five is code i of Q5_0 and Q5_1: high holds the fifth bits of the 32, low the
// others, two to a byte.
func five(high uint32, low []byte, i int) uint8 {
	return low[i%16]>>(i/16*4)&15 | uint8(high>>i&1)<<4
}

func decodeQ5_0(dst []float32, b []byte) {
	d, high := half(b), binary.LittleEndian.Uint32(b[2:])
	for i := range dst {
		dst[i] = d * float32(int(five(high, b[6:22], i))-16)
	}
}

func decodeQ5_1(dst []float32, b []byte) {
	d, m, high := half(b), half(b[2:]), binary.LittleEndian.Uint32(b[4:])
	for i := range dst {
		dst[i] = float32(d*float32(five(high, b[8:24], i))) + m
	}
}

// scaleMinK4 unpacks the 6-bit scale and minimum of sub-block j from the 12
// bytes of Q4_K and Q5_K (ggml-quants.c, get_scale_min_k4).
func scaleMinK4(j int, q []byte) (scale, minimum uint8) {
	if j < 4 {
		return q[j] & 63, q[j+4] & 63
	}
	return q[j+4]&15 | q[j-4]>>6<<4, q[j+4]>>4 | q[j]>>6<<4
}

func decodeQ4_K(dst []float32, b []byte) {
	d, dmin := half(b), half(b[2:])
	scales, qs := b[4:16], b[16:144]
	for j := range 8 {
		sc, mn := scaleMinK4(j, scales)
		ds, dm := d*float32(sc), dmin*float32(mn)
		q := qs[j/2*32:][:32]
		shift := uint(j % 2 * 4)
		for i, v := range q {
			dst[32*j+i] = float32(ds*float32(v>>shift&15)) - dm
		}
	}
}

func decodeQ5_K(dst []float32, b []byte) {
	d, dmin := half(b), half(b[2:])
	scales, qh, qs := b[4:16], b[16:48], b[48:176]
	for j := range 8 {
		sc, mn := scaleMinK4(j, scales)
		ds, dm := d*float32(sc), dmin*float32(mn)
		q := qs[j/2*32:][:32]
		shift := uint(j % 2 * 4)
		for i, v := range q {
			five := v>>shift&15 | qh[i]>>j&1<<4
			dst[32*j+i] = float32(ds*float32(five)) - dm
		}
	}
}

func decodeQ6_K(dst []float32, b []byte) {
	ql, qh, sc, d := b[:128], b[128:192], b[192:208], half(b[208:])
	for n := range 2 { // two halves of 128 values
		l, h, s, y := ql[64*n:], qh[32*n:], sc[8*n:], dst[128*n:]
		for i := range 32 {
			k := i / 16
			q1 := int(l[i]&15|h[i]>>0&3<<4) - 32
			q2 := int(l[i+32]&15|h[i]>>2&3<<4) - 32
			q3 := int(l[i]>>4|h[i]>>4&3<<4) - 32
			q4 := int(l[i+32]>>4|h[i]>>6&3<<4) - 32
			y[i] = d * float32(int8(s[k])) * float32(q1)
			y[i+32] = d * float32(int8(s[k+2])) * float32(q2)
			y[i+64] = d * float32(int8(s[k+4])) * float32(q3)
			y[i+96] = d * float32(int8(s[k+6])) * float32(q4)
		}
	}
}

// Half widens an IEEE 754 binary16 value, subnormals, infinities and NaN
// included.
func Half(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10&31), uint32(h&0x3ff)
	switch exp {
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case 0:
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

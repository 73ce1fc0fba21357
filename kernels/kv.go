package kernels

import (
	"encoding/binary"
	"fmt"
)

// BlockLen is the number of positions in one block of a key-value cache.
const BlockLen = 32

// KV is one layer's keys and values in blocks of BlockLen positions, in a format
// that KVFormats lists.
//
// In F32 block b of K starts at b*BlockSize() and is laid out
// [Heads][HeadDim][BlockLen], so that scores run across positions; block b of V is
// [Heads][BlockLen][HeadDim]. In F16 and Q8_0 they lie so in Stored, in blocks of
// BlockBytes(). There each position of a head is rounded once, as it is
// stored, by itself: what attention reads depends on nothing else, and is the
// float32 that the stored value stands for.
//
// A position of a head in Q8_0 is made of groups of 32 values, the last of which
// may have fewer, with a binary16 scale for each. Of a value the scale of a group
// stands before its codes, as in a row of that format; of keys the codes are
// [HeadDim][BlockLen], and behind them the scales [groups][BlockLen].
type KV struct {
	Heads, HeadDim int // key-value heads
	Format         Format
	K, V           []float32 // of F32
	Stored         []byte    // of the others: the blocks of keys, and behind them those of values
	// Pages tells at which of the pages of keys and of values, of one block each, a
	// block lies; nil: at that of its own number.
	Pages []int32
}

// KVFormats lists what keys and values may be stored in.
func KVFormats() []Format { return []Format{F32, F16, Q8_0} }

// NewKV allocates keys and values of so many blocks.
func NewKV(f Format, heads, headDim, blocks int) KV {
	c := KV{Heads: heads, HeadDim: headDim, Format: f}
	if f == F32 {
		c.K, c.V = make([]float32, blocks*c.BlockSize()), make([]float32, blocks*c.BlockSize())
	} else {
		c.Stored = make([]byte, 2*blocks*c.BlockBytes())
	}
	return c
}

// KVOf views m, [2, blocks*BlockSize], as keys and values.
func KVOf(m Matrix, heads, headDim int) KV {
	return KV{Heads: heads, HeadDim: headDim, K: m.Row(0), V: m.Row(1)}
}

// BlockSize is the number of values in one block of keys, and of values.
func (c KV) BlockSize() int { return c.Heads * c.HeadDim * BlockLen }

// BlockBytes is the size of one block of keys, and of values, in bytes.
func (c KV) BlockBytes() int { return c.Heads * BlockLen * c.rowBytes() }

// groups is the number of scales of one position of a head in Q8_0.
func (c KV) groups() int { return (c.HeadDim + 31) / 32 }

// rowBytes is the size of one position of a head.
func (c KV) rowBytes() int {
	switch c.Format {
	case F32:
		return 4 * c.HeadDim
	case F16:
		return 2 * c.HeadDim
	case Q8_0:
		return c.HeadDim + 2*c.groups()
	}
	panic(fmt.Sprintf("kernels: keys and values are not stored in %s", c.Format))
}

// page is the page of a block.
func (c KV) page(block int32) int {
	if c.Pages != nil {
		block = c.Pages[block]
	}
	return int(block)
}

// start is where a block begins in K and V.
func (c KV) start(block int32) int { return c.page(block) * c.BlockSize() }

// stored are the keys and values of one head of a block, as they are stored in
// another format than F32.
func (c KV) stored(block int32, head int) (keys, values []byte) {
	n := BlockLen * c.rowBytes()
	at := c.page(block)*c.BlockBytes() + head*n
	return c.Stored[at:][:n:n], c.Stored[len(c.Stored)/2+at:][:n:n]
}

// Store writes the key and value of one position, each [Heads*HeadDim], into
// slot position%BlockLen of the block.
func (c KV) Store(block int32, position int, k, v []float32) {
	slot, d := position%BlockLen, c.HeadDim
	for h := range c.Heads {
		k, v := k[h*d:][:d], v[h*d:][:d]
		if c.Format == F32 {
			base := c.start(block) + h*d*BlockLen
			for i, x := range k {
				c.K[base+i*BlockLen+slot] = x
			}
			copy(c.V[base+slot*d:][:d], v)
			continue
		}
		keys, values := c.stored(block, h)
		row := values[slot*c.rowBytes():][:c.rowBytes()]
		if c.Format == F16 {
			for i, x := range k {
				binary.LittleEndian.PutUint16(keys[2*(i*BlockLen+slot):], storedHalf(x))
			}
			for i, x := range v {
				binary.LittleEndian.PutUint16(row[2*i:], storedHalf(x))
			}
			continue
		}
		var b [34]byte
		for g := range c.groups() {
			from, to := 32*g, min(32*g+32, d)
			encodeGroup(b[:2+to-from], k[from:to])
			copy(keys[d*BlockLen+2*(g*BlockLen+slot):], b[:2])
			for i, code := range b[2 : 2+to-from] {
				keys[(from+i)*BlockLen+slot] = code
			}
			encodeGroup(row[34*g:][:2+to-from], v[from:to])
		}
	}
}

// storedHalf is ToHalf, and NaN of what a half cannot hold: softmax would pass over a
// score of -Inf, and whoever sees a NaN is told.
func storedHalf(x float32) uint16 {
	if h := ToHalf(x); h&0x7fff != 0x7c00 {
		return h
	}
	return storedNaN
}

const storedNaN = 0x7e00

// encodeGroup is Encode of up to 32 values in Q8_0. Where Encode refuses one, which is
// not finite or beyond ±65504, all of them are NaN: whoever sees them is told.
func encodeGroup(b []byte, src []float32) {
	if unquantisable(src) < 0 {
		encodeQ8_0(b, src)
		return
	}
	binary.LittleEndian.PutUint16(b, storedNaN)
}

// Load reads the key and value of one position back.
func (c KV) Load(block int32, position int, k, v []float32) {
	slot, d := position%BlockLen, c.HeadDim
	for h := range c.Heads {
		k, v := k[h*d:][:d], v[h*d:][:d]
		if c.Format == F32 {
			base := c.start(block) + h*d*BlockLen
			for i := range k {
				k[i] = c.K[base+i*BlockLen+slot]
			}
			copy(v, c.V[base+slot*d:])
			continue
		}
		keys, values := c.stored(block, h)
		row := values[slot*c.rowBytes():][:c.rowBytes()]
		if c.Format == F16 {
			for i := range k {
				k[i], v[i] = half(keys[2*(i*BlockLen+slot):]), half(row[2*i:])
			}
			continue
		}
		for i := range k {
			k[i] = half(keys[d*BlockLen+2*(i/32*BlockLen+slot):]) * float32(int8(keys[i*BlockLen+slot]))
		}
		widenRow(v, row)
	}
}

// widenRow widens the value of one position of a head in Q8_0.
func widenRow(dst []float32, row []byte) {
	for i := range dst {
		group := row[34*(i/32):]
		dst[i] = half(group) * float32(int8(group[2+i%32]))
	}
}

// wideLen is the length of what block widens into.
func (c KV) wideLen() int {
	if c.Format == F32 {
		return 0
	}
	return 2 * c.HeadDim * BlockLen
}

// block are the keys, [HeadDim][BlockLen], and values, [BlockLen][HeadDim], of one
// head of a block: where they lie or, in another format than F32, widened into
// wide.
func (c KV) block(block int32, head int, wide []float32) (keys, values []float32) {
	n := c.HeadDim * BlockLen
	if c.Format == F32 {
		at := c.start(block) + head*n
		return c.K[at:][:n], c.V[at:][:n]
	}
	keys, values = wide[:n], wide[n:][:n]
	k, v := c.stored(block, head)
	switch {
	case c.Format == F16:
		active.widen(keys, F16, k)
		active.widen(values, F16, v)
	case c.HeadDim%32 == 0:
		c.widenKeys(keys, k)
		active.widen(values, Q8_0, v)
	default: // whose last group has fewer than 32
		c.widenKeys(keys, k)
		for slot := range BlockLen {
			widenRow(values[slot*c.HeadDim:][:c.HeadDim], v[slot*c.rowBytes():])
		}
	}
	return keys, values
}

// widenKeys widens keys of Q8_0.
func (c KV) widenKeys(dst []float32, src []byte) {
	codes, scales := src[:c.HeadDim*BlockLen], src[c.HeadDim*BlockLen:]
	for g := range c.groups() {
		from, to := 32*g*BlockLen, min(32*g+32, c.HeadDim)*BlockLen
		codes, scales := codes[from:to], scales[2*g*BlockLen:][:2*BlockLen]
		if v := active.vectors; v != nil {
			v.scaledKeys(&dst[from], &codes[0], &scales[0], len(codes)/BlockLen)
			continue
		}
		for i, code := range codes {
			dst[from+i] = half(scales[2*(i%BlockLen):]) * float32(int8(code))
		}
	}
}

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The gradients' product c += a·b, of tiles that are packed as planes: a tile
// of a is 16 rows of 32 terms of the sum, word k of a row holding terms k and
// k+16; a tile of b is those 32 terms of 16 columns, row k holding terms k and
// k+16. c is multiplied where it lies, 32 × 32 at a time: four tiles, so that
// the tile unit never waits for a sum, and loads half as many operands as it
// multiplies.

// outerOrder lists, by the planes of b, the pairs of planes of a and b, such
// that most share one with the pair before.
var outerOrder = [][][2]int{
	1: {{2, 0}, {1, 0}, {0, 0}},
	2: {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 0}},
	3: {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}},
}

func amxGrad() {
	for planes := 1; planes <= 3; planes++ {
		amxOuter(planes)
	}
	for planes := 1; planes <= 3; planes++ {
		amxPairs(planes)
	}
	amxPackColumns()
}

func amxOuter(planes int) {
	TEXT(fmt.Sprintf("amxOuter%d", planes), NOSPLIT, "func(c *float32, cStride int, a *byte, aTile int, b *byte, blocks, cNext, aNext, bNext, count int)")
	Doc("for range count {",
		"\tfor k := range blocks { c[32][32] += Σ a[k]·b[k] planes }",
		"\tc, a, b = c + cNext, a + aNext, b + bNext",
		"}",
		fmt.Sprintf("a is [2][blocks][3 planes] tiles, the halves aTile bytes apart; b is [blocks][2][%d planes] tiles.", planes))
	Pragma("noescape")
	tileConfig()
	c, cs, low := reg.RAX, reg.RBX, reg.RCX
	a0, a1, b := reg.RDX, reg.RSI, reg.RDI
	stride, k := reg.R8, reg.R9
	a, bs, tmp := reg.R10, reg.R11, reg.R12
	blocks, count := reg.R13, reg.R14
	Load(Param("c"), c)
	Load(Param("cStride"), cs)
	Load(Param("a"), a)
	Load(Param("b"), bs)
	Load(Param("blocks"), blocks)
	Load(Param("count"), count)
	MOVQ(U32(8), stride) // 64 when scaled by 8
	Label("tile")
	MOVQ(cs, low)
	SHLQ(Imm(4), low)
	ADDQ(c, low)
	MOVQ(a, a0)
	MOVQ(a, a1)
	Load(Param("aTile"), tmp)
	ADDQ(tmp, a1)
	MOVQ(bs, b)
	MOVQ(blocks, k)
	cAt := []Mem{
		{Base: c, Index: cs, Scale: 1}, {Base: c, Disp: 64, Index: cs, Scale: 1},
		{Base: low, Index: cs, Scale: 1}, {Base: low, Disp: 64, Index: cs, Scale: 1},
	}
	for i, m := range cAt {
		tileLoad(byte(i), m)
	}
	Label("block")
	p, q := -1, -1
	for _, pair := range outerOrder[planes] {
		// Tiles 4 and 5 are of a, 6 and 7 of b.
		if pair[0] != p {
			p = pair[0]
			tileLoad(4, Mem{Base: a0, Disp: 1024 * p, Index: stride, Scale: 8})
		}
		if pair[1] != q {
			tileLoad(6, Mem{Base: b, Disp: 1024 * pair[1], Index: stride, Scale: 8})
		}
		tileDot(0, 4, 6)
		if pair[1] != q {
			q = pair[1]
			tileLoad(7, Mem{Base: b, Disp: 1024 * (planes + q), Index: stride, Scale: 8})
		}
		tileDot(1, 4, 7)
		tileLoad(5, Mem{Base: a1, Disp: 1024 * p, Index: stride, Scale: 8})
		tileDot(2, 5, 6)
		tileDot(3, 5, 7)
	}
	ADDQ(U32(3072), a0)
	ADDQ(U32(3072), a1)
	ADDQ(U32(uint32(2048*planes)), b)
	DECQ(k)
	JNE(LabelRef("block"))
	for i, m := range cAt {
		tileStore(m, byte(i))
	}
	Load(Param("cNext"), tmp)
	ADDQ(tmp, c)
	Load(Param("aNext"), tmp)
	ADDQ(tmp, a)
	Load(Param("bNext"), tmp)
	ADDQ(tmp, bs)
	DECQ(count)
	JNE(LabelRef("tile"))
	tileRelease()
	RET()
}

// amxPairs generates the packing of one row of words of b's tiles.
func amxPairs(planes int) {
	TEXT(fmt.Sprintf("amxPairs%d", planes), NOSPLIT, "func(dst *byte, lo, hi *float32, next, n int)")
	Doc(fmt.Sprintf("dst[n][2][%d planes] = words of lo (lower half) and hi, 32 columns at a time, next bytes apart;", planes),
		"a tile is 1024 bytes.")
	Pragma("noescape")
	dst, los, his, next, n := pointer("dst"), pointer("lo"), pointer("hi"), pointer("next"), pointer("n")
	mask := upperHalves()
	Label("loop")
	for j := range 2 {
		lo, hi := ZMM(), ZMM()
		VMOVUPS(Mem{Base: los, Disp: 64 * j}, lo)
		VMOVUPS(Mem{Base: his, Disp: 64 * j}, hi)
		split(lo, hi, mask, planes, func(plane int) Mem { return Mem{Base: dst, Disp: 1024 * (planes*j + plane)} })
	}
	ADDQ(U32(128), los)
	ADDQ(U32(128), his)
	ADDQ(next, dst)
	DECQ(n)
	JNE(LabelRef("loop"))
	end()
}

// amxPackColumns generates the packing of a's tiles from its transpose.
func amxPackColumns() {
	TEXT("amxPackColumns", 0, "func(dst *byte, x *float32, xStride, n int)")
	Doc("dst[n][3 planes] = tiles of the transpose of n × 32 rows of 16 columns.")
	Pragma("noescape")
	local := AllocLocal(3072 + 64)
	dst, x, xs, n := pointer("dst"), pointer("x"), pointer("xStride"), pointer("n")
	s, half, high := GP64(), GP64(), GP64()
	LEAQ(local, s)
	ADDQ(Imm(63), s)
	ANDQ(I8(-64), s)
	MOVQ(xs, half)
	SHLQ(Imm(4), half)
	mask := upperHalves()
	Label("block")
	MOVQ(x, high)
	ADDQ(half, high)
	for k := range 16 {
		lo, hi := ZMM(), ZMM()
		VMOVUPS(Mem{Base: x}, lo)
		VMOVUPS(Mem{Base: high}, hi)
		split(lo, hi, mask, 3, func(plane int) Mem { return Mem{Base: s, Disp: 1024*plane + 64*k} })
		ADDQ(xs, x)
		ADDQ(xs, high)
	}
	ADDQ(half, x)
	for plane := range 3 {
		for c := range 4 {
			for i, v := range transposeQuad(s, 1024*plane, c) {
				VMOVUPS(v, Mem{Base: dst, Disp: 1024*plane + 64*(4*c+i)})
			}
		}
	}
	ADDQ(U32(3072), dst)
	DECQ(n)
	JNE(LabelRef("block"))
	end()
}

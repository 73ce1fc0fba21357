package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// outers generates the outer-product tiles of the gradients: rows of c by so
// many vectors of columns, in registers while k runs.
func outers(s isa) {
	width := 3
	if s.wide {
		width = 4
	}
	for r := 1; r <= s.rows; r++ {
		outer(s, r, width, false)
		outer(s, r, 1, true)
	}
}

// outerPanel generates the copy that lays a tile's columns side by side.
func outerPanel(s isa, width int) {
	TEXT("outerPanel"+s.suffix, NOSPLIT, "func(dst, b *float32, bStride, k int)")
	Doc(fmt.Sprintf("for i := range k { copy(dst[i][:%d], b[i]) } // dst is [k][%d], the stride of b in bytes", width*s.lanes, width*s.lanes))
	Pragma("noescape")
	dst, b, bs, k := pointer("dst"), pointer("b"), pointer("bStride"), pointer("k")
	Label("loop")
	for i := range width {
		VMOVUPS(s.load(Mem{Base: b, Disp: i * s.bytes()}), Mem{Base: dst, Disp: i * s.bytes()})
	}
	ADDQ(bs, b)
	ADDQ(U32(uint32(width*s.bytes())), dst)
	DECQ(k)
	JNE(LabelRef("loop"))
	end()
}

func outer(s isa, rows, width int, masked bool) {
	name, doc := fmt.Sprintf("outer%dx%d%s", rows, width, s.suffix), fmt.Sprintf("%d columns", width*s.lanes)
	if masked {
		name, doc = fmt.Sprintf("outer%dxN%s", rows, s.suffix), fmt.Sprintf("n ≤ %d columns", s.lanes)
	}
	TEXT(name, NOSPLIT, "func(c *float32, cStride int, a *float32, aRow, aStep int, b *float32, bStride, k, n int)")
	Doc(fmt.Sprintf("for r := range %d { for i := range k { c[r] += a[r][i] * b[i] } } // fused, %s", rows, doc),
		"with a[r][i] at r*aRow + i*aStep; strides in bytes.")
	Pragma("noescape")
	c, cs := pointer("c"), pointer("cStride")
	a, ar, step := pointer("a"), pointer("aRow"), pointer("aStep")
	b, bs, k := pointer("b"), pointer("bStride"), pointer("k")
	l := lane{s: s}
	if masked {
		n := pointer("n")
		if s.wide {
			one, m := GP64(), K()
			MOVQ(I32(-1), one)
			BZHIQ(n, one, one)
			KMOVW(one.As32(), m)
			l.mask = m
		} else {
			p, m := GP64(), YMM()
			LEAQ(tailMask(), p)
			NEGQ(n)
			VMOVUPS(Mem{Base: p, Index: n, Scale: 4, Disp: 32}, m)
			l.mask = m
		}
	}
	cAt, aAt := strided(c, cs, rows), strided(a, ar, rows)
	get := func(m Mem) vec {
		v := s.newRegister()
		switch {
		case !masked:
			VMOVUPS(m, v)
		case s.wide:
			VMOVUPS_Z(m, l.mask, v)
		default:
			VMASKMOVPS(m, l.mask, v)
		}
		return v
	}
	acc := make([][]vec, rows)
	for r := range acc {
		for j := range width {
			acc[r] = append(acc[r], get(cAt.at(r).Offset(j*s.bytes())))
		}
	}
	loopStart("loop")
	v := make([]vec, width)
	for j := range v {
		v[j] = get(Mem{Base: b, Disp: j * s.bytes()})
	}
	for r := range acc {
		x := s.newRegister()
		VBROADCASTSS(aAt.at(r), x)
		for j := range v {
			VFMADD231PS(v[j], x, acc[r][j])
		}
	}
	ADDQ(bs, b)
	for _, p := range aAt.bases {
		ADDQ(step, p)
	}
	DECQ(k)
	JNE(LabelRef("loop"))
	for r := range acc {
		for j := range width {
			m := cAt.at(r).Offset(j * s.bytes())
			switch {
			case !masked:
				VMOVUPS(acc[r][j], m)
			case s.wide:
				VMOVUPS(acc[r][j], l.mask, m)
			default:
				VMASKMOVPS(acc[r][j], l.mask, m)
			}
		}
	}
	end()
}

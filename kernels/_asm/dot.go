package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dots generates the dot tiles: rows of x by rows of w, all partial sums in
// registers, folded at the end.
func dots(s isa) {
	for r := 1; r <= s.rows; r++ {
		for _, o := range s.outs {
			dot(s, r, o)
		}
	}
}

// tailMask places, for AVX2, a table of lane masks: eight -1, eight 0.
func tailMask() Mem {
	if ref, ok := constants["tail"]; ok {
		return ref
	}
	m := GLOBL("tailMask", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(0xffffffff))
	}
	for i := 8; i < 16; i++ {
		DATA(4*i, U32(0))
	}
	constants["tail"] = m
	return m
}

var constants = map[string]Mem{}

func dot(s isa, rows, outs int) {
	TEXT(fmt.Sprintf("dot%dx%d%s", rows, outs, s.suffix), NOSPLIT,
		"func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add int)")
	Doc(fmt.Sprintf("for r := range %d { for o := range %d {", rows, outs),
		fmt.Sprintf("\tvar s [%d]float32", s.lanes),
		fmt.Sprintf("\tfor i := range n { s[i%%%d] += x[r][i]*w[o][i] } // fused", s.lanes),
		"\tdst[r][o] = fold(s) // + dst[r][o] if add is not 0",
		"} }",
		"with strides in bytes.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	ds := Load(Param("dstStride"), GP64())
	x := Load(Param("x"), GP64())
	xs := Load(Param("xStride"), GP64())
	w := Load(Param("w"), GP64())
	ws := Load(Param("wStride"), GP64())
	n := Load(Param("n"), GP64())

	xRow := strided(x, xs, rows)
	wRow := strided(w, ws, outs)
	whole := rows == s.rows && outs == s.outs[0] && s.wide
	if whole {
		xRow = strided(x, xs, 2*rows)
	}

	acc := make([][]reg.VecVirtual, rows)
	for r := range acc {
		acc[r] = make([]reg.VecVirtual, outs)
		for o := range acc[r] {
			acc[r][o] = s.newRegister()
			if s.wide {
				VPXORD(acc[r][o], acc[r][o], acc[r][o])
			} else {
				VXORPS(acc[r][o], acc[r][o], acc[r][o])
			}
		}
	}
	advance := func() {
		for _, p := range append(xRow.bases, wRow.bases...) {
			ADDQ(Imm(uint64(s.bytes())), p)
		}
	}
	SUBQ(Imm(uint64(s.lanes)), n)
	JLT(LabelRef("tail"))
	loopStart("loop")
	wv := make([]reg.VecVirtual, outs)
	for o := range wv {
		wv[o] = s.newRegister()
		VMOVUPS(wRow.at(o), wv[o])
		if rows <= 2 {
			PREFETCHT0(wRow.at(o).Offset(1024))
		}
	}
	for r := range rows {
		xv := s.newRegister()
		VMOVUPS(xRow.at(r), xv)
		if whole {
			PREFETCHT0(xRow.at(rows + r))
		}
		for o := range wv {
			VFMADD231PS(xv, wv[o], acc[r][o])
		}
	}
	advance()
	SUBQ(Imm(uint64(s.lanes)), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(uint64(s.lanes)), n)
	JEQ(LabelRef("fold"))
	if s.wide {
		one := GP64()
		MOVQ(I32(-1), one)
		m := GP64()
		BZHIQ(n, one, m)
		k := K()
		KMOVW(m.As32(), k)
		for o := range wv {
			wv[o] = s.newRegister()
			VMOVUPS_Z(wRow.at(o), k, wv[o])
		}
		for r := range rows {
			xv := s.newRegister()
			VMOVUPS_Z(xRow.at(r), k, xv)
			for o := range wv {
				VFMADD231PS(xv, wv[o], acc[r][o])
			}
		}
	} else {
		mask := YMM()
		p := GP64()
		LEAQ(tailMask(), p)
		NEGQ(n)
		VMOVUPS(Mem{Base: p, Index: n, Scale: 4, Disp: 32}, mask)
		for r := range rows {
			xv := YMM()
			VMASKMOVPS(xRow.at(r), mask, xv)
			for o := range outs {
				v := YMM()
				VMASKMOVPS(wRow.at(o), mask, v)
				VFMADD231PS(xv, v, acc[r][o])
			}
		}
	}
	Label("fold")
	add := Load(Param("add"), GP64())
	for r := range rows {
		sum := s.fold4(acc[r])
		TESTQ(add, add)
		skip := fmt.Sprintf("store%d", r)
		JEQ(LabelRef(skip))
		addFrom(dst, outs, sum)
		Label(skip)
		storeTo(dst, outs, sum)
		if r < rows-1 {
			ADDQ(ds, dst)
		}
	}
	VZEROUPPER()
	RET()
}

// rowsAt addresses rows of a fixed stride with a base for every three.
type rowsAt struct {
	bases  []reg.GPVirtual
	stride reg.GPVirtual
}

func strided(base, stride reg.Register, n int) rowsAt {
	t := rowsAt{stride: stride.(reg.GPVirtual)}
	t.bases = append(t.bases, base.(reg.GPVirtual))
	for i := 3; i < n; i += 3 {
		p := GP64()
		LEAQ(Mem{Base: t.bases[len(t.bases)-1], Index: stride, Scale: 2}, p)
		ADDQ(stride, p)
		t.bases = append(t.bases, p)
	}
	return t
}

func (t rowsAt) at(i int) Mem {
	m := Mem{Base: t.bases[i/3]}
	if i%3 > 0 {
		m.Index, m.Scale = t.stride, uint8(i%3)
	}
	return m
}

// fold sums each register's lanes, i with i+8, i+4, i+2, i+1 in this order,
// and returns the sums side by side.
func fold(s isa, v []reg.VecVirtual) reg.VecVirtual {
	x := make([]reg.VecVirtual, len(v))
	for i := range v {
		y := YMM()
		if s.wide {
			VEXTRACTF64X4(Imm(1), v[i], y)
			VADDPS(v[i].AsY(), y, y)
		} else {
			y = v[i]
		}
		x[i] = XMM()
		if s.wide {
			VEXTRACTF32X4(Imm(1), y, x[i])
		} else {
			VEXTRACTF128(Imm(1), y, x[i])
		}
		VADDPS(y.AsX(), x[i], x[i])
	}
	for len(x) < 4 {
		x = append(x, x[len(x)-1])
	}
	pair := func(a, b reg.VecVirtual) reg.VecVirtual {
		lo, hi := XMM(), XMM()
		VUNPCKLPD(b, a, lo)
		VUNPCKHPD(b, a, hi)
		VADDPS(hi, lo, lo)
		return lo
	}
	ab := pair(x[0], x[1])
	cd := ab
	if len(v) > 2 {
		cd = pair(x[2], x[3])
	}
	even, odd := XMM(), XMM()
	VSHUFPS(Imm(0x88), cd, ab, even)
	VSHUFPS(Imm(0xdd), cd, ab, odd)
	VADDPS(odd, even, even)
	return even
}

func addFrom(p reg.Register, n int, sum reg.VecVirtual) {
	m := Mem{Base: p}
	t := XMM()
	switch n {
	case 1:
		VMOVSS(m, t)
	case 2:
		VMOVSD(m, t)
	case 3:
		VMOVSD(m, t)
		VINSERTPS(Imm(0x20), m.Offset(8), t, t)
	case 4:
		VMOVUPS(m, t)
	}
	VADDPS(t, sum, sum)
}

func storeTo(p reg.Register, n int, sum reg.VecVirtual) {
	m := Mem{Base: p}
	switch n {
	case 1:
		VMOVSS(sum, m)
	case 2:
		VMOVLPS(sum, m)
	case 3:
		VMOVLPS(sum, m)
		VEXTRACTPS(Imm(2), sum, m.Offset(8))
	case 4:
		VMOVUPS(sum, m)
	}
}

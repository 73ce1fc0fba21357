package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// lanes generates the dot tiles of many rows, which have outputs in the lanes of a
// vector: a partial sum after the other, of which there are as many as a dot tile has
// lanes, so nothing is folded across lanes. Sums, their order and so their bits are those
// of a dot tile.
func lanes(s isa) {
	for rows := 1; rows <= laneRows; rows++ {
		laneTile(s, rows)
	}
	lanePack(s)
}

const (
	laneRows = 6
	laneOuts = 16 // of two vectors
)

func laneTile(s isa, rows int) {
	TEXT(fmt.Sprintf("lanes%d%s", rows, s.suffix), NOSPLIT,
		"func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add, groups int, sums *float32)")
	Doc(fmt.Sprintf("for range groups { for r := range %d { for o := range %d {", rows, laneOuts),
		"\tvar s [8]float32",
		"\tfor i := range 8*n { s[i%8] += x[r][i]*w[i%8][i/8][o] } // fused",
		"\tdst[r][o] = fold(s) // + dst[r][o] if add is not 0",
		fmt.Sprintf("} }; x and dst: the next %d rows }", rows),
		"with strides in bytes; wStride is that of w[i]. sums has room for three tiles.")
	Pragma("noescape")
	dst, ds, x, xs := pointer("dst"), pointer("dstStride"), pointer("x"), pointer("xStride")
	w, sums, groups := pointer("w"), pointer("sums"), pointer("groups")
	size := 2 * s.bytes()
	acc := make([]vec, 2*rows)
	// The order of fold: a tile is put aside, or what was put aside is added to the next.
	const aside, nothing = 2, -1
	steps := []struct {
		sum int
		add []int // places
		put int
	}{
		{0, nil, 0}, {4, []int{0}, 0}, {2, nil, 1}, {6, []int{1, 0}, 0},
		{1, nil, 1}, {5, []int{1}, 1}, {3, nil, aside}, {7, []int{aside, 1, 0}, nothing},
	}
	Label("group")
	for _, step := range steps {
		place := func(at, i int) Mem { return Mem{Base: sums, Disp: (at*2*rows + i) * s.bytes()} }
		for i := range acc {
			acc[i] = s.zero()
		}
		at, b, k := GP64(), GP64(), GP64()
		LEAQ(Mem{Base: x, Disp: 4 * step.sum}, at)
		Load(Param("wStride"), b)
		IMUL3Q(Imm(uint64(step.sum)), b, b)
		ADDQ(w, b)
		Load(Param("n"), k)
		xAt := strided(at, xs, rows)
		name := fmt.Sprintf("sum%d", step.sum)
		loopStart(name)
		v := []vec{s.load(Mem{Base: b}), s.load(Mem{Base: b, Disp: s.bytes()})}
		for r := range rows {
			f := s.newRegister()
			VBROADCASTSS(xAt.at(r), f)
			VFMADD231PS(f, v[0], acc[2*r])
			VFMADD231PS(f, v[1], acc[2*r+1])
		}
		ADDQ(U32(uint32(size)), b)
		for _, p := range xAt.bases {
			ADDQ(Imm(uint64(s.bytes())), p)
		}
		DECQ(k)
		JNE(LabelRef(name))
		for _, from := range step.add {
			for i := range acc {
				VADDPS(place(from, i), acc[i], acc[i])
			}
		}
		if step.put != nothing {
			for i := range acc {
				VMOVUPS(acc[i], place(step.put, i))
			}
		}
	}
	add := Load(Param("add"), GP64())
	TESTQ(add, add)
	JEQ(LabelRef("store"))
	row := GP64()
	walk := func(f func(m Mem, v vec)) {
		MOVQ(dst, row)
		for r := range rows {
			f(Mem{Base: row}, acc[2*r])
			f(Mem{Base: row, Disp: s.bytes()}, acc[2*r+1])
			ADDQ(ds, row)
		}
	}
	walk(func(m Mem, v vec) { VADDPS(m, v, v) })
	Label("store")
	walk(func(m Mem, v vec) { VMOVUPS(v, m) })
	MOVQ(row, dst)
	for range rows {
		ADDQ(xs, x)
	}
	DECQ(groups)
	JNE(LabelRef("group"))
	end()
}

// lanePack generates the transposition of eight outputs' weights.
func lanePack(s isa) {
	TEXT("lanesPack"+s.suffix, NOSPLIT, "func(dst *float32, dstStride int, w *float32, wStride, n int)")
	Doc("for o := range 8 { for i := range 8*n { dst[i%8][i/8][o] = w[o][i] } }",
		fmt.Sprintf("with strides in bytes; dst[i] holds [n][%d].", laneOuts))
	Pragma("noescape")
	dst, ds, w, ws, n := pointer("dst"), pointer("dstStride"), pointer("w"), pointer("wStride"), pointer("n")
	in, out := strided(w, ws, 8), strided(dst, ds, 8)
	low := func(a, b vec) vec { v := YMM(); VUNPCKLPS(b, a, v); return v }
	high := func(a, b vec) vec { v := YMM(); VUNPCKHPS(b, a, v); return v }
	loopStart("loop")
	var pairs [8]vec // columns of rows 2i and 2i+1
	for i := range 4 {
		a, b := s.load(in.at(2*i)), s.load(in.at(2*i+1))
		pairs[2*i], pairs[2*i+1] = low(a, b), high(a, b)
	}
	var fours [2][4]vec // of rows 0 to 3 and 4 to 7: column i, and i+4 in the upper half
	for h := range 2 {
		for i := range 2 {
			a, b := pairs[4*h+i], pairs[4*h+2+i]
			for j, pick := range []uint64{0x44, 0xee} {
				v := YMM()
				VSHUFPS(Imm(pick), b, a, v)
				fours[h][2*i+j] = v
			}
		}
	}
	for i := range 4 {
		for j, pick := range []uint64{0x20, 0x31} {
			v := YMM()
			VPERM2F128(Imm(pick), fours[1][i], fours[0][i], v)
			VMOVUPS(v, out.at(i+4*j))
		}
	}
	for _, p := range in.bases {
		ADDQ(Imm(32), p)
	}
	for _, p := range out.bases {
		ADDQ(Imm(4*laneOuts), p)
	}
	DECQ(n)
	JNE(LabelRef("loop"))
	end()
}

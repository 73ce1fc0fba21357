package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// lanes generates the tiles of products of many rows. They have outputs in the lanes of
// vectors, and take one of a dot tile's partial sums after the other, so that nothing
// is folded across lanes: sums, their order and so their bits are those of a dot tile.
func lanes(s isa) {
	for rows := 1; rows <= 4; rows++ {
		laneTile(s, rows)
	}
	lanePack(s)
}

const (
	laneVectors = 3  // of outputs
	laneRows    = 8  // of x that lie side by side
	laneSteps   = 32 // values of a row at a time
)

func laneTile(s isa, rows int) {
	TEXT(fmt.Sprintf("lanes%d%s", rows, s.suffix), NOSPLIT,
		"func(dst *float32, dstStride int, x *float32, xStride int, w *float32, wStride, n, add int, sums *float32)")
	Doc(fmt.Sprintf("for r := range %d { for o := range %d {", rows, laneVectors*s.lanes),
		"\tvar s [8]float32",
		fmt.Sprintf("\tfor i := range %d*n { s[i%%8] += x[i%%8][i/8][r]*w[i%%8][i/8][o] } // fused", laneSteps),
		"\tdst[r][o] = fold(s) // + dst[r][o] if add is not 0",
		fmt.Sprintf("} } with strides in bytes, those of x and w being of [i%%8], where x holds [][%d] and w [][%d].", laneRows, laneVectors*s.lanes),
		"sums has room for three tiles.")
	Pragma("noescape")
	dst, ds := pointer("dst"), pointer("dstStride")
	x, xs, w, ws := pointer("x"), pointer("xStride"), pointer("w"), pointer("wStride")
	n, sums := pointer("n"), pointer("sums")
	size := laneVectors * s.bytes()
	acc := make([]vec, laneVectors*rows)
	// The order of fold: a tile is put aside, and what was put aside is added to a later one.
	const nowhere = -1
	at, b, k := GP64(), GP64(), GP64()
	for _, step := range []struct {
		sum int
		add []int
		put int
	}{
		{0, nil, 0}, {4, []int{0}, 0}, {2, nil, 1}, {6, []int{1, 0}, 0},
		{1, nil, 1}, {5, []int{1}, 1}, {3, nil, 2}, {7, []int{2, 1, 0}, nowhere},
	} {
		place := func(at, i int) Mem { return Mem{Base: sums, Disp: (at*len(acc) + i) * s.bytes()} }
		for i := range acc {
			acc[i] = s.zero()
		}
		IMUL3Q(Imm(uint64(step.sum)), xs, at)
		ADDQ(x, at)
		IMUL3Q(Imm(uint64(step.sum)), ws, b)
		ADDQ(w, b)
		MOVQ(n, k)
		name := fmt.Sprintf("sum%d", step.sum)
		loopStart(name)
		for u := range laneSteps / 8 {
			var v [laneVectors]vec
			for i := range v {
				v[i] = s.load(Mem{Base: b, Disp: u*size + i*s.bytes()})
			}
			for r := range rows {
				f := s.newRegister()
				VBROADCASTSS(Mem{Base: at, Disp: 4 * (u*laneRows + r)}, f)
				for i := range v {
					VFMADD231PS(f, v[i], acc[laneVectors*r+i])
				}
			}
		}
		ADDQ(U32(uint32(laneSteps/8*size)), b)
		ADDQ(U32(4*laneSteps), at)
		DECQ(k)
		JNE(LabelRef(name))
		for _, from := range step.add {
			for i := range acc {
				VADDPS(place(from, i), acc[i], acc[i])
			}
		}
		if step.put != nowhere {
			for i := range acc {
				VMOVUPS(acc[i], place(step.put, i))
			}
		}
	}
	walk := func(f func(m Mem, v vec)) {
		row := GP64()
		MOVQ(dst, row)
		for r := range rows {
			for i := range laneVectors {
				f(Mem{Base: row, Disp: i * s.bytes()}, acc[laneVectors*r+i])
			}
			ADDQ(ds, row)
		}
	}
	add := pointer("add")
	TESTQ(add, add)
	JEQ(LabelRef("store"))
	walk(func(m Mem, v vec) { VADDPS(m, v, v) })
	Label("store")
	walk(func(m Mem, v vec) { VMOVUPS(v, m) })
	end()
}

// lanePack generates the transposition of eight rows.
func lanePack(s isa) {
	TEXT("lanesPack"+s.suffix, NOSPLIT, "func(dst *float32, dstStride, pitch int, x *float32, xStride, n int)")
	Doc("for r := range 8 { for i := range 8*n { dst[i%8][i/8][r] = x[r][i] } }", "with strides and the pitch in bytes, of dst[i] and of dst[i][j].")
	Pragma("noescape")
	dst, ds, pitch := pointer("dst"), pointer("dstStride"), pointer("pitch")
	x, xs, n := pointer("x"), pointer("xStride"), pointer("n")
	in, out := strided(x, xs, 8), strided(dst, ds, 8)
	loopStart("loop")
	var pairs [8]vec // of rows 2i and 2i+1
	for i := range 4 {
		a, b := s.load(in.at(2*i)), s.load(in.at(2*i+1))
		pairs[2*i], pairs[2*i+1] = s.newRegister(), s.newRegister()
		VUNPCKLPS(b, a, pairs[2*i])
		VUNPCKHPS(b, a, pairs[2*i+1])
	}
	var fours [2][4]vec // of four rows: columns i and, in the upper half, i+4
	for h := range fours {
		for i := range fours[h] {
			a, b := pairs[4*h+i/2], pairs[4*h+2+i/2]
			fours[h][i] = s.newRegister()
			VSHUFPS(Imm([]uint64{0x44, 0xee}[i%2]), b, a, fours[h][i])
		}
	}
	for i := range 8 {
		v := s.newRegister()
		VPERM2F128(Imm([]uint64{0x20, 0x31}[i/4]), fours[1][i%4], fours[0][i%4], v)
		VMOVUPS(v, out.at(i))
	}
	for _, p := range in.bases {
		ADDQ(Imm(32), p)
	}
	for _, p := range out.bases {
		ADDQ(pitch, p)
	}
	DECQ(n)
	JNE(LabelRef("loop"))
	end()
}

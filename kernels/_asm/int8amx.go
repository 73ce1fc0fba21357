package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// int8AMX generates what multiplies many rows of rounded activations with tiles: sixteen
// rows and unpacked weights of sixteen outputs, whose codes have their sign. What is
// unpacked is one operand as it lies. So is what is rounded, which lies otherwise than for
// vectors: by 32 columns the scales of sixteen rows, their scaled sums, and their codes.
func int8AMX() {
	s := vnni
	s.suffix = "AMX"
	roundRow(s.suffix)
	for _, f := range interleavedFormats(s) {
		int8Unpack(f)
	}
	for _, k := range unpackedKinds[s.suffix] {
		int8TileAMX(s, k)
	}
}

// Of 32 columns of sixteen rows, where sums and codes begin, and what they take.
const apartSums, apartCodes, apartBytes = 64, 128, 640

// int8Behind is how many blocks the scaling of sums runs behind the tiles: a load waits
// until the store of a tile has left the pipeline.
const int8Behind = 2

func int8TileAMX(s isa, k unpacked) {
	const ring = 4 // blocks whose sums are kept
	TEXT("int8Tile"+k.name+"AMX", 0, "func(dst *float32, dstStride int, x *byte, tile int, w *byte, blocks, add, rows int)")
	Doc("Rows of rounded activations, sixteen by sixteen, tile bytes apart, times unpacked weights of 32 outputs,",
		"added by 32 columns in order, to what is in dst if add is not 0.")
	Pragma("noescape")
	x, w, xRow, wRow, sumRow := reg.RSI, reg.RDX, reg.R8, reg.R9, reg.R10
	sums, at, to, left := reg.R11, reg.R12, reg.RDI, reg.RCX
	scaledX, scaledW, tiles, scales, lag := reg.R13, reg.R14, reg.R15, reg.RBX, reg.RAX
	vector := s.bytes()
	minima, factors, codes, bytes := k.places(vector)
	parts := 1 // of 32 columns, which have sums of their own
	if k.halves {
		parts = 2
		configureTiles("tileShapeHalves", [8]int{64, 64, 64, 64, 16, 16, 64, 64}, [8]int{16, 16, 16, 16, 16, 16, 4, 4})
	} else {
		configureTiles("tileShapeBlock", [8]int{64, 64, 64, 64, 32, 32, 64, 64}, [8]int{16, 16, 16, 16, 16, 16, 8, 8})
	}
	slot := 1024 * parts
	local := AllocLocal(ring*slot + 64)
	group, rows, dst, rounded := AllocLocal(8), AllocLocal(8), AllocLocal(8), AllocLocal(8)
	LEAQ(local.Offset(64), sums)
	ANDQ(I32(-64), sums)
	MOVQ(U32(32), xRow)
	MOVQ(U32(uint32(2*vector)), wRow)
	MOVQ(U32(64), sumRow)
	for _, local := range []struct {
		name string
		to   Mem
	}{{"rows", rows}, {"dst", dst}, {"x", rounded}} {
		Load(Param(local.name), to)
		MOVQ(to, local.to)
	}

	// eachRow walks the rows of dst, of which there may be fewer than sixteen.
	eachRow := func(done string, do func(r int, at Mem)) {
		MOVQ(dst, to)
		ADDQ(group, to)
		MOVQ(rows, left)
		for r := range 16 {
			do(r, Mem{Base: to})
			if r < 15 {
				DECQ(left)
				JEQ(LabelRef(done))
				ADDQ(NewParamAddr("dstStride", 8), to)
			}
		}
		Label(done)
	}

	// scale adds the sums of a block, which lie at to: of eight rows where there are no more.
	scale := func(done string) {
		scale, least, factor := zmm[16], zmm[17], []reg.VecPhysical{zmm[18], zmm[19]}
		VMOVUPS(Mem{Base: scaledW}, scale)
		if k.minima {
			VMOVUPS(Mem{Base: scaledW, Disp: minima}, least)
		}
		if k.halves {
			for p := range factor {
				VMOVUPS(Mem{Base: scaledW, Disp: factors + 2*vector*p}, factor[p])
			}
		}
		for r := range 16 {
			if r == 8 {
				CMPQ(rows, Imm(8))
				JLE(LabelRef(done))
			}
			sum, both, half := zmm[20+r%4], zmm[24+r%4], zmm[28+r%4]
			VCVTDQ2PS(Mem{Base: to, Disp: 64 * r}, sum)
			if k.halves { // exact: see dotsWide
				VMULPS(factor[0], sum, sum)
				VCVTDQ2PS(Mem{Base: to, Disp: 1024 + 64*r}, half)
				VFMADD231PS(factor[1], half, sum)
			}
			VMULPS_BCST(Mem{Base: scaledX, Disp: 4 * r}, scale, both)
			VFMADD231PS(both, sum, zmm[r])
			if k.minima {
				VFMADD231PS_BCST(Mem{Base: scaledX, Disp: apartSums + 4*r}, least, zmm[r])
			}
		}
		Label(done)
	}

	Label("tiles")
	MOVQ(U32(0), group)
	eachRow("ahead", func(_ int, at Mem) { // rows of the result are pages apart
		for o := range 2 {
			PREFETCHT0(at.Offset(vector * o))
		}
	})
	Label("groups")
	for r := range 16 {
		VPXORD(zmm[r], zmm[r], zmm[r])
	}
	Load(Param("add"), left)
	TESTQ(left, left)
	JEQ(LabelRef("begin"))
	eachRow("begin", func(r int, at Mem) { VMOVUPS(at, zmm[r]) })
	MOVQ(rounded, x)
	Load(Param("w"), w)
	ADDQ(group, w)
	MOVQ(x, scaledX)
	MOVQ(w, scaledW)
	Load(Param("blocks"), tiles)
	MOVQ(tiles, scales)
	MOVQ(U32(int8Behind), lag)
	XORQ(at, at)

	// A product takes some fifty cycles from the sums before it, so those of one block
	// after another are in other tiles.
	loopStart("blocks")
	for turn := range 4 / parts {
		more, next := fmt.Sprintf("multiplied%d", turn), fmt.Sprintf("next%d", turn)
		TESTQ(tiles, tiles)
		JEQ(LabelRef(more))
		LEAQ(Mem{Base: sums, Index: at, Scale: 1}, to)
		for p := range parts {
			c, a, b := byte(turn*parts+p), byte(4+(turn+p)%2), byte(6+(turn+p)%2)
			tileZero(c)
			tileLoad(a, Mem{Base: x, Disp: apartCodes + 16*p, Index: xRow, Scale: 1})
			tileLoad(b, Mem{Base: w, Disp: codes + 4*2*vector*p, Index: wRow, Scale: 1})
			tileDotInt8(c, a, b)
			tileStore(Mem{Base: to, Disp: 1024 * p, Index: sumRow, Scale: 1}, c)
		}
		ADDQ(U32(apartBytes), x)
		ADDQ(I32(int32(bytes)), w)
		DECQ(tiles)
		Label(more)
		DECQ(lag)
		JGE(LabelRef(next))
		LEAQ(Mem{Base: at, Disp: -int8Behind * slot}, to)
		ANDQ(U32(uint32(ring*slot-1)), to)
		ADDQ(sums, to)
		scale(fmt.Sprintf("added%d", turn))
		ADDQ(U32(apartBytes), scaledX)
		ADDQ(I32(int32(bytes)), scaledW)
		DECQ(scales)
		JEQ(LabelRef("scaled"))
		Label(next)
		ADDQ(U32(uint32(slot)), at)
		ANDQ(U32(uint32(ring*slot-1)), at)
	}
	JMP(LabelRef("blocks"))
	Label("scaled")
	eachRow("stored", func(r int, at Mem) { VMOVUPS(zmm[r], at) })
	ADDQ(U32(uint32(vector)), group)
	CMPQ(group, U32(uint32(2*vector)))
	JNE(LabelRef("groups"))
	Load(Param("dstStride"), to)
	SHLQ(Imm(4), to)
	ADDQ(to, dst)
	Load(Param("tile"), to)
	ADDQ(to, rounded)
	SUBQ(Imm(16), rows)
	JGT(LabelRef("tiles"))
	tileRelease()
	end()
}

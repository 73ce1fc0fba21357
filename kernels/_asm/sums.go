package main

import (
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// summed is the number of rows that are added in one walk over the result.
const summed = 8

// rowSums generates, for each format that a factor of an adapter may have, the
// kernel that adds eight scaled rows of it to a row of float32: each value of
// the result is loaded and stored once for all eight, and the rows are eight
// streams through memory.
func rowSums(s isa) {
	for _, f := range storedFormats {
		if slices.Contains([]string{"F32", "F16", "BF16", "Q8_0"}, f.name) {
			rowSum(s, f)
		}
	}
}

func rowSum(s isa, f stored) {
	opened := f.begin(s, "addRows"+f.name+s.suffix, "func(dst, a *float32, x *byte, stride, n int)", 1)[0]
	Doc("for i := range 8 { for j := range n { dst[j] += a[i] * Decode("+f.name+", x + i*stride)[j] } } // fused,",
		"for n a multiple of 32.")
	Pragma("noescape")
	dst, a, x := pointer("dst"), pointer("a"), pointer("x")
	stride, n := Load(Param("stride"), GP64()), Load(Param("n"), GP64())
	threefold, fourth := GP64(), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, threefold)
	LEAQ(Mem{Base: x, Index: stride, Scale: 4}, fourth)
	ahead := nextRows(f, stride, x, fourth)
	var factors []vec
	for i := range summed {
		v := s.newRegister()
		VBROADCASTSS(Mem{Base: a, Disp: 4 * i}, v)
		factors = append(factors, v)
	}
	loopStart("loop")
	var sums []vec
	for i := range f.values / s.lanes {
		sums = append(sums, s.load(Mem{Base: dst, Disp: i * s.bytes()}))
	}
	for i := range summed {
		row := Mem{Base: x}
		if i >= 4 {
			row.Base = fourth
		}
		switch i % 4 {
		case 1, 2:
			row.Index, row.Scale = stride, uint8(i%4)
		case 3:
			row.Index, row.Scale = threefold, 1
		}
		if ahead != nil {
			next := row
			next.Base = ahead[i/4]
			PREFETCHT0(next)
		}
		widen := f.open(s, row, opened)
		for j, sum := range sums {
			VFMADD231PS(widen(j), factors[i], sum)
		}
	}
	for i, sum := range sums {
		VMOVUPS(sum, Mem{Base: dst, Disp: i * s.bytes()})
	}
	ADDQ(I32(int32(4*f.values)), dst)
	ADDQ(I32(int32(f.bytes)), x)
	ADDQ(I32(int32(f.bytes)), fourth)
	for _, next := range ahead {
		ADDQ(I32(int32(f.bytes)), next)
	}
	SUBQ(I32(int32(f.values)), n)
	JGT(LabelRef("loop"))
	end()
}

// nextRows are where the rows begin that the next walk adds, and the fourth of them:
// those of Q8_0 are so short that no prefetcher finds its way from one walk to the
// next, which made a walk through cold memory take 1.6 times as long. Those of other
// formats gained nothing by it; nil.
func nextRows(f stored, stride, x, fourth reg.Register) (ahead []reg.GPVirtual) {
	if f.name != "Q8_0" {
		return nil
	}
	for _, base := range []reg.Register{x, fourth} {
		next := GP64()
		LEAQ(Mem{Base: base, Index: stride, Scale: 8}, next)
		ahead = append(ahead, next)
	}
	return ahead
}

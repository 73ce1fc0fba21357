package main

import (
	"fmt"
	"strings"
)

// An instruction that Go's assembler lacks: its bits with registers and
// immediates 0, and GNU's spelling of its operands. Tables have it by its mnemonic and,
// where lanes of several widths occur, their arrangement.
type instruction struct {
	bits     uint32
	operands string
}

const (
	sameFloats   = "v%d.4s, v%d.4s, v%d.4s"
	sameBytes    = "v%d.16b, v%d.16b, v%d.16b"
	element      = "v%d.4s, v%d.4s, v%d.s[%d]"
	twoFloats    = "v%d.4s, v%d.4s"
	acrossFloats = "s%d, v%d.4s"
)

// threes take a destination and two sources.
var threes = map[string]instruction{
	"fadd":   {0x4e20d400, sameFloats},
	"fsub":   {0x4ea0d400, sameFloats},
	"fmul":   {0x6e20dc00, sameFloats},
	"fdiv":   {0x6e20fc00, sameFloats},
	"fmax":   {0x4e20f400, sameFloats},
	"fmin":   {0x4ea0f400, sameFloats},
	"fmaxnm": {0x4e20c400, sameFloats},
	"faddp":  {0x6e20d400, sameFloats},
	"fcmgt":  {0x6ea0e400, sameFloats},
	"fcmeq":  {0x4e20e400, sameFloats},
	"cmgt":   {0x4ea03400, sameFloats},
	"cmge":   {0x4ea03c00, sameFloats},
	"ushl":   {0x6e204400, sameBytes},
	"bic":    {0x4e601c00, sameBytes},
	"smax":   {0x4ea06400, sameFloats},
	"mul":    {0x4ea09c00, sameFloats},
	"mla":    {0x4ea09400, sameFloats},
	"mul.8h": {0x4e609c00, "v%d.8h, v%d.8h, v%d.8h"},
	"smull":  {0x0e20c000, "v%d.8h, v%d.8b, v%d.8b"},
	"smull2": {0x4e20c000, "v%d.8h, v%d.16b, v%d.16b"},
	"smlal":  {0x0e208000, "v%d.8h, v%d.8b, v%d.8b"},
	"smlal2": {0x4e208000, "v%d.8h, v%d.16b, v%d.16b"},
	"smmla":  {0x4e80a400, "v%d.4s, v%d.16b, v%d.16b"},
}

// elements take one lane of their second source for all lanes.
var elements = map[string]instruction{
	"fmla": {0x4f801000, element},
	"fmul": {0x4f809000, element},
	"sdot": {0x4f80e000, "v%d.4s, v%d.16b, v%d.4b[%d]"},
}

// twos take a destination and a source.
var twos = map[string]instruction{
	"fneg":    {0x6ea0f800, twoFloats},
	"fabs":    {0x4ea0f800, twoFloats},
	"fmaxnmv": {0x6e30c800, acrossFloats},
	"mvn":     {0x6e205800, "v%d.16b, v%d.16b"},
	"fcvtl":   {0x0e217800, "v%d.4s, v%d.4h"},
	"fcvtl2":  {0x4e217800, "v%d.4s, v%d.8h"},
	"smaxv":   {0x4eb0a800, acrossFloats},
	"scvtf":   {0x4e21d800, twoFloats},
	"fcvtns":  {0x4e21a800, twoFloats},

	"saddlp.8h": {0x4e202800, "v%d.8h, v%d.16b"},
	"saddlp.4s": {0x4e602800, "v%d.4s, v%d.8h"},
	"sadalp":    {0x4e606800, "v%d.4s, v%d.8h"},
	"sxtl.8h":   {0x0f08a400, "v%d.8h, v%d.8b"},
	"sxtl2.8h":  {0x4f08a400, "v%d.8h, v%d.16b"},
	"sxtl.4s":   {0x0f10a400, "v%d.4s, v%d.4h"},
	"sxtl2.4s":  {0x4f10a400, "v%d.4s, v%d.8h"},
}

// shifts take an immediate, which adds to the bits from bit 16 on.
var shifts = map[string]struct {
	instruction
	immediate int
	field     uint32
}{
	"widen":  {instruction{0x2e213800, "shll v%d.8h, v%d.8b, #%d"}, 8, 0},
	"widen2": {instruction{0x6e213800, "shll2 v%d.8h, v%d.16b, #%d"}, 8, 0},
	"upper":  {instruction{0x2e613800, "shll v%d.4s, v%d.4h, #%d"}, 16, 0},
	"upper2": {instruction{0x6e613800, "shll2 v%d.4s, v%d.8h, #%d"}, 16, 0},
	"top":    {instruction{0x4f00e400, "scvtf v%d.4s, v%d.4s, #%d"}, 24, 64 - 24},
	"top6":   {instruction{0x4f00e400, "scvtf v%d.4s, v%d.4s, #%d"}, 26, 64 - 26},
}

func (f *file) word(bits uint32, text string, args ...any) {
	f.i("WORD $0x%08x // "+text, append([]any{bits}, args...)...)
}

// spelled is GNU's spelling of an instruction that a table has by that name.
func (i instruction) spelled(name string) string {
	mnemonic, _, _ := strings.Cut(name, ".")
	return mnemonic + " " + i.operands
}

func (f *file) three(name string, d, n, m vec) {
	i := find(threes, name)
	f.word(i.bits|uint32(m)<<16|uint32(n)<<5|uint32(d), i.spelled(name), int(d), int(n), int(m))
}

// of returns a new register with an instruction's result.
func (f *file) of(name string, n, m vec) vec {
	d := f.vec()
	f.three(name, d, n, m)
	return d
}

func (f *file) byElement(name string, d, n, m vec, lane int) {
	i := find(elements, name)
	place := uint32(lane&1)<<21 | uint32(lane>>1)<<11
	f.word(i.bits|place|uint32(m)<<16|uint32(n)<<5|uint32(d), i.spelled(name), int(d), int(n), int(m), lane)
}

func (f *file) two(name string, d, n vec) {
	i := find(twos, name)
	f.word(i.bits|uint32(n)<<5|uint32(d), i.spelled(name), int(d), int(n))
}

// sixteen sets every lane to the float 16.
func (f *file) sixteen(d vec) { f.word(0x4f01f600|uint32(d), "fmov v%d.4s, #16", int(d)) }

func (f *file) shift(name string, d, n vec) {
	i := find(shifts, name)
	f.word(i.bits|i.field<<16|uint32(n)<<5|uint32(d), i.operands, int(d), int(n), i.immediate)
}

func find[T any](table map[string]T, name string) T {
	i, ok := table[name]
	if !ok {
		panic(fmt.Sprintf("no encoding of %s", name))
	}
	return i
}

// What Go's assembler has, in the order of GNU's operands.

func (f *file) fmla(d, n, m vec) { f.i("VFMLA %s.S4, %s.S4, %s.S4", m, n, d) }
func (f *file) fmls(d, n, m vec) { f.i("VFMLS %s.S4, %s.S4, %s.S4", m, n, d) }
func (f *file) and(d, n, m vec)  { f.i("VAND %s.B16, %s.B16, %s.B16", m, n, d) }
func (f *file) or(d, n, m vec)   { f.i("VORR %s.B16, %s.B16, %s.B16", m, n, d) }
func (f *file) zero(d vec)       { f.i("VEOR %s.B16, %s.B16, %s.B16", d, d, d) }
func (f *file) move(d, n vec)    { f.i("VMOV %s.B16, %s.B16", n, d) }

// bit sets d to n where mask has ones, bif where it has none.
func (f *file) bit(d, n, mask vec) { f.i("VBIT %s.B16, %s.B16, %s.B16", mask, n, d) }
func (f *file) bif(d, n, mask vec) { f.i("VBIF %s.B16, %s.B16, %s.B16", mask, n, d) }

// tbl picks bytes of table by index; an index beyond it gives 0.
func (f *file) tbl(d, table, index vec) { f.i("VTBL %s.B16, [%s.B16], %s.B16", index, table, d) }

func (f *file) load(d vec, base gp, at int)     { f.i("FMOVQ %d(%s), %s", at, base, d.f()) }
func (f *file) store(v vec, base gp, at int)    { f.i("FMOVQ %s, %d(%s)", v.f(), at, base) }
func (f *file) loadPair(a, b vec, r gp, at int) { f.i("FLDPQ %d(%s), (%s, %s)", at, r, a.f(), b.f()) }
func (f *file) storePair(a, b vec, r gp, at int) {
	f.i("FSTPQ (%s, %s), %d(%s)", a.f(), b.f(), at, r)
}

// broadcast puts lane i of n in every lane of d.
func (f *file) broadcast(d, n vec, i int) { f.i("VDUP %s.S[%d], %s.S4", n, i, d) }

func (f *file) add(r gp, n int) { f.i("ADD $%d, %s", n, r) }

package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Neither avo nor Go's assembler knows the AMX instructions, so these emit
// their bytes: a VEX prefix of map 0F38, the opcode and a ModRM byte. They
// name no register to avo; functions that use them fix theirs by hand.

const (
	ppNone, ppF3, ppF2 = 0, 2, 3
)

func bytes(b ...byte) {
	for _, v := range b {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(v)}})
	}
}

// number is a general register's number in an instruction.
func number(r reg.Register) byte {
	for i, p := range []reg.Register{
		reg.RAX, reg.RCX, reg.RDX, reg.RBX, nil, reg.RBP, reg.RSI, reg.RDI,
		reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R14, reg.R15,
	} {
		if p == r {
			return byte(i)
		}
	}
	panic("not a general register")
}

// tileMemory emits an instruction on tile t and memory m, whose rows are the
// index times the scale apart.
func tileMemory(pp, opcode, t byte, m Mem) {
	b, x := number(m.Base), number(m.Index)
	scale := byte(bits.TrailingZeros8(m.Scale))
	bytes(0xc4, 0x82|(^x>>3&1)<<6|(^b>>3&1)<<5, 0x78|pp, opcode,
		0x84|t<<3, scale<<6|x&7<<3|b&7,
		byte(m.Disp), byte(m.Disp>>8), byte(m.Disp>>16), byte(m.Disp>>24))
}

func tileLoad(t byte, m Mem) { tileMemory(ppF2, 0x4b, t, m) }

func tileStore(m Mem, t byte) { tileMemory(ppF3, 0x4b, t, m) }

func tileZero(t byte) { bytes(0xc4, 0xe2, 0x78|ppF2, 0x49, 0xc0|t<<3) }

// tileDot adds a·b to c, in bfloat16 pairs with float32 sums: TDPBF16PS.
func tileDot(c, a, b byte) { bytes(0xc4, 0xe2, (^b&15)<<3|ppF3, 0x5c, 0xc0|c<<3|a) }

// tileConfig makes all eight tiles 16 rows of 64 bytes; it spoils AX.
func tileConfig() {
	configureTiles("tileShape", [8]int{64, 64, 64, 64, 64, 64, 64, 64}, [8]int{16, 16, 16, 16, 16, 16, 16, 16})
}

// tileConfigOne makes tiles 0 and 4 to 7 one column wide: those of results and
// of x.
func tileConfigOne() {
	configureTiles("tileShapeOne", [8]int{4, 64, 64, 64, 4, 4, 4, 4}, [8]int{16, 16, 16, 16, 16, 16, 16, 16})
}

// configureTiles sets the bytes of a row and the rows of each tile; it spoils
// AX.
func configureTiles(name string, width, rows [8]int) {
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		var shape [64]byte
		shape[0] = 1 // palette
		for i := range 8 {
			shape[16+2*i] = byte(width[i])
			shape[48+i] = byte(rows[i])
		}
		for i, b := range shape {
			DATA(i, U8(b))
		}
		constants[name] = m
	}
	LEAQ(m, reg.RAX)
	bytes(0xc4, 0xe2, 0x78, 0x49, 0x00) // LDTILECFG (AX)
}

func tileRelease() { bytes(0xc4, 0xe2, 0x78, 0x49, 0xc0) }

package kernels

import (
	"fmt"
	"strings"
)

// go generate reads what the machine at hand builds: the directives of amd64
// stand in its files, those of arm64, which any machine generates, here.
//
//go:generate go run -C _asm ./neon -group products -out ../neon_arm64.s -stubs ../neon_arm64.go
//go:generate go run -C _asm ./neon -group fused -out ../fused_neon_arm64.s -stubs ../fused_neon_arm64.go
//go:generate go run -C _asm ./neon -group int8 -out ../int8_neon_arm64.s -stubs ../int8_neon_arm64.go
//go:generate go run -C _asm ./neon -group rows -out ../row_neon_arm64.s -stubs ../row_neon_arm64.go
//go:generate go run -C _asm ./neon -group cached -out ../cached_neon_arm64.s -stubs ../cached_neon_arm64.go

// An implementation computes the primitives with one instruction set. Two of
// them agree within float32 rounding; one of them always gives the same bits.
type implementation struct {
	name       string
	matMul     func(w *Worker, dst, x Matrix, weight Weight)
	inputGrad  func(w *Worker, dx, dy Matrix, weight Weight)
	weightGrad func(w *Worker, dw, dy, x Matrix)
	widen      func(dst []float32, f Format, src []byte) // Decode
	pack       *packing                                  // nil: products read x as it is
	lanes      *lanes                                    // nil: products of many rows are as those of some
	gradTiles  *gradTiles                                // nil: gradients read their operands as they are
	vectors    *vectors                                  // nil: portable loops
	int8       *int8Kernels                              // nil: portable loops
	peak       *peak                                     // nil: not measured
}

// packing is for products that rearrange x first, once for all outputs. Its
// results have the bits of matMul.
type packing struct {
	use   func(weight Weight) bool
	size  func(weight Weight, rows int) int
	group func(weight Weight, packed []float32, x Matrix, group int)         // packs 16 rows
	mul   func(w *Worker, dst Matrix, packed []float32, part, weight Weight) // part of weight
}

const packRows = 16

var portable = implementation{
	name:       "portable",
	matMul:     matMulPortable,
	inputGrad:  inputGradPortable,
	weightGrad: weightGradPortable,
	widen:      Decode,
}

// active is the implementation in force: the fastest that the processor has,
// until Choose names another.
var active = fastest()

func fastest() *implementation {
	all := implementations()
	return all[len(all)-1]
}

// Name is the name of the implementation in force: portable, avx2, avx512,
// amx or neon.
func Name() string { return active.name }

// Choose puts the implementation of that name in force, or where it is empty the
// fastest; it is for the start of a process, before anything is computed. The
// commands read the name from the environment variable PEFT_KERNELS.
func Choose(name string) error {
	if name == "" {
		active = fastest()
		return nil
	}
	var names []string
	for _, i := range implementations() {
		if i.name == name {
			active = i
			return nil
		}
		names = append(names, i.name)
	}
	return fmt.Errorf("this processor and build have no %q kernels: there are %s", name, strings.Join(names, ", "))
}

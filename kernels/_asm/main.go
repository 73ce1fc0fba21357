// Command asm generates the assembly of package kernels with avo. Each
// instruction set has one file; `go generate ./kernels` runs it for all.
package main

import (
	"flag"
	"log"
	"os"
	"strings"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// An isa is a vector instruction set: the width of its registers, its suffix
// in function names and the shape of its dot tile.
type isa struct {
	suffix      string
	lanes       int
	rows        int   // largest tile's rows
	outs        []int // widths of tiles
	wide        bool  // AVX-512
	newRegister func() reg.VecVirtual
}

func (s isa) bytes() int { return 4 * s.lanes }

var (
	avx2   = isa{"AVX2", 8, 4, []int{1, 2, 3}, false, build.YMM}
	avx512 = isa{"AVX512", 16, 6, []int{1, 4}, true, build.ZMM}
	vnni   = isa{suffix: "VNNI", lanes: 16, wide: true, newRegister: build.ZMM} // of products of 8 bits
)

func main() {
	set := flag.String("isa", "", "instruction set: avx2, avx512, fused-avx2, fused-avx512, row-avx2, row-avx512, int8-avx2, int8-vnni, int8-amx, amx, amxint or amxgrad")
	flag.Parse()
	build.ConstraintExpr("!noasm")
	switch *set {
	case "avx2":
		dots(avx2)
		lanes(avx2)
		decoders(avx2)
		outers(avx2)
		outerPanel(avx2, 3)
		peaks(avx2)
	case "avx512":
		dots(avx512)
		decoders(avx512)
		outers(avx512)
		peaks(avx512)
	case "fused-avx2":
		fusedProducts(avx2)
	case "fused-avx512":
		fusedProducts(avx512)
	case "row-avx2":
		vectors(avx2)
		attention(avx2)
	case "row-avx512":
		vectors(avx512)
		attention(avx512)
	case "int8-avx2":
		int8Products(avx2)
	case "int8-vnni":
		int8Products(vnni)
	case "int8-amx":
		int8AMX()
	case "amx":
		amx()
	case "amxint":
		amxInt()
	case "amxgrad":
		amxGrad()
	}
	build.Generate()
	if err := alignLoops(flag.Lookup("out").Value.String()); err != nil {
		log.Fatal(err)
	}
}

// loopStart is the label of a hot loop, which begins a cache line: else the
// linker's order of functions decides how many lines the loop is fetched from.
func loopStart(name string) {
	build.Comment(aligned)
	build.Label(name)
}

// aligned stands where alignLoops writes the alignment: an instruction here
// would change which registers avo gives to the loop's values.
const aligned = "The loop begins a cache line."

func alignLoops(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	after := strings.ReplaceAll(string(text), "\t// "+aligned+"\n", "\tPCALIGN $64\n")
	return os.WriteFile(file, []byte(after), 0o644)
}

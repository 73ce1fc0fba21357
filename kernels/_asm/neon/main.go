// Command neon generates the arm64 assembly of package kernels: a file of Go's
// assembler and the Go declarations of its functions. `go generate ./kernels`
// runs it for each group.
//
// Go's assembler knows loads, integer vectors and multiply-adds; what it lacks
// is written as the instruction's word, with GNU's spelling in a comment. A
// test of package kernels holds every word against GNU's assembler.
package main

import (
	"flag"
	"fmt"
	"os"
)

var groups = map[string]func(f *file){
	"products": func(f *file) {
		dots(f)
		decoders(f)
		outers(f)
		peaks(f)
	},
	"fused": fusedProducts,
	"int8": func(f *file) {
		int8Rounds(f)
		int8Products(f)
		int8Tiles(f)
	},
	"rows": func(f *file) {
		activate(f)
		rows(f)
		attention(f)
	},
	"cached": cachedAttention,
}

func main() {
	group := flag.String("group", "", "products, fused, int8, rows or cached")
	out := flag.String("out", "", "path of the assembly")
	stubs := flag.String("stubs", "", "path of the declarations")
	flag.Parse()
	generate := groups[*group]
	if generate == nil {
		fmt.Fprintln(os.Stderr, "neon: -group is products, fused, int8, rows or cached")
		os.Exit(2)
	}
	f := newFile(*group)
	generate(f)
	if err := f.write(*out, *stubs); err != nil {
		fmt.Fprintln(os.Stderr, "neon:", err)
		os.Exit(1)
	}
}

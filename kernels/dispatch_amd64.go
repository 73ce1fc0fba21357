//go:build amd64 && !noasm

package kernels

import "golang.org/x/sys/cpu"

//go:generate go run -C _asm . -isa avx2 -pkg kernels -out ../avx2_amd64.s -stubs ../avx2_amd64.go
//go:generate go run -C _asm . -isa avx512 -pkg kernels -out ../avx512_amd64.s -stubs ../avx512_amd64.go
//go:generate go run -C _asm . -isa amx -pkg kernels -out ../amx_amd64.s -stubs ../amx_amd64.go
//go:generate go run -C _asm . -isa amxint -pkg kernels -out ../amxint_amd64.s -stubs ../amxint_amd64.go
//go:generate go run -C _asm . -isa amxgrad -pkg kernels -out ../amxgrad_amd64.s -stubs ../amxgrad_amd64.go

// implementations lists what this processor and build can run, fastest last.
func implementations() []*implementation {
	all := []*implementation{&portable}
	x := &cpu.X86
	if x.HasAVX2 && x.HasFMA && hasF16C() {
		all = append(all, &dotAVX2.implementation)
	}
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ && x.HasBMI2 {
		all = append(all, &dotAVX512.implementation)
		if x.HasAMXTile && x.HasAMXBF16 && x.HasAMXInt8 && allowTiles() {
			all = append(all, &amx)
		}
	}
	return all
}

package main

// A block of rounded activations (kernels/int8.go), and a tile of sixteen rows that lie
// apart (kernels/int8apart.go).
const (
	roundedBytes = 56
	roundedSum   = 4 // times the scale
	roundedOff   = 8 // pairs of 16 bits: what offsets take off the sums of products
	roundedCodes = 24

	apartRows  = 16
	apartSums  = 4 * apartRows
	apartCodes = 8 * apartRows
	apartBytes = apartCodes + apartRows*32
)

// leastRounded is 2^-100, as an integer: blocks of nothing larger count as zeros.
const leastRounded = (127 - 100) << 23

// Where rounded rows lie.
type placing int

const (
	fewRows   placing = iota
	apartRow          // 32 values in one run
	pairedRow         // two rows side by side, by eight values
)

// int8Rounds generates the rounding of a row of activations, for few rows and for rows
// that lie apart.
func int8Rounds(f *file) {
	int8Round(f, "int8Round", fewRows, "As x lies for few rows; wide is not used.")
	int8Round(f, "int8RoundApart", apartRow, "As rows lie apart: their values wide bytes behind their scale.")
	int8Round(f, "int8RoundPairs", pairedRow, "Likewise, of each sixteen bytes eight: those between are another row's.")
}

func int8Round(f *file, name string, place placing, doc string) {
	f.function(name, "func(dst *byte, step, wide int, x *float32, blocks int)", 0,
		"dst = blocks of 32 activations of x, rounded to 8 bits, step bytes apart: see roundBlock.", doc)
	dst, step, x, n := f.argument("dst"), f.argument("step"), f.argument("x"), f.argument("blocks")
	var codes gp
	if place != fewRows {
		codes = f.argument("wide")
		f.i("ADD %s, %s, %s", dst, codes, codes)
	}
	steps, least := f.copy(all(127)), f.copy(words(func(int) uint32 { return leastRounded }))
	var offsets vec
	if place == fewRows {
		offsets = f.copy(words(func(i int) uint32 { return uint32(-[]int{8, 16, 32, 32}[i]) & 0xffff * 0x00010001 }))
	}
	f.label("loop")
	v, sizes := f.vecs(8), f.vecs(8)
	for i := 0; i < 8; i += 2 {
		f.loadPair(v[i], v[i+1], x, 16*i)
	}
	for i := range v {
		f.two("fabs", sizes[i], v[i])
	}
	for apart := 1; apart < 8; apart *= 2 {
		for i := 0; i < 8; i += 2 * apart { // as integers, among which NaN is the largest
			f.three("smax", sizes[i], sizes[i], sizes[i+apart])
		}
	}
	largest, above, d, t, inverse := sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
	f.two("smaxv", largest, largest)
	// What is not above the least counts as 0; the difference makes a NaN of an infinity.
	f.three("cmgt", above, largest, least)
	f.three("fdiv", d, largest, steps)
	f.three("fsub", t, largest, largest)
	f.three("fadd", d, d, t)
	f.and(d, d, above)
	f.three("fdiv", inverse, steps, largest)
	f.and(inverse, inverse, above)
	for i := range v {
		f.byElement("fmul", v[i], v[i], inverse, 0)
		f.two("fcvtns", v[i], v[i])
	}
	for i := 0; i < 8; i += 2 {
		f.i("VUZP1 %s.H8, %s.H8, %s.H8", v[i+1], v[i], v[i])
	}
	for i := 0; i < 8; i += 4 {
		f.i("VUZP1 %s.B16, %s.B16, %s.B16", v[i+2], v[i], v[i])
	}
	// Sums of pairs of columns: of either half of the 32 in half, of all in both.
	a, b, half, both := v[1], v[2], v[3], v[5]
	f.two("saddlp.8h", a, v[0])
	f.two("saddlp.8h", b, v[4])
	f.i("VZIP1 %s.S4, %s.S4, %s.S4", b, a, half)
	f.i("VZIP2 %s.S4, %s.S4, %s.S4", b, a, both)
	f.i("VADD %s.H8, %s.H8, %s.H8", half, both, half)
	f.i("VEXT $8, %s.B16, %s.B16, %s.B16", half, half, both)
	f.i("VADD %s.H8, %s.H8, %s.H8", half, both, half)
	f.i("VREV64 %s.S4, %s.S4", half, both)
	f.i("VADD %s.H8, %s.H8, %s.H8", half, both, both)
	f.two("saddlp.4s", t, both)
	f.two("scvtf", t, t)
	f.byElement("fmul", t, t, d, 0)
	f.i("FMOVS %s, (%s)", d.f(), dst)
	if place != fewRows {
		f.i("FMOVS %s, %d(%s)", t.f(), apartSums, dst)
		if place == pairedRow {
			for i, v := range []vec{v[0], v[4]} {
				f.i("FMOVD %s, %d(%s)", v.f(), 32*i, codes)
				f.i("VEXT $8, %s.B16, %s.B16, %s.B16", v, v, v)
				f.i("FMOVD %s, %d(%s)", v.f(), 32*i+16, codes)
			}
		} else {
			f.storePair(v[0], v[4], codes, 0)
		}
		f.i("ADD %s, %s", step, codes)
	} else {
		f.i("FMOVS %s, %d(%s)", t.f(), roundedSum, dst)
		f.i("VMOV %s.D[0], %s.D[0]", both, half)
		f.three("mul.8h", half, half, offsets)
		f.store(half, dst, roundedOff)
		f.store(v[0], dst, roundedCodes)
		f.store(v[4], dst, roundedCodes+16)
	}
	f.add(x, 128)
	f.i("ADD %s, %s", step, dst)
	f.i("SUBS $1, %s, %s", n, n)
	f.i("BNE loop")
	f.finish()
}

package main

import "fmt"

// An interleaved format is how the weights of eight outputs lie side by side for products
// with activations of 8 bits (kernels/int8pack.go): by 32 columns, behind a head that 256
// of them share in a k-quant. Offsets are those of a value's first byte.
type interleaved struct {
	name   string
	head   int // bytes of it, of a block of 256: scales, and minima where there are some
	bytes  int // of 32 columns
	minima int // behind scales of binary16, likewise; of a k-quant integers by which those of the head are multiplied; 0: none
	high   int // what a code has beyond four bits; 0: nothing
	codes  int
	bits   int // of a code; those of 8 are signed
	offset int // of codes in sums; 0: none
}

var interleavedFormats = []interleaved{
	{name: "Q8_0", bytes: 272, codes: 16, bits: 8},
	{name: "Q4_0", bytes: 144, codes: 16, bits: 4, offset: 8},
	{name: "Q4_1", bytes: 160, minima: 16, codes: 32, bits: 4},
	{name: "Q5_0", bytes: 176, high: 16, codes: 48, bits: 5, offset: 16},
	{name: "Q5_1", bytes: 192, minima: 16, high: 32, codes: 64, bits: 5, offset: 16},
	{name: "Q4_K", head: 32, bytes: 144, minima: 8, codes: 16, bits: 4},
	{name: "Q5_K", head: 32, bytes: 176, minima: 8, high: 16, codes: 48, bits: 5, offset: 16},
	{name: "Q6_K", head: 16, bytes: 208, high: 16, codes: 80, bits: 6, offset: 32},
}

const (
	int8Outs = 8 // two vectors
	int8Rows = 4 // most that share weights in registers
	longRows = 2 // most of them without dot products
)

// int8Products generates the products of few rows: with the dot products of four bytes of
// ARMv8.2, a lane being an output and a word of a register of activations four of its
// columns, and with what ARMv8.0 has.
func int8Products(f *file) {
	for i := range interleavedFormats {
		for rows := 1; rows <= int8Rows; rows++ {
			int8Product(f, &interleavedFormats[i], rows, false)
		}
		for rows := 1; rows <= longRows; rows++ {
			int8Product(f, &interleavedFormats[i], rows, true)
		}
	}
}

// A product is of rows of rounded activations with the weights of eight outputs. Sums are
// by row, vector of outputs and, of codes of six bits, half of the 32 columns.
type product struct {
	*opened
	x      gp // 32 columns
	rows   int
	halves int
	heads  [int8Rows]vec    // a scale, the scaled sum, offsets
	values [int8Rows][2]vec // of either half
	acc    [int8Rows][2]vec
	sums   [int8Rows][2][2]vec

	long   bool                // without dot products: see int8long.go
	uppers [int8Rows][2][2]vec // sums of two of the four outputs
	words  [int8Rows][2]vec    // four columns of a row, in every lane
	wide   vec                 // products of codes of eight bits
}

func int8Product(f *file, q *interleaved, rows int, long bool) {
	name := fmt.Sprintf("int8%s_%d", q.name, rows)
	if long {
		name = fmt.Sprintf("int8Long%s_%d", q.name, rows)
	}
	f.function(name,
		"func(dst *float32, dstStride int, x *byte, step int, w *byte, blocks, groups int)", 0,
		fmt.Sprintf("%d rows of rounded activations times groups of %d outputs, interleaved from %s:", rows, int8Outs, q.name),
		"sums of products are exact by 32 columns, and added in order.")
	dst, stride, x, step, w := f.argument("dst"), f.argument("dstStride"), f.argument("x"), f.argument("step"), f.argument("w")
	n, groups, to := f.gp(), f.argument("groups"), f.gp()
	k := product{opened: open(f, q, w, rows), x: x, rows: rows, halves: 1, long: long}
	if q.bits == 6 {
		k.halves = 2
	}
	for r := range rows {
		k.acc[r] = [2]vec{f.vec(), f.vec()}
	}
	// Few rows leave registers for both vectors of outputs at once, which are one load.
	parts := [][]int{{0}, {1}}
	if rows == 1 || rows == 2 && q.bits < 6 && !long {
		parts = [][]int{{0, 1}}
	}
	f.label("groups")
	for r := range rows {
		f.zero(k.acc[r][0])
		f.zero(k.acc[r][1])
	}
	f.argumentTo("blocks", n)
	k.blocks(n, func() {
		defer f.scope()()
		k.activations()
		for _, outs := range parts {
			release := f.scope()
			for r := range rows {
				k.takeSums(r, outs)
			}
			k.quads(outs, 1, func(o, g int, codes vec) {
				for r := range rows {
					if long {
						k.multiplyLong(r, o, g, codes, o == outs[0])
					} else {
						f.byElement("sdot", k.sums[r][o][g/4%k.halves], codes, k.values[r][g/4], g%4)
					}
				}
			})
			for _, o := range outs {
				k.addScaled(o)
			}
			release()
		}
		f.i("ADD %s, %s", step, x)
	})
	f.i("MOVD %s, %s", dst, to)
	for r := range rows {
		f.storePair(k.acc[r][0], k.acc[r][1], to, 0)
		if r < rows-1 {
			f.i("ADD %s, %s", stride, to)
		}
	}
	f.add(dst, 4*int8Outs)
	f.argumentTo("x", x)
	f.i("SUBS $1, %s, %s", groups, groups)
	f.i("BNE groups")
	f.finish()
}

// activations reads 32 columns of all rows.
func (k *product) activations() {
	for r := range k.rows {
		if !k.full {
			k.heads[r] = k.vec()
			k.load(k.heads[r], k.x, r*roundedBytes)
		}
		k.values[r] = [2]vec{k.vec(), k.vec()}
		for half, v := range k.values[r] {
			k.load(v, k.x, r*roundedBytes+roundedCodes+16*half)
		}
	}
}

// takeSums takes registers for the sums of a row.
func (k *product) takeSums(r int, outs []int) {
	for _, o := range outs {
		for half := range k.halves {
			k.sums[r][o][half] = k.vec()
		}
	}
	if k.long {
		k.takeLong(r, outs)
		return
	}
	k.start(r, outs)
}

// start begins sums with what an offset of codes takes off them.
func (k *product) start(r int, outs []int) {
	sums := &k.sums[r]
	first := sums[outs[0]][0]
	switch k.offset {
	case 0:
		for _, o := range outs {
			k.zero(sums[o][0])
		}
	case 32: // of either sixteen columns
		k.i("FMOVD %d(%s), %s", r*roundedBytes+roundedOff+8, k.x, first.f())
		k.two("saddlp.4s", first, first)
		for i := len(outs) - 1; i >= 0; i-- {
			k.broadcast(sums[outs[i]][1], first, 1)
			k.broadcast(sums[outs[i]][0], first, 0)
		}
	default:
		head := k.heads[r]
		if k.full {
			head = first
			k.load(head, k.x, r*roundedBytes)
		}
		k.two("saddlp.4s", first, head)
		for i := len(outs) - 1; i >= 0; i-- {
			k.broadcast(sums[outs[i]][0], first, k.offsetLane())
		}
	}
}

// offsetLane is the word of a row's head that has what an offset of codes takes off.
func (k *product) offsetLane() int { return map[int]int{8: 2, 16: 3}[k.offset] }

// addScaled adds the sums of four outputs, times the scales of weights and activations.
func (k *product) addScaled(o int) {
	defer k.scope()()
	if k.long {
		k.endLong(o)
	}
	if k.bits == 6 {
		for half := range 2 {
			factor := k.factor(o, half)
			for r := range k.rows {
				k.three([]string{"mul", "mla"}[half], k.sums[r][o][0], k.sums[r][o][half], factor)
			}
			k.free(factor)
		}
	}
	scale := k.scale(o)
	var least vec
	if k.minima > 0 {
		least = k.least(o, scale)
	}
	both, head := k.vec(), vec(-1)
	if k.full {
		head = k.vec()
	}
	for r := range k.rows {
		if k.full {
			k.i("FMOVD %d(%s), %s", r*roundedBytes, k.x, head.f())
		} else {
			head = k.heads[r]
		}
		sum := k.sums[r][o][0]
		k.two("scvtf", sum, sum)
		k.byElement("fmul", both, scale, head, 0)
		k.fmla(k.acc[r][o], sum, both)
		if k.minima > 0 {
			k.byElement("fmla", k.acc[r][o], least, head, 1)
		}
	}
}

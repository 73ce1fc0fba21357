package main

// Without dot products, bytes are multiplied to 16 bits, of two outputs at once, with four
// columns of a row in every lane. Codes of up to six bits are added up there: of eight
// products of a code without a sign below 32, or four below 64, any sum fits. Neighbours
// are added after that, to which what an offset takes off is added in pairs of 16 bits, as
// rows have it: the result fits again, and what overflows on the way comes back.

// takeLong takes what a row's products need beside its sums.
func (k *product) takeLong(r int, outs []int) {
	for _, o := range outs {
		for half := range k.halves {
			k.uppers[r][o][half] = k.vec()
		}
	}
	switch {
	case len(outs) == 2: // one shuffle for both vectors of outputs
		k.words[r] = [2]vec{k.vec(), k.vec()}
	case r == 0:
		t := k.vec()
		k.words[0] = [2]vec{t, t}
	default:
		k.words[r] = k.words[0]
	}
	if k.bits == 8 && r == 0 {
		k.wide = k.vec()
	}
}

// multiplyLong adds the products of columns [4g, 4g+4) of a row; shuffle is set where no
// vector of outputs has had them before.
func (k *product) multiplyLong(r, o, g int, codes vec, shuffle bool) {
	word, half := k.words[r][g/4], g/4%k.halves
	if shuffle {
		k.broadcast(word, k.values[r][g/4], g%4)
	}
	first := g == 0 || k.halves == 2 && g == 4
	sums := []vec{k.sums[r][o][half], k.uppers[r][o][half]}
	for i, sum := range sums {
		multiply, add := []string{"smull", "smull2"}[i], []string{"smlal", "smlal2"}[i]
		switch {
		case k.bits == 8:
			k.three(multiply, k.wide, codes, word)
			k.two(map[bool]string{true: "saddlp.4s", false: "sadalp"}[first], sum, k.wide)
		case first:
			k.three(multiply, sum, codes, word)
		default:
			k.three(add, sum, codes, word)
		}
	}
}

// endLong makes sums of 32 bits of those of four outputs.
func (k *product) endLong(o int) {
	for r := range k.rows {
		for half := range k.halves {
			sum, upper := k.sums[r][o][half], k.uppers[r][o][half]
			if k.bits == 8 {
				k.i("VADDP %s.S4, %s.S4, %s.S4", upper, sum, sum)
				continue
			}
			k.i("VADDP %s.H8, %s.H8, %s.H8", upper, sum, sum)
			switch k.offset {
			case 0:
			case 32:
				k.i("FMOVS %d(%s), %s", r*roundedBytes+roundedOff+8+4*half, k.x, upper.f())
				k.broadcast(upper, upper, 0)
				k.i("VADD %s.H8, %s.H8, %s.H8", upper, sum, sum)
			default:
				k.broadcast(upper, k.heads[r], k.offsetLane())
				k.i("VADD %s.H8, %s.H8, %s.H8", upper, sum, sum)
			}
			k.two("saddlp.4s", sum, sum)
		}
	}
}

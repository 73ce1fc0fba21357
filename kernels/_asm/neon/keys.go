package main

// scaledKeys generates what widens the keys of a block of the cache that are
// stored as Q8_0: positions lie side by side, and each has a scale of its own.
func scaledKeys(f *file) {
	f.function("scaledKeys", "func(dst *float32, codes, scales *byte, dims int)", 0,
		"for i := range dims { for j := range 32 {",
		"\tdst[i][j] = Half(scales[j]) * codes[i][j]",
		"} }, with dst and codes [][32], codes signed bytes.")
	k := &kernel{file: f}
	dst, codes, scales, n := f.argument("dst"), f.argument("codes"), f.argument("scales"), f.argument("dims")
	d := f.vecs(blockLen / lanes)
	for i := 0; i < len(d); i += 2 {
		f.load(d[i+1], scales, 8*i)
		k.halves(d[i], d[i+1])
	}
	widen := k.signedCodes("top")
	c, v := f.vecs(2), f.vecs(2)
	f.label("dimension")
	f.loadPair(c[0], c[1], codes, 0)
	for i := range 4 {
		widen(i%2, c[i/2], v[0], v[1])
		for half := range v {
			f.three("fmul", v[half], v[half], d[2*i+half])
		}
		f.storePair(v[0], v[1], dst, 32*i)
	}
	f.add(codes, blockLen)
	f.add(dst, 4*blockLen)
	f.i("SUBS $1, %s, %s", n, n)
	f.i("BNE dimension")
	f.finish()
}

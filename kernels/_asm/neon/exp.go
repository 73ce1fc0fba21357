package main

import "math"

// The exponential is 2ⁿ·p(r) with x = n·ln2 + r, |r| ≤ ln2/2, and p a minimax
// polynomial: that of the other instruction sets, with the same bits. TestExp
// has it in Go.
const (
	expLow  = -87.33654022216797 // beneath it results would be subnormal: they are 0
	expHigh = 88.72283172607422  // beyond it they are +∞
	round   = 3 << 22            // added, it leaves an integer in the low bits
	ln2High = 0.693147182464599609375
	ln2Low  = -1.904654323148236017e-9
)

var infinity = float32(math.Inf(1))

var expPolynomial = []float32{0.0013950603, 0.0083689535, 0.041666204, 0.16666518, 0.5, 1, 1}

// The constants that the exponential reads often.
var (
	belowConstants = [][4]uint32{all(expLow), all(math.Log2E), all(round), all(ln2High), all(ln2Low)}
	expConstants   = append(belowConstants[:5:5], all(expHigh), all(infinity))
)

// exp returns e**x, spoiling x, within 1.1 units in the last place.
func (f *file) exp(x vec) vec {
	over := f.of("fcmgt", x, f.use(all(expHigh)))
	f.three("fmin", x, x, f.use(all(expHigh)))
	y := f.expBelow(x)
	f.bit(y, f.use(all(infinity)), over)
	return y
}

// expBelow is exp for x below 80, -∞ or NaN.
func (f *file) expBelow(x vec) vec {
	y := f.vec()
	defer f.scope()()
	low, shift := f.use(all(expLow)), f.use(all(round))
	under := f.of("fcmgt", low, x)
	f.three("fmax", x, x, low) // NaN where x is
	t := f.copy(all(round))
	f.fmla(t, x, f.use(all(math.Log2E)))
	n := f.of("fsub", t, shift)
	f.fmls(x, n, f.use(all(ln2High)))
	f.fmls(x, n, f.use(all(ln2Low)))
	p := f.polynomial(x, expPolynomial)
	f.i("VSHL $23, %s.S4, %s.S4", t, t)
	f.i("VADD %s.S4, %s.S4, %s.S4", t, p, y)
	f.three("bic", y, y, under)
	f.bif(y, x, f.of("fcmeq", x, x))
	return y
}

// polynomial is Horner's rule, each step fused.
func (f *file) polynomial(x vec, coefficients []float32) vec {
	p, q := f.copy(all(coefficients[0])), f.vec()
	for _, c := range coefficients[1:] {
		f.copyTo(q, all(c))
		f.fmla(q, p, x)
		p, q = q, p
	}
	f.free(q)
	return p
}

package training

import "math"

// exp32 is eˣ for x ≤ 0 in float32, within two units in the last place: x =
// n·ln 2 + r with ln 2 in two parts, a polynomial in r (Cephes' expf), times
// 2ⁿ. Below -87 it is 0.
func exp32(x float32) float32 {
	if !(x > -87) {
		if x != x {
			return x
		}
		return 0
	}
	const magic = 3 << 22 // rounds to an integer in the low bits
	n := float32(x*1.44269504) + magic
	k := int32(math.Float32bits(n)) - int32(math.Float32bits(magic))
	n -= magic
	r := x - n*0.693359375
	r += n * 2.12194440e-4
	p := float32(1.9875691500e-4)
	p = p*r + 1.3981999507e-3
	p = p*r + 8.3334519073e-3
	p = p*r + 4.1665795894e-2
	p = p*r + 1.6666665459e-1
	p = p*r + 5.0000001201e-1
	p = p*r*r + r + 1
	return p * math.Float32frombits(uint32(k+127)<<23)
}

// expShift sets x to e^(x-top), and returns the sum in eight partial sums
// folded once.
func expShift(x []float32, top float32) float32 {
	var s [8]float32
	n := len(x) &^ 7
	for i := 0; i < n; i += 8 {
		v := x[i : i+8 : i+8]
		for k := range v {
			v[k] = exp32(v[k] - top)
			s[k] += v[k]
		}
	}
	for i := n; i < len(x); i++ {
		x[i] = exp32(x[i] - top)
		s[i-n] += x[i]
	}
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

package kernels

import (
	"math"
	"testing"
)

// fma is a·b + c rounded once.
func fma(a, b, c float32) float32 {
	p := float64(a) * float64(b) // exact
	s := p + float64(c)
	if bits := math.Float64bits(s); bits&0x1fffffff == 0x10000000 {
		// Halfway between two float32: what the sum lost decides.
		v := s - p
		if lost := (p - (s - v)) + (float64(c) - v); lost != 0 {
			s = math.Nextafter(s, math.Inf(int(math.Copysign(1, lost))))
		}
	}
	return float32(s)
}

// vectorExp is the exponential of every vector implementation.
func vectorExp(x float32) float32 {
	const (
		low     = -87.33654022216797
		high    = 88.72283172607422
		round   = 3 << 22
		ln2High = 0.693147182464599609375
		ln2Low  = -1.904654323148236017e-9
	)
	switch {
	case x < low:
		return 0
	case x > high:
		return float32(math.Inf(1))
	}
	n := fma(x, math.Log2E, round) - round
	r := fma(-n, ln2High, x)
	r = fma(-n, ln2Low, r)
	p := float32(0.0013950603)
	for _, c := range []float32{0.0083689535, 0.041666204, 0.16666518, 0.5, 1, 1} {
		p = fma(p, r, c)
	}
	return float32(math.Ldexp(float64(p), int(n)))
}

// TestExp demands the same bits of every vector implementation, and bounds
// them in units in the last place.
func TestExp(t *testing.T) {
	each(t, func(t *testing.T) {
		if active.vectors == nil {
			t.Skip()
		}
		var x []float32
		step := float32(0.00731)
		if !testing.Short() {
			step /= 10
		}
		for v := float32(-88); v < 89.5; v += step {
			x = append(x, v)
		}
		for b := uint32(0); b < 0xff800000-1<<17; b += 1 << 17 { // all sizes, but NaN
			if v := math.Float32frombits(b); v == v {
				x = append(x, v)
			}
		}
		x = append(x, float32(math.Inf(-1)), float32(math.Inf(1)), -87.33654, -87.336555, 88.72283, 88.72284, 0)
		e := make([]float32, len(x))
		expShift(e, x, 0)
		worst := 0.0
		for i, v := range x {
			if want := vectorExp(v); math.Float32bits(e[i]) != math.Float32bits(want) {
				t.Fatalf("exp(%v) = %v (%#x), want %v (%#x)", v, e[i], math.Float32bits(e[i]), want, math.Float32bits(want))
			}
			want := math.Exp(float64(v))
			if v < -87.336 || v > 88.722 {
				continue
			}
			ulp := math.Ldexp(1, int(math.Floor(math.Log2(want)))-23)
			worst = max(worst, math.Abs(float64(e[i])-want)/ulp)
		}
		if worst > 0.9 {
			t.Errorf("off by %.3f units in the last place", worst)
		}
		expShift(e[:1], []float32{guard}, 0)
		if e[0] == e[0] {
			t.Errorf("exp(NaN) = %v", e[0])
		}
	})
}

package kernels

import "math"

// AdamW is the constants of one update of AdamW (Loshchilov and Hutter, 2019),
// as torch.optim.AdamW computes it.
type AdamW struct {
	Scale   float32 // of the gradient
	Shrink  float32 // 1 - η·λ
	Size    float32 // η/(1-β₁ᵗ)
	Root    float32 // √(1-β₂ᵗ)
	Beta1   float64
	Beta2   float64
	Epsilon float32
}

// Update takes one step on values, with their gradients and both moments:
//
//	m ← m + (g - m)·(1-β₁);  v ← β₂·v + (1-β₂)·g²
//	θ ← θ·shrink - size·m/(√v/root + ε)
func (a AdamW) Update(value, grad, m, v []float32) {
	b1, b2, nb2 := float32(1-a.Beta1), float32(a.Beta2), float32(1-a.Beta2)
	grad, m, v = grad[:len(value)], m[:len(value)], v[:len(value)]
	for i := range value {
		g := grad[i] * a.Scale
		m[i] += (g - m[i]) * b1
		v[i] = v[i]*b2 + nb2*g*g
		value[i] = value[i]*a.Shrink - a.Size*m[i]/(float32(math.Sqrt(float64(v[i])))/a.Root+a.Epsilon)
	}
}

// Momentum is the constants of one update of stochastic gradient descent, as
// torch.optim.SGD computes it.
type Momentum struct {
	Scale, Rate, Decay, Mu float32
}

// Update takes one step: g ← g + λ·θ; b ← μ·b + g; θ ← θ - η·b. Without a
// buffer b, g takes its place.
func (s Momentum) Update(value, grad, b []float32) {
	for i, g := range grad[:len(value)] {
		g = g*s.Scale + s.Decay*value[i]
		if b != nil {
			b[i] = s.Mu*b[i] + g
			g = b[i]
		}
		value[i] -= s.Rate * g
	}
}

// SquareSum returns Σ v² in four partial sums of float64.
func SquareSum(v []float32) float64 {
	var sum [4]float64
	n := len(v) &^ 3
	for j := 0; j < n; j += 4 {
		for k := range 4 {
			x := float64(v[j+k])
			sum[k] += x * x
		}
	}
	for _, x := range v[n:] {
		sum[0] += float64(x) * float64(x)
	}
	return sum[0] + sum[1] + sum[2] + sum[3]
}

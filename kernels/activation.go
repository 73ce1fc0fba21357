package kernels

import "math"

// Activation is an element-wise non-linearity.
type Activation uint8

const (
	Identity Activation = iota
	SiLU                // x·σ(x), also called swish
	GELU                // x·Φ(x), by the error function
	GELUTanh            // the tanh approximation: gelu_new, gelu_pytorch_tanh
	ReLU
	Tanh
	Sigmoid
	LeakyReLU // slope 0.01
)

// activations holds, by Activation, its name and the function with its
// derivative.
var activations = [...]struct {
	name string
	f    func(float32) float32
	d    func(float32) float32
}{
	Identity:  {"linear", func(x float32) float32 { return x }, func(float32) float32 { return 1 }},
	SiLU:      {"silu", silu, dsilu},
	GELU:      {"gelu", gelu, dgelu},
	GELUTanh:  {"gelu_new", geluTanh, dgeluTanh},
	ReLU:      {"relu", func(x float32) float32 { return max(x, 0) }, func(x float32) float32 { return step(x, 0) }},
	Tanh:      {"tanh", tanh, func(x float32) float32 { t := tanh(x); return 1 - t*t }},
	Sigmoid:   {"sigmoid", sigmoid, func(x float32) float32 { s := sigmoid(x); return s * (1 - s) }},
	LeakyReLU: {"leakyrelu", func(x float32) float32 { return x * step(x, 0.01) }, func(x float32) float32 { return step(x, 0.01) }},
}

// ActivationByName finds an Activation by the name that transformers or
// AdapterHub give it.
func ActivationByName(name string) (Activation, bool) {
	switch name {
	case "swish":
		return SiLU, true
	case "gelu_pytorch_tanh", "gelu_fast", "gelu_tanh":
		return GELUTanh, true
	case "leaky_relu":
		return LeakyReLU, true
	}
	for a, e := range activations {
		if e.name == name {
			return Activation(a), true
		}
	}
	return 0, false
}

func (a Activation) String() string { return activations[a].name }

// Apply sets dst = act(x). dst may be x.
func (a Activation) Apply(dst, x []float32) {
	if v := active.vectors; v != nil && a != Identity && len(x) > 0 {
		v.apply[a](&dst[:len(x)][0], &x[0], len(x))
		return
	}
	f := activations[a].f
	for i, v := range x {
		dst[i] = f(v)
	}
}

// Gate sets dst = act(gate) ⊙ up. dst may be gate or up.
func (a Activation) Gate(dst, gate, up []float32) {
	if v := active.vectors; v != nil && a != Identity && len(gate) > 0 {
		v.gate[a](&dst[:len(gate)][0], &gate[0], &up[:len(gate)][0], len(gate))
		return
	}
	f := activations[a].f
	for i, v := range gate {
		dst[i] = f(v) * up[i]
	}
}

// Derivative sets dst = act′(x). dst may be x.
func (a Activation) Derivative(dst, x []float32) {
	if v := active.vectors; v != nil && a != Identity && len(x) > 0 {
		v.derivative[a](&dst[:len(x)][0], &x[0], len(x))
		return
	}
	d := activations[a].d
	for i, v := range x {
		dst[i] = d(v)
	}
}

func step(x, below float32) float32 {
	if x > 0 {
		return 1
	}
	return below
}

func exp(x float32) float32     { return float32(math.Exp(float64(x))) }
func tanh(x float32) float32    { return float32(math.Tanh(float64(x))) }
func sigmoid(x float32) float32 { return 1 / (1 + exp(-x)) }
func silu(x float32) float32    { return x / (1 + exp(-x)) }

func dsilu(x float32) float32 {
	s := sigmoid(x)
	return s * (1 + x*(1-s))
}

func gelu(x float32) float32 {
	return float32(0.5 * float64(x) * (1 + math.Erf(float64(x)/math.Sqrt2)))
}

func dgelu(x float32) float32 {
	v := float64(x)
	return float32(0.5*(1+math.Erf(v/math.Sqrt2)) + v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi))
}

// √(2/π), of the tanh approximation of GELU (Hendrycks and Gimpel, 2016).
const geluC = 0.7978845608028654

func geluTanh(x float32) float32 {
	v := float64(x)
	return float32(0.5 * v * (1 + math.Tanh(geluC*(v+0.044715*v*v*v))))
}

func dgeluTanh(x float32) float32 {
	v := float64(x)
	t := math.Tanh(geluC * (v + 0.044715*v*v*v))
	return float32(0.5*(1+t) + 0.5*v*(1-t*t)*geluC*(1+3*0.044715*v*v))
}

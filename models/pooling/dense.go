package pooling

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Dense is a linear with an activation on the pooled row.
type Dense struct {
	From    string // its configuration
	in, out int
	weight  []float32 // [out, in]
	bias    []float32 // nil: none
	activation
}

// In and Out are the numbers of values that it takes and makes.
func (d *Dense) In() int  { return d.in }
func (d *Dense) Out() int { return d.out }

// Forward applies it to a row.
func (d *Dense) Forward(row []float32) []float32 {
	out := make([]float32, d.out)
	for i := range out {
		sum := Dot(d.weight[i*d.in:(i+1)*d.in], row)
		if d.bias != nil {
			sum += float64(d.bias[i])
		}
		out[i] = float32(d.of(sum))
	}
	return out
}

// activation is one of torch's, with its derivative.
type activation struct{ of, slope func(float64) float64 }

// activations are those that such modules have, by their class.
var activations = map[string]activation{
	"Tanh":     {math.Tanh, func(x float64) float64 { y := math.Tanh(x); return 1 - y*y }},
	"Identity": {func(x float64) float64 { return x }, func(float64) float64 { return 1 }},
	"ReLU": {func(x float64) float64 { return max(x, 0) }, func(x float64) float64 {
		if x > 0 {
			return 1
		}
		return 0
	}},
	"Sigmoid": {sigmoid, func(x float64) float64 { y := sigmoid(x); return y * (1 - y) }},
	"GELU": {func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }, func(x float64) float64 {
		return (1+math.Erf(x/math.Sqrt2))/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	}},
	"SiLU": {func(x float64) float64 { return x * sigmoid(x) }, func(x float64) float64 { y := sigmoid(x); return y * (1 + x*(1-y)) }},
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// maxDense is the most values that a module Dense may take or make.
const maxDense = 1 << 16

// readDense reads the module in a folder.
func (r *Recipe) readDense(dir string) (err error) {
	path := filepath.Join(dir, "config.json")
	c := struct {
		In         int     `json:"in_features"`
		Out        int     `json:"out_features"`
		Bias       bool    `json:"bias"`
		Activation string  `json:"activation_function"`
		Input      *string `json:"module_input_name"`
		Output     *string `json:"module_output_name"`
		Residual   bool    `json:"use_residual"`
	}{Bias: true, Activation: "torch.nn.modules.activation.Tanh"}
	if err := read(path, &c); err != nil {
		return err
	}
	kind := c.Activation[strings.LastIndexByte(c.Activation, '.')+1:]
	act, known := activations[kind]
	switch {
	case c.In <= 0 || c.In > maxDense || c.Out <= 0 || c.Out > maxDense:
		return fmt.Errorf("%s: in_features and out_features are %d and %d, outside 1 to %d", path, c.In, c.Out, maxDense)
	case !known || !strings.HasPrefix(c.Activation, "torch.nn.modules."):
		return fmt.Errorf("%s: activation_function %q is not implemented", path, c.Activation)
	}
	if c.Residual {
		return fmt.Errorf("%s: use_residual is not implemented", path)
	}
	if err := ofSentence(path, c.Input, c.Output); err != nil {
		return err
	}
	d := &Dense{From: path, in: c.In, out: c.Out, activation: act}
	file, err := safetensors.Open(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if d.weight, err = values(file, "linear.weight", c.Out, c.In); err == nil && c.Bias {
		d.bias, err = values(file, "linear.bias", c.Out)
	}
	r.Dense = append(r.Dense, d)
	return err
}

// values are a copy of those of a tensor of that shape.
func values(file *safetensors.File, name string, shape ...int) ([]float32, error) {
	t, err := file.Tensor(name)
	if err != nil {
		return nil, err
	}
	if fmt.Sprint(t.Shape) != fmt.Sprint(shape) {
		return nil, fmt.Errorf("%s: %s has the shape %v, and %v is wanted", file.Path(), name, t.Shape, shape)
	}
	return t.Float32s()
}

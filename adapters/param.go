package adapters

import (
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Param is one named tensor of an adapter.
type Param struct {
	Name  string // in the file: "base_model.model.….lora_A.weight"
	Shape []int  // in the file
	Site  int    // of the module that it belongs to; -1: of none
	Role  Role
	// Weight holds the values in stored precision, or in F32 where they are
	// trained: a vector is one row, [a, b] is a rows of b. It is empty where
	// an optional tensor is absent.
	Weight kernels.Weight
	// Transposed tells that Weight is [b, a]. A lora_B, [out, r], is held so:
	// then both its products run along memory (see lowRank).
	Transposed bool
	// Grad is the gradient in the layout of Weight; empty unless it is trained.
	Grad kernels.Matrix

	// said is what the configuration says of dimensions of Shape.
	said []statement

	start     func(v kernels.Matrix, d drawn) error // see starts
	factor    bool                                  // of a low rank on a Linear
	still     bool                                  // see frozen
	optional  bool
	adopted   bool // a file has it
	folded    bool // equal to base, whose memory Weight views
	roundable bool // a factor, which may be held in less than the file has: see Precision
	// base is the base model's own value, where the tensor stands in for it:
	// what training starts from, and what an equal tensor is folded into.
	base kernels.Weight
}

// Role is what a parameter is to its family, as far as others ask.
type Role uint8

const (
	Plain     Role = iota // a factor, an added bias, a row
	Down                  // the factor that reads the input: A, or a bottleneck's first matrix
	Up                    // the factor that writes the output: B, or a bottleneck's second matrix
	Magnitude             // DoRA's, which has to be divided by a norm
	InPlace               // it stands where the base has a weight of its own
	Bias                  // it stands where the base has a bias of its own
)

// as gives a parameter a role.
func (p *Param) as(r Role) *Param {
	p.Role = r
	return p
}

// frozen marks a parameter that training leaves as it starts.
func (p *Param) frozen() *Param {
	p.still = true
	return p
}

// statement is what the configuration says of a dimension.
type statement struct {
	dim  int
	text string // "r=16"
	has  string // "rank %d"
}

// states notes what the configuration says of a dimension: a file that differs
// there alone contradicts its configuration, not the base.
func (p *Param) states(dim int, text, has string) *Param {
	p.said = append(p.said, statement{dim, text, has})
	return p
}

// contradicts returns what a file's shape has in a stated dimension, where
// that and nothing else differs.
func (s statement) contradicts(want, got []int) (n int, ok bool) {
	if len(got) != len(want) || got[s.dim] == want[s.dim] {
		return 0, false
	}
	for i := range got {
		if i != s.dim && got[i] != want[i] {
			return 0, false
		}
	}
	return got[s.dim], true
}

// Len is the number of values.
func (p *Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Present reports whether the tensor is there, if without any values.
func (p *Param) Present() bool { return p != nil && (!p.Weight.Empty() || p.adopted) }

// replaces reports whether the tensor is there and differs from the base's.
func (p *Param) replaces() bool { return p.Present() && !p.folded }

// fold drops the values where they equal the base's.
func (p *Param) fold() {
	w, b := p.Weight, p.base
	if b.Empty() || w.Rows != b.Rows || w.Cols != b.Cols {
		return
	}
	mine, theirs := make([]float32, w.Cols), make([]float32, w.Cols)
	for r := range w.Rows {
		decodeRow(mine, w, r)
		decodeRow(theirs, b, r)
		if !slices.Equal(mine, theirs) {
			return
		}
	}
	p.Weight, p.folded = b, true
}

// Values views the values as float32, in the layout of Weight: what is written
// to a trained Param's Values is what the next pass reads. It copies where the
// stored precision is another.
func (p *Param) Values() kernels.Matrix { return p.Weight.Matrix() }

// vector returns the values as a float32 slice.
func (p *Param) vector() []float32 {
	v := make([]float32, p.Len())
	kernels.Decode(v, p.Weight.Format, p.Weight.Data)
	return v
}

// vectorGrad is the gradient of a vector; nil where it is not trained.
func (p *Param) vectorGrad() []float32 {
	if !p.Present() {
		return nil
	}
	return p.Grad.Data
}

// dims is the shape of Weight.
func (p *Param) dims() (rows, cols int) {
	switch {
	case len(p.Shape) == 0:
		return 1, 1
	case len(p.Shape) == 1:
		return 1, p.Shape[0]
	case p.Transposed:
		return p.Shape[1], p.Shape[0]
	}
	return p.Shape[0], p.Len() / max(p.Shape[0], 1)
}

// adopt points Weight at data and copies a file's bytes into it.
func (p *Param) adopt(f kernels.Format, data, file []byte) {
	rows, cols := p.dims()
	p.adopted = true
	p.Weight = kernels.NewWeight(f, rows, cols, data)
	if p.Transposed {
		transpose(data, file, cols, rows, f.BlockBytes())
	} else {
		copy(data, file)
	}
}

// Tensor returns the tensor as a file holds it.
func (p *Param) Tensor() safetensors.Tensor {
	t := safetensors.Tensor{Name: p.Name, Shape: p.Shape, Data: p.Weight.Data}
	switch p.Weight.Format {
	case kernels.F32:
		t.DType = safetensors.F32
	case kernels.F16:
		t.DType = safetensors.F16
	case kernels.BF16:
		t.DType = safetensors.BF16
	default: // a base's own quantised weight, or a factor that has been rounded
		wide := *p
		wide.Weight = kernels.WeightOf(p.Weight.Matrix())
		return wide.Tensor()
	}
	if p.Transposed {
		t.Data = make([]byte, len(p.Weight.Data))
		transpose(t.Data, p.Weight.Data, p.Weight.Rows, p.Weight.Cols, p.Weight.Format.BlockBytes())
	}
	return t
}

// transpose writes src, [rows, cols] of elements of the given size, to dst as
// [cols, rows].
func transpose(dst, src []byte, rows, cols, size int) {
	switch size {
	case 4:
		for r := range rows {
			for c := range cols {
				copy(dst[(c*rows+r)*4:][:4], src[(r*cols+c)*4:][:4])
			}
		}
	default:
		for r := range rows {
			for c := range cols {
				copy(dst[(c*rows+r)*2:][:2], src[(r*cols+c)*2:][:2])
			}
		}
	}
}

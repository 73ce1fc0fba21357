package training

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// A model is trained in float32 and saved in --dtype, all of it. What is
// reported of it is measured on the weights as they are saved: they are rounded
// while it is validated, and then trained on as they were.

// precision is a float format in which a model can be saved.
type precision struct {
	format kernels.Format
	dtype  safetensors.DType
	torch  string // in config.json
}

var precisions = map[string]precision{
	"f32":  {kernels.F32, safetensors.F32, "float32"},
	"f16":  {kernels.F16, safetensors.F16, "float16"},
	"bf16": {kernels.BF16, safetensors.BF16, "bfloat16"},
}

// Precisions lists the names of --dtype.
func Precisions() []string { return slices.Sorted(maps.Keys(precisions)) }

// precisionFor is what a base is saved in where nobody has said: bf16 where most of
// its weights have 16 bits, whichever kind, because trained weights may leave
// f16's range; f32 where they have more, or are quantised and would lose more.
func precisionFor(stored string) string {
	switch strings.ToLower(stored) {
	case "f16", "bf16":
		return "bf16"
	}
	return "f32"
}

// encode stores values of the tensor in a float format, which must hold them.
func (t *tensor) encode(dst []byte, f kernels.Format, values []float32) error {
	if err := kernels.Encode(dst, f, values); err != nil {
		return fmt.Errorf("%s: %w", t.Name, err)
	}
	if f == kernels.F32 {
		return nil
	}
	var back [1024]float32
	size := f.BlockBytes()
	for at := 0; at < len(values); at += len(back) {
		n := min(len(back), len(values)-at)
		kernels.Decode(back[:n], f, dst[at*size:][:n*size])
		for i, v := range back[:n] {
			if v-v != 0 {
				return fmt.Errorf("%s: a weight of %g is beyond %s, which --dtype asks for: %w", t.Name, values[at+i], f, ErrDiverged)
			}
		}
	}
	return nil
}

// asSaved calls f while every weight is what it will be in a file of a
// precision, and in its form: what f computes is what the file computes.
func (b *base) asSaved(p precision, f func() error) (err error) {
	kept := map[*tensor][]float32{} // vectors as they were
	var bound []*tensor
	defer func() {
		for _, t := range bound {
			t.rounded = kernels.Weight{}
			t.bind(t)
		}
		for t, v := range kept {
			copy(t.Value, v)
		}
	}()
	for _, t := range b.tensors() {
		switch {
		case t.weight.Empty():
			stored := make([]byte, p.format.RowBytes(len(t.Value)))
			if err := t.encode(stored, p.format, t.Value); err != nil {
				return err
			}
			kept[t] = slices.Clone(t.Value)
			kernels.Decode(t.Value, p.format, stored)
		case t.now().Format != p.format && (t.Value != nil || p.format != kernels.F32):
			stored := t.spareBytes(t.Len() * p.format.BlockBytes())
			if err := t.inRows(func(at int, values []float32) error {
				size := p.format.BlockBytes()
				return t.encode(stored[at*size:][:len(values)*size], p.format, values)
			}); err != nil {
				return err
			}
			t.rounded = kernels.NewWeight(p.format, t.weight.Rows, t.weight.Cols, stored)
			bound = append(bound, t)
			t.bind(t)
		}
	}
	return f()
}

// spareBytes is n bytes of the gradient, which nobody needs between two steps,
// or of new memory.
func (t *tensor) spareBytes(n int) []byte {
	if len(t.Grad) != t.Len() {
		return make([]byte, n)
	}
	return kernels.WeightOf(kernels.MatrixOf(1, len(t.Grad), t.Grad)).Data[:n]
}

// inRows calls f for the values of a matrix in force, some rows at a time.
func (t *tensor) inRows(f func(at int, values []float32) error) error {
	w := t.now()
	n := max(1, 1<<16/w.Cols)
	for row := 0; row < w.Rows; row += n {
		if err := f(row*w.Cols, w.Span(row, min(row+n, w.Rows)).Matrix().Data); err != nil {
			return err
		}
	}
	return nil
}

// savedAs tells whether the passes read every matrix in the form in which it is
// saved: a quantised one that is saved in F32 they do not.
func (b *base) savedAs(p precision) bool {
	return !slices.ContainsFunc(b.tensors(), func(t *tensor) bool {
		return !t.weight.Empty() && p.format == kernels.F32 && t.now().Format != kernels.F32
	})
}

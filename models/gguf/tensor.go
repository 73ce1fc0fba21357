package gguf

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// Errors of asking a File for a tensor.
var (
	ErrMissing = errors.New("no such tensor")
	ErrType    = errors.New("stored form not supported")
)

// Tensor describes a tensor. Dims is in GGML's order, the innermost (and
// contiguous) dimension first. Data views the stored bytes; it is nil where
// the type's size is not known.
type Tensor struct {
	Name   string
	Type   Type
	Dims   []int
	Offset uint64 // from the start of its file's tensor section, in bytes
	Data   []byte
}

// Shape is Dims outermost first, as PyTorch writes it.
func (t Tensor) Shape() []int {
	shape := slices.Clone(t.Dims)
	slices.Reverse(shape)
	return shape
}

// Len is the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, dim := range t.Dims {
		n *= dim
	}
	return n
}

// Weight views the tensor as a frozen matrix: Dims[0] columns, and a row for
// each of the rest. It fails with ErrType for a type the kernels lack.
func (t Tensor) Weight() (kernels.Weight, error) {
	format, ok := t.Type.Format()
	if !ok {
		return kernels.Weight{}, fmt.Errorf("tensor %q: %w: %s", t.Name, ErrType, t.Type)
	}
	if t.Len() == 0 {
		return kernels.Weight{Format: format}, nil
	}
	cols := t.cols()
	return kernels.NewWeight(format, t.Len()/cols, cols, t.Data), nil
}

// cols is the length of a row.
func (t Tensor) cols() int {
	if len(t.Dims) == 0 {
		return 1
	}
	return t.Dims[0]
}

// size is the stored bytes of t; known is false where its type is not.
func (t Tensor) size() (size uint64, known bool, err error) {
	n := uint64(1)
	for _, dim := range t.Dims {
		if dim > 0 && n > math.MaxInt64/uint64(dim) {
			return 0, false, fmt.Errorf("dimensions %v are too large", t.Dims)
		}
		n *= uint64(dim)
	}
	layout, known := types[t.Type]
	if !known {
		return 0, false, nil
	}
	if t.cols()%layout.values != 0 {
		return 0, false, fmt.Errorf("rows of %d do not fill %s blocks of %d", t.cols(), t.Type, layout.values)
	}
	blocks := n / uint64(layout.values)
	if blocks > math.MaxInt64/uint64(layout.bytes) {
		return 0, false, fmt.Errorf("dimensions %v are too large", t.Dims)
	}
	return blocks * uint64(layout.bytes), true, nil
}

// place cuts each tensor's Data out of body, the file's tensor section, and
// demands that they are aligned, within it and apart.
func place(tensors []Tensor, body []byte, alignment uint64) error {
	order := make([]*Tensor, len(tensors))
	for i := range tensors {
		order[i] = &tensors[i]
	}
	slices.SortStableFunc(order, func(a, b *Tensor) int { return cmp.Compare(a.Offset, b.Offset) })
	var end uint64
	for i, t := range order {
		size, known, err := t.size()
		length := uint64(len(body))
		switch {
		case err != nil:
			return fmt.Errorf("%w: tensor %q: %w", ErrInvalid, t.Name, err)
		case t.Offset%alignment != 0:
			return fmt.Errorf("%w: tensor %q: offset %d is not aligned to %d", ErrInvalid, t.Name, t.Offset, alignment)
		case t.Offset > length || size > length-t.Offset:
			return fmt.Errorf("%w: tensor %q: %d bytes at %d lie outside the file's %d", ErrInvalid, t.Name, size, t.Offset, length)
		case t.Offset < end:
			return fmt.Errorf("%w: tensor %q overlaps %q", ErrInvalid, t.Name, order[i-1].Name)
		}
		if known {
			end = t.Offset + size
			t.Data = body[t.Offset:end:end]
		}
	}
	return nil
}

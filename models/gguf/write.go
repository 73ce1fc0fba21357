package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/kernels"
)

// Writer collects metadata and tensors for a new version 3 file, aligned to
// 32 bytes. The faults of Set and Add are kept and returned when it is written.
type Writer struct {
	pairs    []byte // encoded metadata
	count    int    // of pairs
	tensors  []Tensor
	contents []func(io.Writer) error
	end      uint64          // of the tensors so far, padded
	taken    map[string]bool // metadata keys, and tensor names after a NUL
	faults   []error
}

// NewWriter returns a Writer of a model whose general.architecture is given;
// "" leaves that key out.
func NewWriter(architecture string) *Writer {
	w := &Writer{taken: map[string]bool{}}
	if architecture != "" {
		w.Set("general.architecture", architecture)
	}
	return w
}

// Set adds a metadata value: a string, a bool, a sized integer, a float32 or
// float64, or a slice of one of them. An int is stored as uint32, the type of
// llama.cpp's sizes, and a []int as int32, that of its token types.
func (w *Writer) Set(key string, v any) {
	encoded, err := appendValue(appendString(nil, key), v)
	switch {
	case w.taken[key]:
		err = errors.New("occurs twice")
	case len(key) > maxKey || key == keyAlignment:
		err = errors.New("not a key that can be set")
	}
	if err != nil {
		w.faults = append(w.faults, fmt.Errorf("metadata %q: %w", key, err))
		return
	}
	w.taken[key] = true
	w.pairs = append(w.pairs, encoded...)
	w.count++
}

// Add adds a tensor stored as t, its dims in GGML's order: innermost first.
// stored is kept, not copied, until the file is written.
func (w *Writer) Add(name string, t Type, dims []int, stored []byte) {
	w.AddFunc(name, t, dims, func(out io.Writer) error {
		_, err := out.Write(stored)
		return err
	})
}

// AddWeight adds a matrix as it is stored; its dims are Cols, Rows.
func (w *Writer) AddWeight(name string, weight kernels.Weight) {
	w.Add(name, TypeOf(weight.Format), []int{weight.Cols, weight.Rows}, weight.Data)
}

// AddFunc is Add for a tensor whose bytes are made as the file is written.
func (w *Writer) AddFunc(name string, t Type, dims []int, content func(io.Writer) error) {
	tensor := Tensor{Name: name, Type: t, Dims: slices.Clone(dims), Offset: w.end}
	size, known, err := tensor.size()
	negative := slices.ContainsFunc(dims, func(dim int) bool { return dim < 0 })
	switch {
	case w.taken["\x00"+name]:
		err = errors.New("occurs twice")
	case len(dims) > maxDims || negative:
		err = fmt.Errorf("dimensions %v", dims)
	case err == nil && !known:
		err = fmt.Errorf("%w: %s", ErrType, t)
	}
	if err != nil {
		w.faults = append(w.faults, fmt.Errorf("tensor %q: %w", name, err))
		return
	}
	w.taken["\x00"+name] = true
	w.tensors = append(w.tensors, tensor)
	w.contents = append(w.contents, content)
	w.end += size + padding(size)
}

// WriteFile writes the file to path, replacing what is there only once the
// whole is on disk.
func (w *Writer) WriteFile(path string) error { return disk.Replace(path, w.Write) }

// Write writes the file to out.
func (w *Writer) Write(out io.Writer) error {
	if err := errors.Join(w.faults...); err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint32([]byte("GGUF"), 3)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(w.tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(w.count))
	b = append(b, w.pairs...)
	for _, t := range w.tensors {
		b = binary.LittleEndian.AppendUint32(appendString(b, t.Name), uint32(len(t.Dims)))
		for _, dim := range t.Dims {
			b = binary.LittleEndian.AppendUint64(b, uint64(dim))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
		b = binary.LittleEndian.AppendUint64(b, t.Offset)
	}
	if _, err := out.Write(append(b, make([]byte, padding(uint64(len(b))))...)); err != nil {
		return err
	}
	for i, t := range w.tensors {
		if err := writeTensor(out, t, w.contents[i]); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

func writeTensor(out io.Writer, t Tensor, content func(io.Writer) error) error {
	size, _, _ := t.size()
	counted := &counter{w: out}
	if err := content(counted); err != nil {
		return err
	}
	if counted.n != size {
		return fmt.Errorf("%d bytes for %s %v, want %d", counted.n, t.Type, t.Dims, size)
	}
	_, err := out.Write(make([]byte, padding(size)))
	return err
}

// counter passes writes on and counts their bytes.
type counter struct {
	w io.Writer
	n uint64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += uint64(n)
	return n, err
}

// padding is the bytes from n to the next aligned offset.
func padding(n uint64) uint64 { return -n % defaultAlignment }

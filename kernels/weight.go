package kernels

import (
	"fmt"
	"unsafe"
)

// Format is the stored form of a frozen weight. The block formats are GGML's
// (ggml-common.h and ggml-quants.c of llama.cpp).
type Format uint8

const (
	F32  Format = iota
	F16         // IEEE 754 binary16
	BF16        // the upper half of a float32
	Q8_0        // 32 values: f16 scale, 32 × int8
	Q4_0        // 32 values: f16 scale, 32 × 4 bit, offset 8
	Q4_1        // 32 values: f16 scale, f16 minimum, 32 × 4 bit
	Q5_0        // 32 values: f16 scale, 32 × 1 bit, 32 × 4 bit, offset 16
	Q5_1        // 32 values: f16 scale, f16 minimum, 32 × 1 bit, 32 × 4 bit
	Q4_K        // 256 values, 8 sub-blocks of 32 with 6-bit scales and minima
	Q5_K        // as Q4_K with a fifth bit
	Q6_K        // 256 values, 16 sub-blocks of 16 with 8-bit scales
)

// layouts holds, by Format, its name, the values in a block and its bytes.
var layouts = [...]struct {
	name          string
	values, bytes int
}{
	F32: {"F32", 1, 4}, F16: {"F16", 1, 2}, BF16: {"BF16", 1, 2},
	Q8_0: {"Q8_0", 32, 34}, Q4_0: {"Q4_0", 32, 18}, Q4_1: {"Q4_1", 32, 20},
	Q5_0: {"Q5_0", 32, 22}, Q5_1: {"Q5_1", 32, 24},
	Q4_K: {"Q4_K", 256, 144}, Q5_K: {"Q5_K", 256, 176}, Q6_K: {"Q6_K", 256, 210},
}

// Formats lists every Format.
func Formats() []Format {
	all := make([]Format, len(layouts))
	for i := range all {
		all[i] = Format(i)
	}
	return all
}

func (f Format) String() string { return layouts[f].name }

// BlockLen is the number of values in one block; 1 for the float formats.
func (f Format) BlockLen() int { return layouts[f].values }

// BlockBytes is the size of one block in bytes.
func (f Format) BlockBytes() int { return layouts[f].bytes }

// RowBytes is the size in bytes of a row of cols values, which must be a
// multiple of BlockLen.
func (f Format) RowBytes(cols int) int {
	if cols%f.BlockLen() != 0 {
		panic(fmt.Sprintf("kernels: %s: %d columns in blocks of %d", badShape, cols, f.BlockLen()))
	}
	return cols / f.BlockLen() * f.BlockBytes()
}

// Weight is a frozen matrix in its stored form: Rows outputs by Cols inputs,
// rows contiguous. Data is often memory-mapped and is never written. A Weight
// with a shape and no Data stands for one in a computation that is only
// measured.
type Weight struct {
	Format     Format
	Rows, Cols int
	Data       []byte

	int8 *int8Weight // products round their activations: see Int8
}

// NewWeight views data, rows*Format.RowBytes(cols) bytes, as a Weight.
func NewWeight(f Format, rows, cols int, data []byte) Weight {
	if want := rows * f.RowBytes(cols); len(data) != want {
		panic(fmt.Sprintf("kernels: %s: %d bytes for %d × %d of %s, want %d", badShape, len(data), rows, cols, f, want))
	}
	return Weight{Format: f, Rows: rows, Cols: cols, Data: data}
}

// WeightOf views a matrix whose rows are contiguous as an F32 Weight: what is
// written to m is seen through the Weight.
func WeightOf(m Matrix) Weight {
	if m.Stride != m.Cols {
		panic("kernels: " + badShape + ": a weight's rows are contiguous")
	}
	if m.Data == nil {
		return Weight{Format: F32, Rows: m.Rows, Cols: m.Cols}
	}
	return Weight{Format: F32, Rows: m.Rows, Cols: m.Cols, Data: bytesOf(m.Data)}
}

// Row returns the bytes of row i.
func (w Weight) Row(i int) []byte {
	n := w.Format.RowBytes(w.Cols)
	return w.Data[i*n : (i+1)*n : (i+1)*n]
}

// Span returns rows [from, to) as a view, whose products take activations as they
// are.
func (w Weight) Span(from, to int) Weight {
	span := Weight{Format: w.Format, Rows: to - from, Cols: w.Cols}
	if w.Data != nil {
		n := w.Format.RowBytes(w.Cols)
		span.Data = w.Data[from*n : to*n]
	}
	return span
}

// Empty reports whether w holds no element.
func (w Weight) Empty() bool { return w.Rows == 0 || w.Cols == 0 }

// Floats views w's values, row by row, where w is F32 and aligned; nil
// otherwise.
func (w Weight) Floats() []float32 {
	if w.Format == F32 && aligned4(w.Data) {
		return floatsOf(w.Data)
	}
	return nil
}

// Matrix returns w widened to float32: a view where w is F32 and aligned, a
// copy otherwise; a shape where w is one.
func (w Weight) Matrix() Matrix {
	if w.Data == nil {
		return ShapeOf(w.Rows, w.Cols)
	}
	if v := w.Floats(); v != nil {
		return MatrixOf(w.Rows, w.Cols, v)
	}
	m := NewMatrix(w.Rows, w.Cols)
	for i := range w.Rows {
		Decode(m.Row(i), w.Format, w.Row(i))
	}
	return m
}

// bytesOf views float32 values as their little-endian bytes.
func bytesOf(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// floatsOf views bytes, aligned to 4, as float32 values.
func floatsOf(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func aligned4(b []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%4 == 0
}

package kernels

import "fmt"

// Matrix is a row-major view of float32 values: element (i, j) is
// Data[i*Stride+j]. The zero Matrix is empty. A Matrix with a shape and no Data
// stands for one in a computation that is only measured: its views have shapes
// too, and its elements cannot be touched.
type Matrix struct {
	Rows, Cols int
	Stride     int
	Data       []float32
}

// NewMatrix returns a zeroed Matrix of the given shape on the heap.
func NewMatrix(rows, cols int) Matrix {
	return Matrix{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
}

// MatrixOf views data, which must hold rows*cols values, as a Matrix.
func MatrixOf(rows, cols int, data []float32) Matrix {
	if len(data) < rows*cols {
		panic(fmt.Sprintf("kernels: %s: %d values for %d × %d", badShape, len(data), rows, cols))
	}
	return Matrix{Rows: rows, Cols: cols, Stride: cols, Data: data[:rows*cols]}
}

// Row returns row i, a slice of length Cols; nil where m has no Data.
func (m Matrix) Row(i int) []float32 {
	if m.Data == nil {
		return nil
	}
	return m.Data[i*m.Stride : i*m.Stride+m.Cols : i*m.Stride+m.Cols]
}

// Span returns rows [from, to) as a view.
func (m Matrix) Span(from, to int) Matrix {
	if from == to {
		return Matrix{Cols: m.Cols, Stride: m.Stride}
	}
	v := Matrix{Rows: to - from, Cols: m.Cols, Stride: m.Stride}
	if m.Data != nil {
		v.Data = m.Data[from*m.Stride : (to-1)*m.Stride+m.Cols]
	}
	return v
}

// Columns returns columns [from, to) of every row as a view.
func (m Matrix) Columns(from, to int) Matrix {
	if m.Rows == 0 || from == to {
		return Matrix{Rows: m.Rows, Cols: to - from, Stride: m.Stride}
	}
	v := Matrix{Rows: m.Rows, Cols: to - from, Stride: m.Stride}
	if m.Data != nil {
		v.Data = m.Data[from : (m.Rows-1)*m.Stride+to]
	}
	return v
}

// Reshape returns the values of m, whose rows are contiguous, in another shape.
func (m Matrix) Reshape(rows, cols int) Matrix {
	if m.Data == nil {
		return ShapeOf(rows, cols)
	}
	return MatrixOf(rows, cols, m.Data)
}

// ShapeOf returns a Matrix of the given shape without Data.
func ShapeOf(rows, cols int) Matrix { return Matrix{Rows: rows, Cols: cols, Stride: cols} }

// Empty reports whether m holds no element.
func (m Matrix) Empty() bool { return m.Rows == 0 || m.Cols == 0 }

// Zero sets every element to 0.
func (m Matrix) Zero() {
	for i := range m.Rows {
		clear(m.Row(i))
	}
}

// Copy sets dst to src, which has the same shape.
func (m Matrix) Copy(src Matrix) {
	sameShape(m, src)
	for i := range m.Rows {
		copy(m.Row(i), src.Row(i))
	}
}

// badShape marks a panic caused by operands whose shapes do not fit: a fault
// of the calling code, never of input from disk or network.
const badShape = "shapes do not fit"

func sameShape(a, b Matrix) {
	if a.Rows != b.Rows || a.Cols != b.Cols {
		panic(fmt.Sprintf("kernels: %s: %d × %d and %d × %d", badShape, a.Rows, a.Cols, b.Rows, b.Cols))
	}
}

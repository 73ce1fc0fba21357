package kernels

// What a worker computes of an adapter's rows: the operations of Pool by the
// same names, on the calling goroutine, with the same bits.

// Take returns an uninitialised matrix, valid until the part ends.
func (w *Worker) Take(rows, cols int) Matrix {
	n := (rows*cols + 15) &^ 15 // each begins on a boundary of 64 bytes
	if w.taken+n > len(w.lent) {
		size := max(2*len(w.lent), 2*n)
		w.lent, w.taken = grow(new([]float32), size), 0 // what is lent stays where it is
	}
	m := MatrixOf(rows, cols, w.lent[w.taken:][:rows*cols])
	w.taken += n
	return m
}

// begin ends the use of what the last part took.
func (w *Worker) begin() { w.taken = 0 }

// Zero sets dst to 0.
func (w *Worker) Zero(dst Matrix) { dst.Zero() }

// Copy sets dst to x.
func (w *Worker) Copy(dst, x Matrix) { dst.Copy(x) }

// Scale multiplies dst by f.
func (w *Worker) Scale(dst Matrix, f float32) {
	for r := range dst.Rows {
		row := dst.Row(r)
		for i := range row {
			row[i] *= f
		}
	}
}

// ScaleColumns multiplies each row of dst by v, element by element.
func (w *Worker) ScaleColumns(dst Matrix, v []float32) {
	for r := range dst.Rows {
		Mul(dst.Row(r), v)
	}
}

// Add adds x to dst.
func (w *Worker) Add(dst, x Matrix) {
	for r := range dst.Rows {
		Add(dst.Row(r), x.Row(r))
	}
}

// AddScaled adds f·x to dst.
func (w *Worker) AddScaled(dst Matrix, f float32, x Matrix) {
	for r := range dst.Rows {
		AddScaled(dst.Row(r), f, x.Row(r))
	}
}

// AddProduct adds (v + c)⊙x to dst, row by row.
func (w *Worker) AddProduct(dst, x Matrix, v []float32, c float32) {
	for r := range dst.Rows {
		addProduct(dst.Row(r), x.Row(r), v, c)
	}
}

// AddBias adds bias to each row of dst.
func (w *Worker) AddBias(dst Matrix, bias []float32) {
	for r := range dst.Rows {
		Add(dst.Row(r), bias)
	}
}

// PutColumns sets columns of dst to those of x, in the order listed.
func (w *Worker) PutColumns(dst, x Matrix, columns []int32) { putColumns(dst, x, columns) }

// Activate sets dst = act(x). dst may be x.
func (w *Worker) Activate(dst, x Matrix, act Activation) {
	for r := range dst.Rows {
		act.Apply(dst.Row(r), x.Row(r))
	}
}

// LayerNorm is Pool.LayerNorm. dst may be x.
func (w *Worker) LayerNorm(dst, x Matrix, weight, bias []float32, eps float32) {
	for r := range dst.Rows {
		LayerNorm(dst.Row(r), x.Row(r), weight, bias, eps)
	}
}

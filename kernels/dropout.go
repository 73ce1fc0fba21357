package kernels

// Mask makes the factors of dropout: a function of the element's number alone,
// so that the backward pass makes the same ones again.
type Mask interface {
	// Mask sets dst to the factors of elements first, first+1, …
	Mask(dst []float32, first uint64)
}

// Dropout sets dst to x under a mask, whose element first is that of x's first
// value. dst may be x.
func (p *Pool) Dropout(dst, x Matrix, m Mask, first uint64) {
	p.Run(x.Rows, &dropoutTask{dst, x, m, first})
}

type dropoutTask struct {
	dst, x Matrix
	mask   Mask
	first  uint64
}

func (t *dropoutTask) Part(w *Worker, r int) {
	factors := w.Scratch(t.x.Cols)
	t.mask.Mask(factors, t.first+uint64(r*t.x.Cols))
	out := t.dst.Row(r)
	for i, v := range t.x.Row(r) {
		out[i] = v * factors[i]
	}
}

package kernels

import (
	"fmt"
	"slices"
)

// MatMul sets dst = x·wᵀ: x is [rows, in], w is [out, in], dst is [rows, out].
// Element (r, o) is the dot product of row r of x and row o of w, in float32.
func (p *Pool) MatMul(dst, x Matrix, w Weight) {
	checkMatMul(dst, x, w)
	if l := active.lanes; l.use(w, x.Rows) {
		l.matMul(p, x, []Product{{dst, w}})
		return
	}
	t := &p.tasks.matMul
	t.x, t.pack = x, nil
	if w.int8 != nil {
		t.rounded = p.round(x, takesWide(w))
	} else if pack := active.pack; pack != nil && pack.use(w) && !x.Empty() {
		t.pack = pack
		t.packed = grow(&p.packed, pack.size(w, x.Rows))
		p.tasks.pack = packTask{pack, w, t.packed, x}
		if x.Rows*x.Cols < 1<<15 {
			for g := range groups(x.Rows) {
				pack.group(w, t.packed, x, g)
			}
		} else {
			p.Run(groups(x.Rows), &p.tasks.pack)
		}
	}
	t.products = t.products[:0]
	p.Run(t.add(Product{dst, w}, p.Threads()), t)
}

// Product is one of several products of the same x: Dst = x·Wᵀ.
type Product struct {
	Dst Matrix
	W   Weight
}

// MatMuls is MatMul for each of the products, all at once.
func (p *Pool) MatMuls(x Matrix, products ...Product) {
	if active.pack != nil && !allInt8(products) {
		for _, m := range products {
			p.MatMul(m.Dst, x, m.W)
		}
		return
	}
	for _, m := range products {
		checkMatMul(m.Dst, x, m.W)
	}
	if l := active.lanes; l.useAll(products, x.Rows) {
		l.matMul(p, x, products)
		return
	}
	t := &p.tasks.matMul
	t.x, t.pack, t.products = x, nil, t.products[:0]
	parts := 0
	for _, m := range products {
		parts = t.add(m, p.Threads())
	}
	if slices.ContainsFunc(products, roundsActivations) {
		t.rounded = p.round(x, slices.ContainsFunc(products, func(m Product) bool { return takesWide(m.W) }))
	}
	p.Run(parts, t)
}

func roundsActivations(m Product) bool { return m.W.int8 != nil }

func allInt8(products []Product) bool {
	for _, m := range products {
		if m.W.int8 == nil {
			return false
		}
	}
	return true
}

// MatMul is Pool.MatMul on the calling goroutine.
func (w *Worker) MatMul(dst, x Matrix, weight Weight) {
	checkMatMul(dst, x, weight)
	if weight.int8 != nil {
		in := roundedIn(&w.packed, x, takesWide(weight))
		in.roundRows(x, 0, x.Rows)
		w.mulInt8(dst, in, weight, 0, weight.Rows)
		return
	}
	active.matMul(w, dst, x, weight)
}

// PackedBytes is the most that a Pool keeps, packed, of up to so many rows and of the
// weights that they are multiplied with at once.
func PackedBytes(rows int, weights ...Weight) (ofRows, ofWeights int) {
	tiles := 0
	wide := active.int8 != nil && active.int8.wide && slices.ContainsFunc(weights, func(w Weight) bool { return w.Format == Q8_0 })
	for _, w := range weights {
		if w.Format.BlockLen() > 1 { // Int8 may be asked for
			ofRows = max(ofRows, roundedSize(rows, w.Cols, wide))
		}
		if pack := active.pack; pack != nil {
			ofRows = max(ofRows, pack.size(w, rows))
		}
		if l := active.lanes; l.use(w, rows) {
			x, tile, most := l.packed(rows, w.Cols)
			tiles = min(tiles+tilesOf(w.Rows, laneWide), most)
			ofRows, ofWeights = max(ofRows, x), max(ofWeights, tiles*tile)
		}
	}
	return 4 * grown(ofRows), 4 * grown(ofWeights)
}

// InputGrad adds dy·w to dx: the gradient of MatMul's result with respect to
// its input. dy is [rows, out], w is [out, in], dx is [rows, in].
func (p *Pool) InputGrad(dx, dy Matrix, w Weight) {
	checkMatMul(dy, dx, w)
	if g := active.gradTiles; g != nil && g.use(w.Rows, w.Cols) {
		g.inputGrad(&p.tasks.grad, dx, dy, w)
		p.tasks.grad.run(p, nil)
		return
	}
	t := &p.tasks.inputGrad
	t.dx, t.dy, t.w = dx, dy, w
	t.step = gradStep(dx.Rows, p.Threads())
	p.Run((dx.Rows+t.step-1)/t.step, t)
}

// gradStep is the number of rows in a part of InputGrad: a part a thread,
// because each of them reads and widens the whole weight.
func gradStep(rows, threads int) int {
	if threads == 1 {
		return rows
	}
	return max(24, (rows/threads+5)/6*6)
}

// InputGrad is Pool.InputGrad on the calling goroutine.
func (w *Worker) InputGrad(dx, dy Matrix, weight Weight) {
	checkMatMul(dy, dx, weight)
	if dx.Rows > 4 || !addsRows(weight) {
		active.inputGrad(w, dx, dy, weight)
		return
	}
	add, bytes := active.vectors.addRows[weight.Format], weight.Format.RowBytes(weight.Cols)
	whole := weight.Rows / rowsAdded * rowsAdded
	for r := range dx.Rows {
		for k := 0; k < whole; k += rowsAdded {
			add(&dx.Row(r)[0], &dy.Row(r)[k], &weight.Data[k*bytes], bytes, weight.Cols)
		}
	}
	if whole < weight.Rows {
		rest := weight.Span(whole, weight.Rows)
		active.inputGrad(w, dx, dy.Columns(whole, weight.Rows), rest)
	}
}

// Of few rows, such as a decoding step has under an adapter, InputGrad adds the weight
// as it lies, rowsAdded of its rows at a time. Of more, tiles of the result are worth
// widening the weight for. The sum runs in the same order, so the bits are the same.
const rowsAdded = 8

// addsRows reports whether the rows of a weight may be added so: vectors has a
// kernel, and many rows take no tiles, whose bits are others.
func addsRows(w Weight) bool {
	if active.vectors == nil || active.vectors.addRows[w.Format] == nil || w.Cols == 0 || w.Cols%32 != 0 || w.Rows < rowsAdded {
		return false
	}
	return active.gradTiles == nil || !active.gradTiles.use(w.Rows, w.Cols)
}

// WeightGrad adds dyᵀ·x to dw: the gradient of MatMul's result with respect to
// its weight. dy is [rows, out], x is [rows, in], dw is [out, in]. Rows are
// summed in order.
func (p *Pool) WeightGrad(dw, dy, x Matrix) {
	checkWeightGrad(dw, dy, x)
	if g := active.gradTiles; g != nil && g.use(dw.Rows, dw.Cols) {
		g.weightGrad(&p.tasks.grad, dw, dy, x)
		p.tasks.grad.run(p, nil)
		return
	}
	t := &p.tasks.weightGrad
	t.dw, t.dy, t.x = dw, dy, x
	t.step = max(24, min(96, dw.Rows/(2*p.Threads())/24*24)) // outputs that share a panel of x in the cache
	p.Run((dw.Rows+t.step-1)/t.step, t)
}

// WeightGrad is Pool.WeightGrad on the calling goroutine.
func (w *Worker) WeightGrad(dw, dy, x Matrix) {
	checkWeightGrad(dw, dy, x)
	active.weightGrad(w, dw, dy, x)
}

func checkMatMul(dst, x Matrix, w Weight) {
	if dst.Rows != x.Rows || dst.Cols != w.Rows || x.Cols != w.Cols {
		panic(fmt.Sprintf("kernels: %s: [%d, %d] = [%d, %d] · [%d, %d]ᵀ", badShape, dst.Rows, dst.Cols, x.Rows, x.Cols, w.Rows, w.Cols))
	}
}

func checkWeightGrad(dw, dy, x Matrix) {
	if dw.Rows != dy.Cols || dw.Cols != x.Cols || dy.Rows != x.Rows {
		panic(fmt.Sprintf("kernels: %s: [%d, %d] += [%d, %d]ᵀ · [%d, %d]", badShape, dw.Rows, dw.Cols, dy.Rows, dy.Cols, x.Rows, x.Cols))
	}
}

type matMulTask struct {
	x        Matrix
	products []plannedProduct
	pack     *packing
	packed   []float32
	rounded  rounded // x, for weights of Int8
}

// plannedProduct is a Product in parts, of which first is the first.
type plannedProduct struct {
	Product
	split
	first int
}

// add plans a product and returns the number of parts so far.
func (t *matMulTask) add(m Product, threads int) int {
	first := 0
	if n := len(t.products); n > 0 {
		last := &t.products[n-1]
		first = last.first + last.parts
	}
	p := plannedProduct{m, splitOutputs(t.x.Rows, m.W.Rows, m.W.Cols, threads, t.pack != nil), first}
	t.products = append(t.products, p)
	return first + p.parts
}

func (t *matMulTask) Part(w *Worker, part int) {
	i := len(t.products) - 1
	for t.products[i].first > part {
		i--
	}
	m := &t.products[i]
	from, to := m.part(part - m.first)
	if m.W.int8 != nil {
		w.mulInt8(m.Dst, t.rounded, m.W, from, to)
		return
	}
	if t.pack != nil {
		t.pack.mul(w, m.Dst.Columns(from, to), t.packed, m.W.Span(from, to), m.W)
		return
	}
	active.matMul(w, m.Dst.Columns(from, to), t.x, m.W.Span(from, to))
}

func groups(rows int) int { return (rows + packRows - 1) / packRows }

// packTask packs x, a group of rows a part.
type packTask struct {
	pack   *packing
	w      Weight
	packed []float32
	x      Matrix
}

func (t *packTask) Part(_ *Worker, part int) { t.pack.group(t.w, t.packed, t.x, part) }

type inputGradTask struct {
	dx, dy Matrix
	w      Weight
	step   int
}

func (t *inputGradTask) Part(w *Worker, part int) {
	from := part * t.step
	to := min(from+t.step, t.dx.Rows)
	active.inputGrad(w, t.dx.Span(from, to), t.dy.Span(from, to), t.w)
}

type weightGradTask struct {
	dw, dy, x Matrix
	step      int
}

func (t *weightGradTask) Part(w *Worker, part int) {
	from := part * t.step
	to := min(from+t.step, t.dw.Rows)
	active.weightGrad(w, t.dw.Span(from, to), t.dy.Columns(from, to), t.x)
}

func matMulPortable(w *Worker, dst, x Matrix, weight Weight) {
	row := grow(&w.tile, weight.Cols)
	for o := range weight.Rows {
		Decode(row, weight.Format, weight.Row(o))
		for r := range x.Rows {
			dst.Row(r)[o] = dotPortable(x.Row(r), row)
		}
	}
}

func inputGradPortable(w *Worker, dx, dy Matrix, weight Weight) {
	row := grow(&w.tile, weight.Cols)
	for o := range weight.Rows {
		Decode(row, weight.Format, weight.Row(o))
		for r := range dy.Rows {
			axpy(dx.Row(r), dy.Row(r)[o], row)
		}
	}
}

func weightGradPortable(_ *Worker, dw, dy, x Matrix) {
	for r := range dy.Rows {
		for o, g := range dy.Row(r) {
			axpy(dw.Row(o), g, x.Row(r))
		}
	}
}

// Dot returns Σ a[i]·b[i] in partial sums folded once at the end.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	if v := active.vectors; v != nil && len(a) > 0 {
		return v.dot(&a[0], &b[0], len(a))
	}
	return dotPortable(a, b)
}

func dotPortable(a, b []float32) float32 {
	var s [8]float32
	n := len(a) &^ 7
	for i := 0; i < n; i += 8 {
		u, v := a[i:i+8:i+8], b[i:i+8:i+8]
		s[0] += u[0] * v[0]
		s[1] += u[1] * v[1]
		s[2] += u[2] * v[2]
		s[3] += u[3] * v[3]
		s[4] += u[4] * v[4]
		s[5] += u[5] * v[5]
		s[6] += u[6] * v[6]
		s[7] += u[7] * v[7]
	}
	for i := n; i < len(a); i++ {
		s[i-n] += a[i] * b[i]
	}
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

// axpy adds a·x to y.
func axpy(y []float32, a float32, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += a * x[i]
	}
}

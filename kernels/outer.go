package kernels

// gradTiles is for gradients that rearrange their operands: both are products
// c += a·b, and b is packed once for all rows of c. Whether a product is one
// of these depends on the weight's shape alone, and its results have the bits
// of inputGrad and weightGrad.
type gradTiles struct {
	use    func(outs, cols int) bool
	planes func(f Format) int
	pack   func(w *Worker, t *outerTask, block int) // gradTerms terms
	mul    func(w *Worker, t *outerTask, from, to int)
}

const (
	gradTerms = 32 // terms of the sum in a block
	gradWide  = 32 // rows and columns of c multiplied at once
)

// outerTask is c += a·b, c being [rows, cols].
type outerTask struct {
	tiles      *gradTiles
	c, a       Matrix
	transposed bool   // a holds aᵀ
	x          Matrix // b, if w is empty
	w          Weight
	planes     int // of b

	from, terms int       // of the sum, in hand
	packed      []float32 // these terms of b
	packing     bool
	band        int // rows of c in a part
}

// inputGrad is dx += dy·w: the sum runs over outputs.
func (g *gradTiles) inputGrad(t *outerTask, dx, dy Matrix, w Weight) {
	*t = outerTask{tiles: g, c: dx, a: dy, w: w, planes: g.planes(w.Format)}
}

// weightGrad is dw += dyᵀ·x: the sum runs over rows.
func (g *gradTiles) weightGrad(t *outerTask, dw, dy, x Matrix) {
	*t = outerTask{tiles: g, c: dw, a: dy, transposed: true, x: x, planes: g.planes(F32)}
}

// gradPacked bounds the 32-bit words of b that are packed at a time. It never
// shows in a result: terms are added to c in order.
const gradPacked = 2 << 20

// run computes the product on p, or else on w.
func (t *outerTask) run(p *Pool, w *Worker) {
	sum := t.w.Rows
	if t.transposed {
		sum = t.a.Rows
	}
	if t.c.Empty() || sum == 0 {
		return
	}
	var threads int
	var memory *[]float32
	if p != nil {
		threads, memory = p.Threads(), &p.packed
	} else {
		threads, memory = 1, &w.packed
	}
	blockWords := (t.c.Cols + gradWide - 1) / gradWide * gradWide * gradTerms / 2 * t.planes
	t.band = (t.c.Rows/(4*threads) + gradWide - 1) / gradWide * gradWide
	t.band = max(gradWide, min(t.band, 8*gradWide))
	most := max(1, gradPacked/blockWords) * gradTerms
	for t.from = 0; t.from < sum; t.from += t.terms {
		t.terms = min(most, sum-t.from)
		blocks := (t.terms + gradTerms - 1) / gradTerms
		t.packed = grow(memory, blocks*blockWords)
		t.packing = true
		t.parts(p, w, blocks)
		t.packing = false
		t.parts(p, w, (t.c.Rows+t.band-1)/t.band)
	}
	*t = outerTask{}
}

func (t *outerTask) parts(p *Pool, w *Worker, n int) {
	if p != nil {
		p.Run(n, t)
		return
	}
	for i := range n {
		t.Part(w, i)
	}
}

func (t *outerTask) Part(w *Worker, part int) {
	if t.packing {
		t.tiles.pack(w, t, part)
		return
	}
	t.tiles.mul(w, t, part*t.band, min((part+1)*t.band, t.c.Rows))
}

package training

import (
	"math"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
)

// GaLore is Adam on gradients projected to a low rank (Zhao et al., 2024): of a
// matrix G, [m, n], the smaller side is kept whole,
//
//	R = G·Vᵀ (m ≥ n) or U·G,  θ ← θ - η·s·back(m̂/(√v̂+ε)),  θ ← θ·(1 - η·λ)
//
// with V or U, [r, …], the leading singular vectors of the gradient of every
// gap-th step. The moments are those of R, and stay when the vectors change.
// Parameters that are no matrices of a block are AdamW's.
type GaLore struct {
	AdamW
	Rank, Gap int
	Scale     float64
	Seed      uint64

	low  map[*Parameter]*projected
	back []float32 // an update before it is applied
}

// projected is the state of one matrix.
type projected struct {
	moments
	basis kernels.Matrix // rows are orthonormal
	right bool           // of the columns' space
}

// matrixOf returns values as the [out, in] matrix that they are.
func matrixOf(p *Parameter, values []float32) kernels.Matrix {
	rows, cols := p.Shape[0], p.Shape[1]
	if p.Turned {
		rows, cols = cols, rows
	}
	return kernels.MatrixOf(rows, cols, values)
}

// projects reports whether a parameter's gradient is projected: the matrices
// of the blocks, where the rank is smaller than they are.
func (o *GaLore) projects(p *Parameter) bool {
	return p.InBlock && len(p.Shape) == 2 && min(p.Shape[0], p.Shape[1]) > o.Rank
}

// Values implements Optimizer: of a projected gradient [m, n], m ≤ n, its two
// moments [r, n] and the projection [m, r].
func (o *GaLore) Values(p *Parameter) int {
	if !o.projects(p) {
		return o.AdamW.Values(p)
	}
	return 2*o.Rank*max(p.Shape[0], p.Shape[1]) + o.Rank*min(p.Shape[0], p.Shape[1])
}

// Step implements Optimizer.
func (o *GaLore) Step(pool *kernels.Pool, params []*Parameter, scale float64, rates, decays []float64) {
	var rest, matrices []*Parameter
	var restRates, restDecays, matrixRates, matrixDecays []float64
	for i, p := range params {
		if o.projects(p) {
			matrices = append(matrices, p)
			matrixRates, matrixDecays = append(matrixRates, rates[i]), append(matrixDecays, decays[i])
		} else {
			rest = append(rest, p)
			restRates, restDecays = append(restRates, rates[i]), append(restDecays, decays[i])
		}
	}
	o.AdamW.Step(pool, rest, scale, restRates, restDecays)
	o.refresh(pool, matrices)
	for i, p := range matrices {
		o.update(pool, p, float32(scale), matrixRates[i], matrixDecays[i])
	}
}

// refresh finds new vectors where it is time to, a matrix a part.
func (o *GaLore) refresh(pool *kernels.Pool, params []*Parameter) {
	if o.low == nil {
		o.low = map[*Parameter]*projected{}
	}
	var due []*Parameter
	for _, p := range params {
		if o.low[p] == nil {
			o.low[p] = &projected{}
		}
		if o.low[p].step%o.Gap == 0 {
			due = append(due, p)
		}
	}
	pool.Run(len(due), workerPart(func(w *kernels.Worker, i int) {
		p, s := due[i], o.low[due[i]]
		g := matrixOf(p, p.Grad)
		s.right = g.Rows >= g.Cols
		n := g.Cols
		if !s.right {
			n = g.Rows
		}
		if s.basis.Empty() {
			s.basis = kernels.NewMatrix(o.Rank, n)
			s.m, s.v = make([]float32, g.Rows*g.Cols/n*o.Rank), make([]float32, g.Rows*g.Cols/n*o.Rank)
		}
		random.Named(o.Seed, p.Name).Normal(s.basis.Data, 1)
		leading(w, s.basis, g, s.right)
	}))
}

// workerPart runs a function as a kernels.Task.
type workerPart func(w *kernels.Worker, i int)

func (f workerPart) Part(w *kernels.Worker, i int) { f(w, i) }

// leading turns the rows of basis into the leading right (or left) singular
// vectors of g, by orthogonal iteration on gᵀg (or ggᵀ).
func leading(w *kernels.Worker, basis, g kernels.Matrix, right bool) {
	const iterations = 6
	other := g.Rows
	if !right {
		other = g.Cols
	}
	y := kernels.NewMatrix(basis.Rows, other)
	weight := kernels.WeightOf(g)
	orthonormalise(basis)
	for range iterations {
		if right {
			w.MatMul(y, basis, weight)
			basis.Zero()
			w.InputGrad(basis, y, weight)
		} else {
			y.Zero()
			w.InputGrad(y, basis, weight)
			w.MatMul(basis, y, weight)
		}
		orthonormalise(basis)
	}
}

// orthonormalise is Gram and Schmidt's method, twice over each row.
func orthonormalise(m kernels.Matrix) {
	for i := range m.Rows {
		row := m.Row(i)
		for range 2 {
			for j := range i {
				kernels.AddScaled(row, -kernels.Dot(row, m.Row(j)), m.Row(j))
			}
		}
		norm := math.Sqrt(float64(kernels.Dot(row, row)))
		if norm < 1e-30 {
			clear(row) // the gradient has no such rank
			continue
		}
		for k := range row {
			row[k] = float32(float64(row[k]) / norm)
		}
	}
}

// update takes one step on a matrix, as galore_torch's GaLoreAdamW does.
func (o *GaLore) update(pool *kernels.Pool, p *Parameter, scale float32, rate, decay float64) {
	s, g := o.low[p], matrixOf(p, p.Grad)
	basis, n := kernels.WeightOf(s.basis), len(s.m)
	low := kernels.MatrixOf(n/o.Rank, o.Rank, make([]float32, n))
	if s.right {
		pool.MatMul(low, g, basis)
	} else {
		low = kernels.MatrixOf(o.Rank, n/o.Rank, low.Data)
		pool.InputGrad(low, s.basis, kernels.WeightOf(g))
	}
	s.step++
	b1, b2, eps := float32(o.Beta1), float32(o.Beta2), float32(o.Epsilon)
	for i, v := range low.Data {
		v *= scale
		s.m[i] = s.m[i]*b1 + v*(1-b1)
		s.v[i] = s.v[i]*b2 + v*v*(1-b2)
		low.Data[i] = s.m[i] / (float32(math.Sqrt(float64(s.v[i]))) + eps)
	}
	if cap(o.back) < len(p.Grad) {
		o.back = make([]float32, len(p.Grad))
	}
	back := kernels.MatrixOf(g.Rows, g.Cols, o.back[:len(p.Grad)])
	back.Zero()
	if s.right {
		pool.InputGrad(back, low, basis)
	} else {
		pool.WeightGrad(back, s.basis, low)
	}
	t := float64(s.step)
	size := float32(o.Scale * rate * math.Sqrt(1-math.Pow(o.Beta2, t)) / (1 - math.Pow(o.Beta1, t)))
	shrink := float32(1 - rate*decay)
	all := stripes([]*Parameter{p})
	pool.Run(len(all), part(func(i int) {
		for k := all[i].from; k < all[i].to; k++ {
			p.Value[k] = (p.Value[k] - size*back.Data[k]) * shrink
		}
	}))
}

// Forget implements Optimizer.
func (o *GaLore) Forget(p *Parameter) {
	delete(o.low, p)
	o.AdamW.Forget(p)
}

// Bytes implements Optimizer.
func (o *GaLore) Bytes() int {
	n := o.AdamW.Bytes()
	for _, s := range o.low {
		n += 4 * (len(s.m) + len(s.v) + len(s.basis.Data))
	}
	return n
}

// State implements Optimizer.
func (o *GaLore) State(p *Parameter) *State {
	if s := o.low[p]; s != nil {
		return &State{Step: s.step, Moments: [][]float32{s.m, s.v, s.basis.Data}}
	}
	return o.AdamW.State(p)
}

// SetState implements Optimizer.
func (o *GaLore) SetState(p *Parameter, s State) error {
	if !o.projects(p) {
		return o.AdamW.SetState(p, s)
	}
	long, short := max(p.Shape[0], p.Shape[1]), min(p.Shape[0], p.Shape[1])
	if err := s.check(o.Rank*long, o.Rank*long, o.Rank*short); err != nil {
		return err
	}
	if o.low == nil {
		o.low = map[*Parameter]*projected{}
	}
	g := matrixOf(p, p.Grad)
	o.low[p] = &projected{
		moments: moments{step: s.Step, m: s.Moments[0], v: s.Moments[1]},
		basis:   kernels.MatrixOf(o.Rank, len(s.Moments[2])/o.Rank, s.Moments[2]), right: g.Rows >= g.Cols,
	}
	return nil
}

package adapters

import (
	"cmp"
	"fmt"
	"math"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// VeRA (Kopiczko et al., 2024), as peft/tuners/vera saves it: all modules share
// two random matrices that are never trained, A and B, of which each takes as
// many columns and rows as it has inputs and outputs, and has two vectors of its
// own:
//
//	y = W·x + b⊙(B·(d⊙(A·x)))
//
// The file holds A and B under names of their own, or only the seed that PyTorch
// draws them from.

func init() {
	register(family{
		peftType: "VERA", parse: parseVeRA,
		defaults: `{
			"bias": "none", "d_initial": 0.1, "fan_in_fan_out": false, "init_weights": true, "layers_pattern": null,
			"layers_to_transform": null, "projection_prng_key": 0, "r": 256, "save_projection": true, "target_modules": null,
			"vera_dropout": 0.0}`,
		keys: keys{
			"r": read(), "target_modules": read(), "exclude_modules": read(), "layers_to_transform": read(), "layers_pattern": read(),
			"modules_to_save": read(), "projection_prng_key": read(), "save_projection": read(), "bias": read(), "d_initial": read(),
			"vera_dropout": inert(aNumber, inTraining), "fan_in_fan_out": inert(aFlag, byLayer), "init_weights": inert(aFlag, untilTrained),
		},
		tensors: []string{"vera_lambda_b", "vera_lambda_d"},
		recipes: []Recipe{{
			Name: "vera", Rate: 4e-3, Dropout: "vera_dropout",
			Reads: []string{"r", "lora-dropout", "target-modules", "exclude-modules", "layers-to-transform", "top-layers", "modules-to-save", "set"},
			Values: func(m models.Model, c *Choice) map[string]any {
				values := map[string]any{"peft_type": "VERA", "r": cmp.Or(c.R, 256), "vera_dropout": c.Dropout, "fan_in_fan_out": turned(m)}
				if layers := c.layers(m); len(layers) > 0 {
					values["layers_to_transform"] = layers
				}
				c.target(values)
				return values
			},
			Check: checkLayers,
		}},
	})
}

type vera struct {
	targets targets
	r       int
	seed    uint64  // projection_prng_key
	kept    bool    // save_projection: the file holds A and B
	initial float64 // of d
}

func parseVeRA(s *settings) Method {
	m := &vera{
		targets: s.targets("LORA", models.LinearSite), r: s.count("r", 256), seed: s.seed("projection_prng_key"),
		kept: s.flag("save_projection", true), initial: s.number("d_initial", 0.1),
	}
	m.targets.ourExclude = true
	s.bounded("r", m.r)
	if bias := s.text("bias", "none"); bias != "none" {
		s.fault(ErrConfig, "bias is %q: PEFT trains biases beside VeRA and does not save them", bias)
	}
	return m
}

func (m *vera) Name() string      { return "vera" }
func (m *vera) Rank() int         { return m.r }
func (m *vera) modules() *targets { return &m.targets }

func (m *vera) Build(b *Builder) error {
	sites, adapted, err := b.place(&m.targets, false)
	if err != nil {
		return err
	}
	if len(sites) == 0 { // what it saves is all that it has
		return nil
	}
	in, out := 0, 0 // the most of any module
	for _, site := range sites {
		w := b.Sites[site].Linear.W
		in, out = max(in, w.Cols), max(out, b.rows(site, w))
	}
	p := m.projections(b, in, out) // refreshed before the modules that share it
	for _, site := range sites {
		w := b.Sites[site].Linear.W
		n := b.rows(site, w)
		v := &vectors{lambdaB: b.Derive(n), lambdaD: b.Derive(m.r), scale: 1}
		v.pb = b.Module(site, ".vera_lambda_b", n)
		v.pd = b.Module(site, ".vera_lambda_d", m.r).states(0, fmt.Sprintf("r=%d", m.r), "rank %d").starts(func(v kernels.Matrix, _ drawn) error {
			for i := range v.Data {
				v.Data[i] = float32(m.initial)
			}
			return nil
		})
		b.OnRefresh(func() {
			kernels.Decode(v.lambdaB, v.pb.Weight.Format, v.pb.Weight.Data)
			kernels.Decode(v.lambdaD, v.pd.Weight.Format, v.pd.Weight.Data)
		})
		p.bind(b, v, m.r, w.Cols, n)
		d := b.linear(site)
		d.deltas = append(d.deltas, v)
	}
	b.wholeEmbeddings(adapted)
	return nil
}

// projections are the two matrices that all modules share, [r, in] and
// [out, r].
type projections struct {
	pa, pb *Param // nil where the file has but the seed
	a, b   kernels.Weight
	inputs int                    // columns of A
	parts  map[int]kernels.Weight // its first columns, for modules of fewer inputs
}

// projections declares A and B. Where the file has but their seed they are drawn
// when they are first needed: its other tensors have been found to be of this
// rank then.
func (m *vera) projections(b *Builder, in, out int) *projections {
	p := &projections{inputs: in, parts: map[int]kernels.Weight{}}
	if m.kept {
		stated := fmt.Sprintf("r=%d", m.r)
		p.pa = b.Param("base_model.vera_A", m.r, in).states(0, stated, "rank %d").frozen().rounds()
		p.pb = b.Param("base_model.vera_B", out, m.r).states(1, stated, "rank %d").frozen().rounds()
		p.pa.starts(func(v kernels.Matrix, _ drawn) error {
			m.draw(v, kernels.Matrix{})
			return nil
		})
		p.pb.starts(func(v kernels.Matrix, _ drawn) error {
			m.draw(kernels.NewMatrix(m.r, in), v)
			return nil
		})
	} else if !b.Model.Config().Shape {
		held := [2]kernels.Format{b.precision.format(kernels.F32, in), b.precision.format(kernels.F32, m.r)}
		b.rounded = held != [2]kernels.Format{}
		b.derived += m.r*held[0].RowBytes(in) + out*held[1].RowBytes(m.r)
	}
	b.OnRefresh(func() {
		switch {
		case m.kept:
			p.a, p.b = p.pa.Weight, p.pb.Weight
		case p.a.Empty():
			g := random.NewTorch(m.seed)
			p.a, p.b = drawnIn(g, b.precision, m.r, in), drawnIn(g, b.precision, out, m.r)
		}
		p.divide()
	})
	return p
}

// drawnBytes is the memory of A and B in float32.
func drawnBytes(r, in, out int) int { return 4 * r * (in + out) }

// partFormat is that of the first columns of a matrix of the given format: the
// same, unless they end within a block.
func partFormat(f kernels.Format, cols int) kernels.Format {
	if cols%f.BlockLen() != 0 {
		return kernels.F32
	}
	return f
}

// divide copies the parts of A.
func (p *projections) divide() {
	for in, part := range p.parts {
		f := partFormat(p.a.Format, in)
		if part.Empty() {
			part = kernels.NewWeight(f, p.a.Rows, in, make([]byte, p.a.Rows*f.RowBytes(in)))
			p.parts[in] = part
		}
		row := make([]float32, p.a.Cols)
		for k := range p.a.Rows {
			if f == p.a.Format {
				copy(part.Row(k), p.a.Row(k))
				continue
			}
			decodeRow(row, p.a, k)
			encodeRow(part, k, row[:in])
		}
	}
}

// bind has v's a and b be A and B for a module of so many inputs and outputs.
func (p *projections) bind(b *Builder, v *vectors, r, in, out int) {
	if b.Model.Config().Shape {
		v.a, v.b = kernels.WeightOf(kernels.ShapeOf(r, in)), kernels.WeightOf(kernels.ShapeOf(out, r))
		return
	}
	if _, ok := p.parts[in]; !ok && in < p.inputs {
		p.parts[in] = kernels.Weight{}
		b.derived += r * partFormat(b.precision.format(kernels.F32, p.inputs), in).RowBytes(in)
	}
	b.OnRefresh(func() {
		v.a, v.b = p.a, p.b.Span(0, out)
		if in < p.inputs {
			v.a = p.parts[in]
		}
	})
}

// drawn is the memory that A and B take beside the files of an adapter that has
// but their seed.
func (m *vera) drawn(base models.Model) (bytes int) {
	sites, err := m.targets.find(base)
	if m.kept || err != nil {
		return 0
	}
	in, out, widths := 0, 0, map[int]bool{}
	for _, site := range sites {
		w := base.Sites()[site].Linear.W
		in, out, widths[w.Cols] = max(in, w.Cols), max(out, w.Rows), true
	}
	bytes = drawnBytes(m.r, in, out)
	for narrow := range widths {
		if narrow < in {
			bytes += 4 * m.r * narrow
		}
	}
	return bytes
}

func drawInto(g *random.Torch, v kernels.Matrix) {
	bound := float32(math.Sqrt(3) * (math.Sqrt2 / math.Sqrt(float64(v.Cols))))
	g.Uniform(v.Data, -bound, bound)
}

// drawnIn draws a matrix and holds it in a precision.
func drawnIn(g *random.Torch, p Precision, rows, cols int) kernels.Weight {
	drawn := kernels.NewMatrix(rows, cols)
	drawInto(g, drawn)
	f := p.format(kernels.F32, cols)
	if f == kernels.F32 {
		return kernels.WeightOf(drawn)
	}
	w := kernels.NewWeight(f, rows, cols, make([]byte, rows*f.RowBytes(cols)))
	for i := range rows {
		encodeRow(w, i, drawn.Row(i))
	}
	return w
}

// draw fills A and then B as PEFT's _kaiming_init does: U(±√(6/fan_in)).
func (m *vera) draw(a, b kernels.Matrix) {
	g := random.NewTorch(m.seed)
	drawInto(g, a)
	drawInto(g, b)
}

// vectors is VeRA at one Linear.
type vectors struct {
	a, b             kernels.Weight // A's columns and B's rows for this module
	pb, pd           *Param
	lambdaB, lambdaD []float32 // b, d
	scale            float32   // on all of it; 1, but in a combination
}

func (v *vectors) forward(o lane, x, y kernels.Matrix) {
	s := o.Take(x.Rows, v.a.Rows) // A·x
	o.MatMul(s, x, v.a)
	v.expand(o, s, y)
}

// times implements additive.
func (v *vectors) times(f float64) delta {
	t := *v
	t.scale = float32(float64(v.scale) * f)
	return &t
}

// expand adds b⊙(B·(d⊙s)) to y, and returns B·(d⊙s), scaled.
func (v *vectors) expand(o lane, s, y kernels.Matrix) (u kernels.Matrix) {
	t := o.Take(s.Rows, s.Cols)
	o.Copy(t, s)
	o.ScaleColumns(t, v.lambdaD)
	o.Scale(t, v.scale)
	u = o.Take(s.Rows, len(v.lambdaB))
	o.MatMul(u, t, v.b)
	if !y.Empty() {
		o.AddProduct(y, u, v.lambdaB, 0)
	}
	return u
}

// record: with s = A·x and u = B·(d⊙s),
//
//	db = Σ dy⊙u,  dt = Bᵀ·(b⊙dy),  dd = Σ dt⊙s,  dx += Aᵀ·(d⊙dt)
//
// Only s is kept; u is computed again.
func (v *vectors) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	in, own := r.dropped()
	v.forward(r, in, r.out())
	r.free(own)
	taken := r.takes()
	s := taken[0]
	r.Free(taken[1:]...)
	return func(dy, dx kernels.Matrix) {
		u := v.expand(r, s.Data, kernels.Matrix{})
		r.ColumnProducts(v.pb.Grad.Data, dy, u)
		r.Free(r.takes()...)
		du, dt := r.New(dy.Rows, dy.Cols), r.New(s.Data.Rows, s.Data.Cols)
		r.Copy(du.Data, dy)
		r.ScaleColumns(du.Data, v.lambdaB)
		r.Zero(dt.Data)
		r.InputGrad(dt.Data, du.Data, v.b)
		r.Scale(dt.Data, v.scale)
		r.Free(du)
		r.ColumnProducts(v.pd.Grad.Data, dt.Data, s.Data)
		r.ScaleColumns(dt.Data, v.lambdaD)
		r.inputGrad(dx, dt.Data, v.a)
		r.Free(dt)
	}, []*models.Value{s}
}

// fold: W_j += b_j·Σ_k B_jk·d_k·A_k.
func (v *vectors) fold() func(row []float64, j int) {
	a, b := v.a.Matrix(), v.b.Matrix()
	return func(row []float64, j int) {
		for k, d := range v.lambdaD {
			addScaled(row, float64(v.scale)*float64(v.lambdaB[j])*float64(b.Row(j)[k])*float64(d), a.Row(k))
		}
	}
}

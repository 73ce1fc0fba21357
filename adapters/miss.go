package adapters

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// MiSS (Kang and Yin, 2024), as peft/tuners/miss saves it. The inputs are cut
// into blocks of r and summed, and one matrix D, [r, out], does the rest:
//
//	y = W·x + Dᵀ·s,  s_i = Σ_k x_(k·r+i)
//
// Under "mini" D is [r, m], and its result is repeated over the outputs.

func init() {
	register(family{
		peftType: "MISS", parse: parseMiSS,
		defaults: `{
			"bias": "none", "exclude_modules": null, "init_weights": true, "layers_pattern": null, "layers_to_transform": null,
			"mini_r": 1, "miss_dropout": 0.0, "r": 64, "target_modules": null}`,
		keys: keys{
			"r": read(), "mini_r": read(), "init_weights": read(), "bias": read(), "modules_to_save": read(),
			"target_modules": read(), "exclude_modules": read(), "layers_to_transform": read(), "layers_pattern": read(),
			"miss_dropout": inert(aNumber, inTraining),
		},
		tensors: []string{"miss_block"},
		recipes: []Recipe{{
			Name: "miss", Rate: 1e-3, Dropout: "miss_dropout", Check: missCheck,
			Reads: []string{"r", "lora-dropout", "target-modules", "exclude-modules", "layers-to-transform", "top-layers", "modules-to-save", "set"},
			Values: func(m models.Model, c *Choice) map[string]any {
				values := map[string]any{"peft_type": "MISS", "r": cmp.Or(c.R, 64), "miss_dropout": c.Dropout}
				if layers := c.layers(m); len(layers) > 0 {
					values["layers_to_transform"] = layers
				}
				c.target(values)
				return values
			},
		}},
	})
}

func missCheck(m models.Model, c *Choice) error {
	if turned(m) {
		return errors.New("--method miss: the base's modules are Conv1Ds, on which PEFT has none")
	}
	return checkLayers(m, c)
}

type miss struct {
	targets targets
	r       int
	mini    int // columns of D; 0: as many as outputs
}

func parseMiSS(s *settings) Method {
	m := &miss{targets: s.targets("LORA", models.LinearSite), r: s.count("r", 64)}
	if raw := s.raw("init_weights"); raw != nil && !aFlag.is(raw) {
		var kind string
		if err := json.Unmarshal(raw, &kind); err != nil || kind != "mini" {
			s.fault(ErrConfig, "init_weights is %s, want true, false or mini (bat, whose update depends on the base's weight, is not implemented)", clip(raw))
		}
		m.mini = 1
	}
	if mini := s.count("mini_r", 1); m.mini > 0 {
		m.mini = mini
	}
	if bias := s.text("bias", "none"); bias != "none" {
		s.fault(ErrConfig, "bias is %q: PEFT trains biases beside MiSS and does not save them", bias)
	}
	return m
}

func (m *miss) Name() string      { return "miss" }
func (m *miss) Rank() int         { return m.r }
func (m *miss) modules() *targets { return &m.targets }

func (m *miss) Build(b *Builder) error {
	sites, adapted, err := b.place(&m.targets, false)
	if err != nil {
		return err
	}
	for _, site := range sites {
		s := b.Sites[site]
		out := b.rows(site, s.Linear.W)
		cols := cmp.Or(m.mini, out)
		switch {
		case s.Conv1D:
			return fmt.Errorf("%w: MiSS on %q, which is a Conv1D: PEFT has none", ErrTarget, s.Name)
		case m.r > s.Linear.W.Cols:
			return fmt.Errorf("%w: r is %d, and %q has %d inputs", ErrConfig, m.r, s.Name, s.Linear.W.Cols)
		case out%cols != 0:
			return fmt.Errorf("%w: mini_r is %d, which does not divide the %d outputs of %q", ErrConfig, cols, out, s.Name)
		}
		block := b.Module(site, ".miss_block", m.r, cols).rounds().states(0, fmt.Sprintf("r=%d", m.r), "rank %d")
		if m.mini > 0 {
			block.states(1, fmt.Sprintf("mini_r=%d", m.mini), "%d columns")
		}
		d := b.linear(site)
		d.deltas = append(d.deltas, &blockSum{block, 1})
	}
	b.wholeEmbeddings(adapted)
	return nil
}

// blockSum is MiSS at one Linear: D, [r, m].
type blockSum struct {
	block *Param
	scale float32 // on all of it; 1, but in a combination
}

// times implements additive.
func (m *blockSum) times(f float64) delta {
	return &blockSum{m.block, float32(float64(m.scale) * f)}
}

// foldColumns sets dst to the sum of x's columns taken dst.Cols at a time.
func foldColumns(o lane, dst, x kernels.Matrix) {
	n := dst.Cols
	o.Copy(dst, x.Columns(0, n))
	for from := n; from < x.Cols; from += n {
		to := min(from+n, x.Cols)
		o.Add(dst.Columns(0, to-from), x.Columns(from, to))
	}
}

// addRepeated adds x to dst's columns taken x.Cols at a time: what foldColumns's
// gradient does.
func addRepeated(o lane, dst, x kernels.Matrix) {
	for from := 0; from < dst.Cols; from += x.Cols {
		to := min(from+x.Cols, dst.Cols)
		o.Add(dst.Columns(from, to), x.Columns(0, to-from))
	}
}

func (m *blockSum) forward(o lane, x, y kernels.Matrix) {
	d := m.block.Weight
	s := o.Take(x.Rows, d.Rows)
	foldColumns(o, s, x)
	o.Scale(s, m.scale)
	if d.Cols == y.Cols {
		o.InputGrad(y, s, d)
		return
	}
	u := o.Take(x.Rows, d.Cols)
	o.Zero(u)
	o.InputGrad(u, s, d)
	addRepeated(o, y, u)
}

// record: dD = s·dyᵀ, ds = D·dy, dx_(k·r+i) += ds_i; under "mini" dy is first
// summed over the repeats.
func (m *blockSum) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	in, own := r.dropped()
	m.forward(r, in, r.out())
	r.free(own)
	taken := r.takes()
	s := taken[0]
	r.Free(taken[1:]...)
	return func(dy, dx kernels.Matrix) {
		d := m.block.Weight
		if d.Cols != dy.Cols {
			sum := r.Take(dy.Rows, d.Cols)
			foldColumns(r, sum, dy)
			dy = sum
		}
		r.WeightGrad(m.block.Grad, s.Data, dy)
		if !dx.Empty() {
			ds := r.Take(dy.Rows, d.Rows)
			r.MatMul(ds, dy, d)
			r.Scale(ds, m.scale)
			m.spread(r, dx, ds)
		}
		r.Free(r.takes()...)
	}, []*models.Value{s}
}

// spread adds the gradient of the sums to that of the input, through dropout.
func (m *blockSum) spread(r *recording, dx, ds kernels.Matrix) {
	if !r.d.drop.on() {
		addRepeated(r, dx, ds)
		return
	}
	back := r.Take(dx.Rows, dx.Cols)
	r.Zero(back)
	addRepeated(r, back, ds)
	r.d.drop.apply(r.Pass, back, back, r.s.Start)
	r.Add(dx, back)
}

// fold: W_ji += D_(i mod r, j mod m).
func (m *blockSum) fold() func(row []float64, j int) {
	d := m.block.Values()
	return func(row []float64, j int) {
		for i := range row {
			row[i] += float64(m.scale) * float64(d.Row(i % d.Rows)[j%d.Cols])
		}
	}
}

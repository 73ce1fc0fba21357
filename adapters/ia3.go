package adapters

import (
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// (IA)³ (Liu et al., 2022), as peft/tuners/ia3 saves it: a vector that
// multiplies a Linear's output, bias included, or, of a feed-forward module,
// its input.

func init() {
	register(family{
		peftType: "IA3", parse: parseIA3,
		defaults: `{
			"exclude_modules": null, "fan_in_fan_out": false, "feedforward_modules": null, "init_ia3_weights": true,
			"target_modules": null}`,
		keys: keys{
			"target_modules": read(), "exclude_modules": read(), "feedforward_modules": read(), "modules_to_save": read(),
			"layers_to_transform": read(), "layers_pattern": read(), // the trainer's, which PEFT passes over
			"fan_in_fan_out": inert(aFlag, byLayer), "init_ia3_weights": inert(aFlag, untilTrained),
		},
		tensors: []string{"ia3_l"},
		recipes: []Recipe{{
			Name: "ia3", Rate: 1e-3, Reads: []string{"target-modules", "exclude-modules", "modules-to-save", "set"},
			Values: func(m models.Model, c *Choice) map[string]any {
				values := map[string]any{"peft_type": "IA3", "fan_in_fan_out": turned(m), "init_ia3_weights": true}
				c.target(values)
				return values
			},
		}},
	})
}

type ia3 struct {
	targets     targets
	feedforward names
}

func parseIA3(s *settings) Method {
	m := &ia3{targets: s.targets("IA3", models.LinearSite), feedforward: s.names("feedforward_modules")}
	if m.targets.include.list != nil {
		for _, name := range m.feedforward.list {
			if !slices.Contains(m.targets.include.list, name) {
				s.fault(ErrConfig, "feedforward_modules names %q, which target_modules does not", name)
			}
		}
	}
	return m
}

func (m *ia3) Name() string { return "ia3" }
func (m *ia3) Rank() int    { return 0 }

func (m *ia3) modules() *targets { return &m.targets }

func (m *ia3) Build(b *Builder) error {
	sites, adapted, err := b.place(&m.targets, false)
	if err != nil {
		return err
	}
	for _, site := range sites {
		input, err := m.onInput(b.Model, b.Sites[site].Name)
		if err != nil {
			return err
		}
		w, d := b.Sites[site].Linear.W, b.linear(site)
		if input {
			d.factor = b.Module(site, ".ia3_l", 1, w.Cols).startsAsOnes()
			continue
		}
		out := b.rows(site, w)
		f := &outputFactor{param: b.Module(site, ".ia3_l", out, 1).startsAsOnes(), factor: b.Derive(out)}
		b.OnRefresh(func() { kernels.Decode(f.factor, f.param.Weight.Format, f.param.Weight.Data) })
		d.deltas = append(d.deltas, f)
		if len(b.Sites[site].Linear.Bias) > 0 {
			d.terms = append(d.terms, biasTerm{change: func(bias []float32) { kernels.Mul(bias, f.factor) }})
		}
	}
	b.wholeEmbeddings(adapted)
	return nil
}

// writeOut implements writesOut: PEFT wants feedforward_modules to be a part of
// the list.
func (m *ia3) writeOut(out *Config, base models.Model, adapted []int) error {
	var groups [2][]int // modules whose outputs are scaled, and whose inputs are
	for _, site := range adapted {
		input, err := m.onInput(base, base.Sites()[site].Name)
		if err != nil {
			return err
		}
		if input {
			groups[1] = append(groups[1], site)
		} else {
			groups[0] = append(groups[0], site)
		}
	}
	var lists [2][]string
	for i, sites := range groups {
		var err error
		if lists[i], err = m.targets.shortest(base.Sites(), sites); err != nil {
			return err
		}
	}
	if err := out.set("target_modules", slices.Concat(lists[0], lists[1])); err != nil {
		return err
	}
	return out.set("feedforward_modules", lists[1])
}

// onInput reports whether a module is one of feedforward_modules; its name
// need not have a dot before what it ends in.
func (m *ia3) onInput(base models.Model, module string) (bool, error) {
	if m.feedforward.re.re != nil {
		return m.feedforward.re.matches(module)
	}
	list := m.feedforward.list
	if !m.feedforward.given {
		list = base.Config().Architecture.Feedforward
	}
	for _, t := range list {
		if strings.HasSuffix(module, t) {
			return true, nil
		}
	}
	return false, nil
}

// outputFactor multiplies a Linear's output.
type outputFactor struct {
	param  *Param
	factor []float32
}

func (f *outputFactor) forward(o lane, _, y kernels.Matrix) { o.ScaleColumns(y, f.factor) }

// record: y = f⊙(W·x + b), so df_j = Σ dy_j·y_j/f_j, from y as it is; where f_j
// is 0 there is nothing to divide and W·x is computed again.
func (f *outputFactor) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	p := r.Pass
	f.forward(r, r.in(), r.out())
	return func(dy, dx kernels.Matrix) {
		sums := p.New(1, dy.Cols)
		p.Zero(sums.Data)
		p.ColumnProducts(sums.Data.Data, dy, r.out())
		for _, j := range p.AddQuotients(f.param.Grad.Data, sums.Data.Data, f.factor) {
			f.atZero(r, dy, j)
		}
		p.Free(sums)
		p.ScaleColumns(dy, f.factor)
	}, []*models.Value{p.Keep(r.x), p.Keep(r.y)}
}

// atZero adds df_j where f_j is 0.
func (f *outputFactor) atZero(r *recording, dy kernels.Matrix, j int) {
	p := r.Pass
	v := p.New(dy.Rows, 1)
	p.MatMul(v.Data, r.in(), r.l.W.Span(j, j+1))
	if len(r.l.Bias) > 0 {
		p.AddBias(v.Data, r.l.Bias[j:j+1])
	}
	p.ColumnProducts(f.param.Grad.Data[j:j+1], dy.Columns(j, j+1), v.Data)
	p.Free(v)
}

// fold: W_j ← l_j·W_j.
func (f *outputFactor) fold() func(row []float64, j int) {
	return func(row []float64, j int) {
		for i := range row {
			row[i] *= float64(f.factor[j])
		}
	}
}

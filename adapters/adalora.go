package adapters

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// AdaLoRA (Zhang et al., 2023), as peft/tuners/adalora saves it when the budget
// has been spent: W + α/(init_r + 1e-5)·B·diag(E)·A, each module with the rank
// that rank_pattern has left it, which may be 0. How the ranks come about is not
// trained here.

func init() {
	register(family{
		peftType: "ADALORA", parse: parseAdaLoRA,
		keys: loraKeys(keys{
			"init_r": read(), "lora_alpha": read(), "rank_pattern": read(), "alpha_pattern": read(), "bias": read(), "modules_to_save": read(),
			"target_modules": read(), "exclude_modules": read(), "layers_to_transform": read(), "layers_pattern": read(),

			"r":                 inert(aNumber, "PEFT takes init_r"),
			"target_r":          inert(aNumber, untilTrained),
			"tinit":             inert(aNumber, inTraining),
			"tfinal":            inert(aNumber, inTraining),
			"deltaT":            inert(aNumber, inTraining),
			"beta1":             inert(aNumber, inTraining),
			"beta2":             inert(aNumber, inTraining),
			"orth_reg_weight":   inert(aNumber, inTraining),
			"total_step":        inert(aNumber, inTraining),
			"lora_dropout":      inert(aNumber, inTraining),
			"init_lora_weights": inert(aFlag, untilTrained),
			"fan_in_fan_out":    inert(aFlag, byLayer),
			"megatron_core":     inert(aText, "megatron_config is refused"),
			"qalora_group_size": inert(aNumber, "use_qalora is refused"),
			"runtime_config":    inert(anObject, "where PEFT computes"),
			"loftq_config":      inert(anObject, "PEFT refuses it here"),
			"eva_config":        inert(anObject, "of an init_lora_weights that AdaLoRA has not"),
			"corda_config":      inert(anObject, "of an init_lora_weights that AdaLoRA has not"),
			"lora_ga_config":    inert(anObject, "of an init_lora_weights that AdaLoRA has not"),

			"use_dora":                refused("PEFT has no AdaLoRA with DoRA"),
			"use_rslora":              refused("PEFT's AdaLoRA passes it over"),
			"lora_bias":               refused("PEFT's AdaLoRA passes it over"),
			"ensure_weight_tying":     refused("of trainable tokens, which are not implemented with AdaLoRA"),
			"trainable_token_indices": refused("trainable tokens with AdaLoRA"),
			"alora_invocation_tokens": refused("activated LoRA begins in the middle of a sequence"),
		}),
		tensors: []string{"lora_A", "lora_B", "lora_E"},
	})
}

type adaLoRA struct {
	targets targets
	r       int            // init_r
	ranks   map[string]int // what rank_pattern leaves of it, by module
	alpha   float64
	bias    string
}

func parseAdaLoRA(s *settings) Method {
	m := &adaLoRA{
		targets: s.targets("ADALORA", models.LinearSite), r: s.count("init_r", 12), alpha: s.number("lora_alpha", 8),
		bias: s.bias(), ranks: map[string]int{},
	}
	s.bounded("init_r", m.r)
	var pattern map[string]json.RawMessage
	s.read("rank_pattern", &pattern, "an object of lists of flags")
	if len(s.patterns("alpha_pattern")) > 0 {
		s.fault(ErrConfig, "alpha_pattern has entries, and PEFT's AdaLoRA passes them over")
	}
	for name, raw := range pattern {
		module, ok := strings.CutSuffix(name, ".lora_E")
		kept, err := listOf[bool](raw)
		if !ok || err != nil || len(kept) != m.r {
			s.fault(ErrConfig, "rank_pattern: %q is %s, want a name that ends in .lora_E and a list of %d flags", name, clip(raw), m.r)
			continue
		}
		m.ranks[module] = 0
		for _, k := range kept {
			if k {
				m.ranks[module]++
			}
		}
	}
	return m
}

func (m *adaLoRA) Name() string      { return "adalora" }
func (m *adaLoRA) Rank() int         { return m.r }
func (m *adaLoRA) modules() *targets { return &m.targets }

func (m *adaLoRA) Build(b *Builder) error {
	sites, adapted, err := b.place(&m.targets, false)
	if err != nil {
		return err
	}
	left := map[string]bool{}
	for module := range m.ranks {
		left[module] = true
	}
	for _, site := range sites {
		name := b.Sites[site].Name
		delete(left, name)
		r, stated := m.r, fmt.Sprintf("init_r=%d", m.r)
		if own, ok := m.ranks[name]; ok {
			r, stated = own, fmt.Sprintf("rank_pattern[%q] keeps %d", name+".lora_E", own)
		}
		m.module(b, site, r, stated)
	}
	for module := range left {
		return fmt.Errorf("%w: rank_pattern has %q, which is no adapted module", ErrTarget, module+".lora_E")
	}
	b.wholeEmbeddings(adapted)
	return b.ownBiases(m.bias, adapted)
}

func (m *adaLoRA) module(b *Builder, site, r int, stated string) {
	w := b.Sites[site].Linear.W
	v := &singular{
		a: b.Module(site, ".lora_A", r, w.Cols).as(Down).rounds().states(0, stated, "rank %d"),
		e: b.Module(site, ".lora_E", r, 1),
		b: b.Transposed(site, ".lora_B", b.rows(site, w), r).as(Up).rounds().states(1, stated, "rank %d"),
	}
	if r == 0 { // nothing is left, and the file says so with empty tensors
		v.a.optional, v.e.optional, v.b.optional = true, true, true
		return
	}
	alpha := m.alpha
	if alpha <= 0 {
		alpha = float64(r)
	}
	v.scale, v.values = float32(alpha/(float64(m.r)+1e-5)), b.Derive(r)
	b.OnRefresh(func() { kernels.Decode(v.values, v.e.Weight.Format, v.e.Weight.Data) })
	d := b.linear(site)
	d.deltas = append(d.deltas, v)
}

// singular is y += s·B·(E⊙(A·x)).
type singular struct {
	a, e, b *Param // [r, in], [r, 1], held [r, out]
	scale   float32
	values  []float32 // E, widened
}

func (v *singular) forward(o lane, x, y kernels.Matrix) {
	u := o.Take(x.Rows, v.a.Weight.Rows)
	o.MatMul(u, x, v.a.Weight)
	o.InputGrad(y, v.scaled(o, u), v.b.Weight)
}

// scaled takes s·E⊙u.
func (v *singular) scaled(o lane, u kernels.Matrix) (t kernels.Matrix) {
	t = o.Take(u.Rows, u.Cols)
	o.Copy(t, u)
	o.ScaleColumns(t, v.values)
	o.Scale(t, v.scale)
	return t
}

// times implements additive.
func (v *singular) times(f float64) delta {
	t := *v
	t.scale = float32(float64(v.scale) * f)
	return &t
}

// record: with u = A·x and t = s·E⊙u,
//
//	dB = dy·tᵀ,  dt = Bᵀ·dy,  dE = s·Σ dt⊙u,  du = s·E⊙dt,  dA = du·xᵀ,  dx += Aᵀ·du
func (v *singular) record(r *recording) (func(dy, dx kernels.Matrix), []*models.Value) {
	in, own := r.dropped()
	v.forward(r, in, r.out())
	r.free(own)
	taken := r.takes()
	u := taken[0]
	r.Free(taken[1:]...)
	return func(dy, dx kernels.Matrix) {
		r.WeightGrad(v.b.Grad, v.scaled(r, u.Data), dy)
		dt := r.Take(dy.Rows, u.Data.Cols)
		r.MatMul(dt, dy, v.b.Weight)
		r.Scale(dt, v.scale)
		r.ColumnProducts(v.e.Grad.Data, dt, u.Data)
		r.ScaleColumns(dt, v.values)
		in, own := r.dropped()
		r.WeightGrad(v.a.Grad, dt, in)
		r.free(own)
		r.inputGrad(dx, dt, v.a.Weight)
		r.Free(r.takes()...)
	}, []*models.Value{r.Keep(r.x), u}
}

// fold: W_j += s·Σ_k B_jk·E_k·A_k.
func (v *singular) fold() func(row []float64, j int) {
	a, b := v.a.Values(), v.b.Values()
	return func(row []float64, j int) {
		for k, e := range v.values {
			addScaled(row, float64(v.scale)*float64(b.Row(k)[j])*float64(e), a.Row(k))
		}
	}
}

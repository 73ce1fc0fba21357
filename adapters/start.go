package adapters

import (
	"fmt"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Starts lists the ways in which low-rank factors begin: default is PEFT's
// init_lora_weights=true.
var Starts = []string{"default", "gaussian", "pissa", "olora"}

// Start sets the parameters of an adapter that New has made to their initial
// values, each a function of the seed and the tensor's name, as PEFT and
// AdapterHub draw them. A parameter that stands in for one of the base's keeps
// the base's value.
//
// PiSSA and OLoRA take the factors from the base's weight W and subtract
// s·B₀·A₀ from it. Here W stays as it is: the adapter has twice the rank, and
// its upper half is A₀ and -B₀, which is never trained. So the file is
// converted from the start, and the raw base serves it.
func Start(a *Adapter, start string, seed uint64) error {
	for _, p := range a.params {
		if p.start == nil {
			continue
		}
		if err := p.start(p.Values(), drawn{random.Named(seed, p.Name), start}); err != nil {
			return err
		}
	}
	for _, f := range a.begin {
		f()
	}
	a.Refresh()
	return nil
}

// drawn is what a parameter's first values are drawn from.
type drawn struct {
	source random.Source
	start  string // one of Starts; empty: default
}

// fromBase reports whether low-rank factors are taken from the base's weight.
func fromBase(start string) bool { return start == "pissa" || start == "olora" }

// starts says how a parameter's first values are made; without it they are the
// base's, or zero.
func (p *Param) starts(f func(v kernels.Matrix, d drawn) error) *Param {
	p.start = f
	return p
}

// startsAsOnes is starts with 1 everywhere.
func (p *Param) startsAsOnes() *Param {
	return p.starts(func(v kernels.Matrix, _ drawn) error {
		ones(v)
		return nil
	})
}

// startsNormal is starts with draws from N(0, 1).
func (p *Param) startsNormal() *Param {
	return p.starts(func(v kernels.Matrix, d drawn) error {
		d.source.Normal(v.Data, 1)
		return nil
	})
}

// startA draws A: kaiming_uniform with a = √5 is U(±1/√in); "gaussian" is
// N(0, 1/r²) (peft/tuners/lora/layer.py reset_lora_parameters).
func startA(a kernels.Matrix, source random.Source, start string) {
	if start == "gaussian" {
		source.Normal(a.Data, 1/float64(a.Rows))
		return
	}
	bound := float32(1 / math.Sqrt(float64(a.Cols)))
	source.Uniform(a.Data, -bound, bound)
}

func ones(m kernels.Matrix) {
	for i := range m.Data {
		m.Data[i] = 1
	}
}

// startMagnitude sets DoRA's magnitude to the norms, so that the adapter begins
// as nothing: with m = 1, refresh leaves 1/n in the gains.
func startMagnitude(magnitude *Param, gain []float32, refresh func()) {
	m := magnitude.Values()
	ones(m)
	refresh()
	for j, g := range gain {
		m.Data[j] = 1 / g
	}
}

// Trained is the shape of what is trained of a parameter, the leading rows of
// its Weight: half of a factor that Start has taken from the base. It is nil
// where nothing is.
func (p *Param) Trained(start string) []int {
	shape := slices.Clone(p.Shape)
	switch {
	case p.still:
		return nil
	case !fromBase(start) || !p.factor:
	case p.Transposed:
		shape[1] /= 2
	default:
		shape[0] /= 2
	}
	return shape
}

// factorise sets A and B, held [r, in] and [r, out], from W: the lower half of
// the rows are A₀ and B₀ᵀ, the upper A₀ and -B₀ᵀ.
func factorise(s models.Site, start string, low *lowRank) error {
	av, bv := low.a.Values(), low.b.Values()
	r := av.Rows / 2
	w := s.Linear.W.Matrix()
	if r > min(w.Rows, w.Cols) {
		return fmt.Errorf("%w: %s of rank %d of %q, whose weight is %d × %d", ErrConfig, start, r, s.Name, w.Rows, w.Cols)
	}
	if start == "pissa" {
		principal(av.Span(0, r), bv.Span(0, r), w, float64(low.scale))
	} else {
		orthonormal(av.Span(0, r), bv.Span(0, r), w)
	}
	for k := range r {
		copy(av.Row(r+k), av.Row(k))
		for j, v := range bv.Row(k) {
			bv.Row(r + k)[j] = -v
		}
	}
	return nil
}

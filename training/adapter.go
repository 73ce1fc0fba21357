package training

import (
	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// Adapted trains an adapter on a frozen base.
type Adapted struct {
	Trainee *adapters.Trainee
	params  []*Parameter
}

// NewAdapted opens the parameters of an adapter.
func NewAdapted(m models.Model, a *adapters.Adapter, o adapters.Training) *Adapted {
	f := &Adapted{Trainee: adapters.Train(a, m, o)}
	at := func(p *adapters.Param, kind models.SiteKind) bool {
		return p.Site >= 0 && m.Sites()[p.Site].Kind == kind
	}
	for _, p := range a.Params() {
		if p.Grad.Empty() {
			continue
		}
		shape, n := p.Trained(o.Start), 1
		for _, d := range shape {
			n *= d
		}
		f.params = append(f.params, &Parameter{
			Name: p.Name, Shape: shape, Turned: p.Transposed, Value: first(p.Values().Data, n), Grad: first(p.Grad.Data, n),
			Norm: at(p, models.NormSite), Up: p.Role == adapters.Up,
			Embedding: at(p, models.EmbeddingSite) && (p.Role == adapters.Down || p.Role == adapters.Up),
		})
	}
	return f
}

// first returns the first n values; none of a shape's.
func first(v []float32, n int) []float32 { return v[:min(n, len(v))] }

// Begin implements Method.
func (f *Adapted) Begin(int) []*Parameter { return nil }

// Parameters implements Method.
func (f *Adapted) Parameters() []*Parameter { return f.params }

// Updated implements Method: DoRA's gains and their like are made anew.
func (f *Adapted) Updated() { f.Trainee.Refresh() }

// Adapter implements Method.
func (f *Adapted) Adapter() models.Adapter { return f.Trainee }

// Draw implements drawing.
func (f *Adapted) Draw(pass uint64) { f.Trainee.Draw(pass) }

// bytes is the memory of the adapter's values and what is derived from them.
func (f *Adapted) bytes() int {
	n := f.Trainee.Bytes()
	for _, p := range f.Trainee.Params() {
		n -= 4 * p.Grad.Rows * p.Grad.Cols
	}
	return n
}

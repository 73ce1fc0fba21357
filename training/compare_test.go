package training

import (
	"math"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/pooling"
)

// twoDraws is an adapter whose passes are drawn otherwise after the first so many.
type twoDraws struct {
	*Adapted
	left int
}

func (d *twoDraws) Draw(pass uint64) {
	if d.left--; d.left < 0 {
		pass += 1000
	}
	d.Adapted.Draw(pass)
}

// TestComparedDropsOutTheSame: where a micro-batch takes several passes, each is computed
// twice under the same dropout masks, so that the gradient is that of the loss. With
// others the second time it is not.
func TestComparedDropsOutTheSame(t *testing.T) {
	base := openSentences(t)
	for name, values := range map[string]map[string]any{
		"lora":    {"peft_type": "LORA", "r": 4, "target_modules": "all-linear"},
		"houlsby": {"peft_type": "BOTTLENECK", "mh_adapter": true, "reduction_factor": 2, "non_linearity": "swish"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := adapters.NewConfig(values)
			if err != nil {
				t.Fatal(err)
			}
			a, err := adapters.New(base.Model, config)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range a.Params() { // away from the start, where half of the gradients vanish
				random.Named(11, p.Name).Normal(p.Values().Data, 0.15)
			}
			a.Refresh()
			method := NewAdapted(base.Model, a, adapters.Training{Dropout: 0.5, Seed: 5})
			tr := NewTrainer(modeltest.Pool(t, 2), base.Model, method)
			tr.Objective = Objective{Recipe: &pooling.Recipe{Modes: []pooling.Mode{pooling.Mean}}}
			var batch []Sequence
			var ends []int
			for i := range 8 {
				s := Sequence{Whole: true, Text: i % 2}
				for k := range 9 {
					s.Tokens, s.Targets = append(s.Tokens, int32(4+(7*i+3*k)%13)), append(s.Targets, 0)
				}
				if batch = append(batch, s); i%2 == 1 {
					ends = append(ends, len(batch))
				}
			}
			// slopes are those of the loss along the gradient that a method comes to: as the
			// gradient has it, and as losses near by are.
			slopes := func(m Method) (said, is float64) {
				var along, was [][]float32
				for _, p := range method.Parameters() {
					clear(p.Grad)
				}
				tr.Method = m
				tr.compare(batch, ends, 0, 1)
				for _, p := range method.Parameters() {
					along, was = append(along, append([]float32(nil), p.Grad...)), append(was, append([]float32(nil), p.Value...))
					for _, g := range p.Grad {
						said += float64(g) * float64(g)
					}
				}
				said = math.Sqrt(said)
				tr.Method = method
				at := func(h float64) float64 {
					for k, p := range method.Parameters() {
						for i, v := range was[k] {
							p.Value[i] = v + float32(h*float64(along[k][i])/said)
						}
					}
					method.Updated()
					return tr.compare(batch, ends, 0, 1)
				}
				const h = 1e-3
				is = (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
				at(0)
				return said, is
			}
			if said, is := slopes(method); math.Abs(said-is) > 1e-3*said {
				t.Errorf("the gradient says a slope of %.6g, and the loss has %.6g", said, is)
			}
			if said, is := slopes(&twoDraws{method, len(ends)}); math.Abs(said-is) < 0.1*said {
				t.Errorf("with other masks the gradient says a slope of %.6g, and the loss has %.6g all the same", said, is)
			}
		})
	}
}

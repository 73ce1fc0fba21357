package training

import (
	"math"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
)

// TestExpertWithoutRows: a step in which no row goes to the experts that are
// trained has a loss and gradients of zero.
func TestExpertWithoutRows(t *testing.T) {
	m := openGolden(t, "qwen3moe")
	for _, s := range m.Sites() {
		if s.Module() == "gate" { // of equal logits the first two of three are taken
			s.Linear.W = kernels.WeightOf(kernels.NewMatrix(s.Linear.W.Rows, s.Linear.W.Cols))
		}
	}
	c, err := adapters.NewConfig(map[string]any{"peft_type": "LORA", "r": 2, "target_modules": []string{"experts.2.down_proj"}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapters.New(m, c)
	if err != nil {
		t.Fatal(err)
	}
	var run goldenRun
	readJSON(t, "../testdata/goldens/training/qwen3moe/full/run.json", &run)
	method := NewAdapted(m, a, adapters.Training{})
	tr := goldenTrainer(t, m, method, &run, 2)
	for range 2 {
		r, err := tr.Advance(goldenBatches(t, "qwen3moe")[:1])
		if err != nil || !(r.Loss > 0) || math.IsInf(r.Loss, 0) || r.Norm != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	for _, p := range method.Parameters() {
		if len(p.Value) == 0 || !kernels.Finite(p.Value) || kernels.SquareSum(p.Grad) != 0 {
			t.Errorf("%s: %v, its gradient %v", p.Name, p.Value, p.Grad)
		}
	}
	if live, _ := tr.Live(); live.Total() != 0 {
		t.Errorf("%d bytes of activations are still in use", live)
	}
}

package adapters_test

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// TestEncoderConformance puts every golden adapter of an encoder through the suite.
// What PEFT computes with them is held over the engine (runtime, TestEncodings).
func TestEncoderConformance(t *testing.T) {
	for _, base := range modeltest.Encoders(t) {
		dirs, err := filepath.Glob(modeltest.Goldens(t, base, "adapters", "*"))
		if err != nil || len(dirs) == 0 {
			t.Fatalf("%s has no adapters: %v", base, err)
		}
		for _, dir := range dirs {
			t.Run(base+"/"+filepath.Base(dir), func(t *testing.T) {
				s := adaptertest.Suite{Base: modeltest.Goldens(t, base), Dir: dir, Rounds: rounds(t, dir)}
				if name := filepath.Base(dir); name != "prompt" && name != "prefix" { // they fit any base of their width
					s.Wrong = modeltest.Goldens(t, "gpt2")
				}
				s.Run(t)
			})
		}
	}
}

// TestEncoderRefusals: what a configuration asks of an encoder that it has not is
// named.
func TestEncoderRefusals(t *testing.T) {
	m := modeltest.Open(t, "encoders/bert")
	for _, c := range []struct {
		config map[string]any
		kind   error
		want   string
	}{
		{map[string]any{"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2}, models.ErrTask, "task_type is CAUSAL_LM"},
		{map[string]any{"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "modules_to_save": []string{"classifier"}}, adapters.ErrConfig, "how many classes"},
		{
			map[string]any{"peft_type": "BOTTLENECK", "reduction_factor": 4, "original_ln_before": true, "original_ln_after": false}, adapters.ErrBase,
			"original_ln_after is false",
		},
		{map[string]any{"peft_type": "LN_TUNING"}, adapters.ErrTarget, "no default for BertModel"},
	} {
		config, err := adapters.NewConfig(c.config)
		if err == nil {
			_, err = adapters.Layout(m, config)
		}
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.config, err, c.want)
		}
	}
}

// TestEncoderAdapterGradients holds the gradients of adapters' parameters against
// PyTorch's, of the sum of hidden states times weights that the script makes too.
func TestEncoderAdapterGradients(t *testing.T) {
	paths, err := filepath.Glob(modeltest.Goldens(t, "encoders", "*", "adapters", "*", "grads.safetensors"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no gradients: %v", err)
	}
	for _, path := range paths {
		dir := filepath.Dir(path)
		base := filepath.Dir(filepath.Dir(dir))
		t.Run(filepath.Base(base)+"/"+filepath.Base(dir), func(t *testing.T) {
			m, source, err := models.Open(base, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer source.Close()
			a := adapters.Train(adaptertest.Load(t, m, dir), m, adapters.Training{})
			var b models.Batch
			for _, text := range modeltest.Texts(t, filepath.Join(dir, "golden.safetensors")) {
				b.AddText(text.Tokens, text.Types, 0, a)
			}
			p := models.NewPass(modeltest.Pool(t, 2))
			p.Record()
			h := m.Forward(p, &b, nil)
			d := p.Grad(h)
			for _, span := range b.Spans {
				for r := range span.End - span.Start {
					for c := range d.Cols {
						d.Row(span.Start + r)[c] = float32((7*r+3*c)%11 - 5)
					}
				}
			}
			p.Free(h)
			p.Backward()
			compareGradients(t, a, path)
		})
	}
}

func compareGradients(t *testing.T, a *adapters.Trainee, golden string) {
	t.Helper()
	f, err := safetensors.Open(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	compared := 0
	for _, param := range a.Params() {
		tensor, ok := f.Lookup(param.Name)
		if !ok {
			t.Errorf("PyTorch has no gradient of %s", param.Name)
			continue
		}
		want, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		worst, scale := 0.0, 0.0
		for i, w := range want {
			at := i
			if param.Transposed {
				rows, cols := tensor.Shape[0], tensor.Shape[1]
				at = i%cols*rows + i/cols
			}
			worst, scale = max(worst, math.Abs(float64(param.Grad.Data[at]-w))), max(scale, math.Abs(float64(w)))
		}
		if !(worst <= 2e-5*scale) {
			t.Errorf("the gradient of %s is off by %.3g of %.3g", param.Name, worst, scale)
		}
		compared++
	}
	if compared == 0 {
		t.Fatal("nothing compared")
	}
}

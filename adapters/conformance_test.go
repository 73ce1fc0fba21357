package adapters_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// wrongBase is a golden base that the adapters of another do not fit.
func wrongBase(base string) string {
	if base == "gpt2" {
		return "llama"
	}
	return "gpt2"
}

// TestConformance puts every golden adapter through the suite.
func TestConformance(t *testing.T) {
	golden(t, func(t *testing.T, m models.Model, base, dir string) {
		if _, err := os.Stat(filepath.Join(dir, "golden.safetensors")); err != nil {
			t.SkipNow()
		}
		s := adaptertest.Suite{Base: modeltest.Goldens(t, base), Dir: dir, Rounds: rounds(t, dir)}
		name := filepath.Base(dir)
		if !strings.HasPrefix(name, "p") { // prompts fit any base of their width
			s.Wrong = modeltest.Goldens(t, wrongBase(base))
		}
		if mergeable(name) {
			s.Merge = func(t *testing.T, base, adapter adaptertest.Dense) { merge(t, dir, base, adapter) }
		}
		s.Run(t)
	})
}

// rounds reports whether an adapter is of a family whose factors are rounded where they
// are held in less than the file has.
func rounds(t *testing.T, dir string) bool {
	return slices.Contains([]string{"ADALORA", "BOTTLENECK", "LORA", "MISS", "VERA"}, adaptertest.Open(t, dir).Config.Type)
}

// mergeable tells the golden adapters that amount to other dense weights in
// the base's own shape.
func mergeable(name string) bool {
	for _, part := range []string{"alora", "embed", "head", "resized", "tokens", "save", "bottleneck", "prefix", "prompt", "p-tuning", "patterns", "bin", "beft"} {
		if strings.Contains(name, part) {
			return false
		}
	}
	return true
}

// merge changes the base's dense tensors as the adapter's do, by the formulas
// of the papers in float64.
func merge(t *testing.T, dir string, base, adapter adaptertest.Dense) {
	t.Helper()
	var c struct {
		R       float64  `json:"r"`
		Alpha   float64  `json:"lora_alpha"`
		Initial float64  `json:"init_r"`
		Root    bool     `json:"use_rslora"`
		Forward []string `json:"feedforward_modules"`
	}
	b, err := os.ReadFile(filepath.Join(dir, adapters.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	s := c.Alpha / c.R
	if c.Root {
		s = c.Alpha / math.Sqrt(c.R)
	}
	for name, x := range adapter {
		module, rest := split(t, name)
		conv := strings.HasPrefix(module, "transformer.") // GPT-2's Conv1D
		w := base[module+".weight"]
		if w != nil && conv && len(w.Shape) == 2 {
			w = w.Transposed()
		}
		bias := base[module+".bias"]
		switch rest {
		case ".lora_A.weight":
			up := adapter["base_model.model."+module+".lora_B.weight"]
			for j := range w.Shape[0] {
				for i := range w.Shape[1] {
					for k := range x.Shape[0] {
						*w.At(j, i) += s * *up.At(j, k) * *x.At(k, i)
					}
				}
			}
			if m := adapter["base_model.model."+module+".lora_magnitude_vector"]; m != nil {
				for j := range w.Shape[0] {
					row, square := w.Values[j*w.Shape[1]:][:w.Shape[1]], 0.0
					for _, v := range row {
						square += v * v
					}
					for i := range row {
						row[i] *= m.Values[j] / math.Sqrt(square)
					}
				}
			}
		case ".lora_B.bias":
			for i, v := range x.Values {
				bias.Values[i] += s * v
			}
		case ".bias", ".base_layer.bias", ".ln_tuning_layers.bias":
			bias.Values = x.Values
		case ".ln_tuning_layers.weight":
			base[module+".weight"].Values = x.Values
			continue
		case ".miss_block":
			for j := range w.Shape[0] {
				for i := range w.Shape[1] {
					*w.At(j, i) += *x.At(i%x.Shape[0], j%x.Shape[1])
				}
			}
		case ".lora_E":
			prefix := "base_model.model." + module
			down, up := adapter[prefix+".lora_A"], adapter[prefix+".lora_B"]
			for j := range w.Shape[0] {
				for i := range w.Shape[1] {
					for k := range x.Shape[0] {
						*w.At(j, i) += c.Alpha / (c.Initial + 1e-5) * *up.At(j, k) * x.Values[k] * *down.At(k, i)
					}
				}
			}
		case ".ia3_l":
			input := x.Shape[0] == 1
			for j := range w.Shape[0] {
				for i := range w.Shape[1] {
					if input {
						*w.At(j, i) *= x.Values[i]
					} else {
						*w.At(j, i) *= x.Values[j]
					}
				}
			}
			if bias != nil && !input {
				for j := range bias.Values {
					bias.Values[j] *= x.Values[j]
				}
			}
		case ".vera_lambda_b":
			a, b := adapter["base_model.vera_A"], adapter["base_model.vera_B"]
			d := adapter["base_model.model."+module+".vera_lambda_d"]
			if a == nil {
				t.Skip("the file has no projections")
			}
			for j := range w.Shape[0] {
				for i := range w.Shape[1] {
					for k := range d.Shape[0] {
						*w.At(j, i) += x.Values[j] * *b.At(j, k) * d.Values[k] * *a.At(k, i)
					}
				}
			}
		case ".lora_A", ".lora_B", ".lora_B.weight", ".lora_magnitude_vector", ".vera_lambda_d", "base_model.vera_A", "base_model.vera_B":
		default:
			t.Fatalf("how to merge %q?", name)
		}
		if w != nil {
			if conv && len(w.Shape) == 2 {
				w = w.Transposed()
			}
			base[module+".weight"] = w
		}
	}
}

// split cuts a tensor's name into its module and the rest.
func split(t *testing.T, name string) (module, rest string) {
	t.Helper()
	name = strings.TrimPrefix(name, "base_model.model.")
	if strings.HasPrefix(name, "base_model.vera_") {
		return "", name
	}
	for _, rest := range []string{".miss_block", ".ln_tuning_layers.weight", ".ln_tuning_layers.bias", ".lora_E", ".lora_A", ".lora_B", ".vera_lambda_b", ".vera_lambda_d", ".lora_A.weight", ".lora_B.weight", ".lora_B.bias", ".lora_magnitude_vector", ".base_layer.bias", ".ia3_l", ".bias"} {
		if module, ok := strings.CutSuffix(name, rest); ok {
			return module, rest
		}
	}
	t.Fatalf("what is %q?", name)
	return "", ""
}

// TestEveryAdapterInOneBatch mixes all the golden adapters of a base, the base
// itself among them: each row has the bits of its run alone.
func TestEveryAdapterInOneBatch(t *testing.T) {
	for _, base := range modeltest.Bases(t) {
		t.Run(base, func(t *testing.T) {
			m := modeltest.Open(t, base)
			dirs, err := filepath.Glob(modeltest.Goldens(t, base, "adapters", "*", "golden.safetensors"))
			if err != nil || len(dirs) == 0 {
				t.Fatalf("no adapters: %v", err)
			}
			rows := []adaptertest.Row{{Tokens: []int32{5, 6, 7}}}
			for i, file := range dirs {
				tokens := make([]int32, 1+i%9)
				for j := range tokens {
					tokens[j] = int32(2 + (7*i+13*j)%90)
				}
				rows = append(rows, adaptertest.Row{Tokens: tokens, Adapter: adaptertest.Load(t, m, filepath.Dir(file))})
			}
			one, two := modeltest.Pool(t, 1), modeltest.Pool(t, 2)
			for i, got := range adaptertest.Logits(m, two, rows...) {
				if want := adaptertest.Logits(m, one, rows[i])[0]; !slices.Equal(got.Data, want.Data) {
					t.Errorf("row %d differs from its run alone", i)
				}
			}
		})
	}
}

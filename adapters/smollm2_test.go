package adapters_test

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// generated is a golden of SmolLM2: an adapter that any program can make
// again (testdata/README.md), and what transformers computes with it.
type generated struct {
	Config         map[string]any `json:"config"`
	BoundA         float64        `json:"bound_a"`
	BoundB         float64        `json:"bound_b"`
	BoundMagnitude float64        `json:"bound_magnitude"`
	Prompts        []struct {
		Name     string    `json:"name"`
		Tokens   []int32   `json:"tokens"`
		Logprobs []float64 `json:"logprobs"`
		TopIDs   []int32   `json:"top_ids"`
		Greedy   []int32   `json:"greedy"`
	} `json:"prompts"`
}

// TestSmolLM2 holds the prompt log-probabilities of the real base, alone and
// under two adapters, against transformers on the dequantised GGUF.
func TestSmolLM2(t *testing.T) {
	m, s, err := models.Open(modeltest.SmolLM2(t), models.Options{Context: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pool := modeltest.Pool(t, 0)
	for _, name := range []string{"base", "lora", "dora"} {
		t.Run(name, func(t *testing.T) {
			var g generated
			b, err := os.ReadFile(modeltest.Goldens(t, "smollm2", name+".json"))
			if err == nil {
				err = json.Unmarshal(b, &g)
			}
			if err != nil {
				t.Fatal(err)
			}
			var a models.Adapter
			if g.Config != nil {
				a = g.adapter(t, m)
			}
			for _, prompt := range g.Prompts {
				logits := modeltest.Logits(t, m, pool, prompt.Tokens, a)
				worst := 0.0
				for i, want := range prompt.Logprobs {
					worst = max(worst, math.Abs(logprob(logits.Row(i), prompt.Tokens[i+1])-want))
				}
				if !(worst <= 1e-4) {
					t.Errorf("%s: a log-probability is off by %.3g", prompt.Name, worst)
				}
				tokens := append(append([]int32(nil), prompt.Tokens...), prompt.Greedy...)
				logits = modeltest.Logits(t, m, pool, tokens, a)
				for i, want := range prompt.Greedy {
					if got := best(logits.Row(len(prompt.Tokens) - 1 + i)); got != want {
						t.Errorf("%s: greedy token %d is %d, want %d", prompt.Name, i, got, want)
					}
				}
				t.Logf("%s: log-probabilities within %.2g", prompt.Name, worst)
			}
		})
	}
}

// adapter writes the generated adapter as a PEFT folder and loads it.
func (g *generated) adapter(t *testing.T, m models.Model) models.Adapter {
	config := map[string]any{"peft_type": "LORA", "task_type": "CAUSAL_LM"}
	maps.Copy(config, g.Config)
	r := int(g.Config["r"].(float64))
	dora := g.BoundMagnitude > 0
	var tensors []safetensors.Tensor
	for _, site := range m.Sites() {
		if site.Kind != models.LinearSite || site.Head || !g.targets(site.Module()) {
			continue
		}
		name, w := "base_model.model."+site.Name, site.Linear.W
		tensors = append(tensors,
			numbers(name+".lora_A.weight", g.BoundA, r, w.Cols),
			numbers(name+".lora_B.weight", g.BoundB, w.Rows, r))
		if dora {
			tensors = append(tensors, g.magnitude(name+".lora_magnitude_vector", w))
		}
	}
	if len(tensors) == 0 {
		t.Fatal("no module is targeted")
	}
	dir := t.TempDir()
	b, err := json.Marshal(config)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "adapter_config.json"), b, 0o644)
	}
	if err == nil {
		err = safetensors.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), tensors, safetensors.PyTorch())
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := adapters.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapters.Load(m, f)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (g *generated) targets(module string) bool {
	list, ok := g.Config["target_modules"].([]any)
	if !ok {
		return true // all-linear
	}
	for _, m := range list {
		if m == module {
			return true
		}
	}
	return false
}

// numbers is a tensor of the numbers that its name stands for.
func numbers(name string, bound float64, shape ...int) safetensors.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return safetensors.FromFloat32s(name, shape, modeltest.Float32s(modeltest.Numbers(name, n, bound)))
}

func (g *generated) magnitude(name string, w kernels.Weight) safetensors.Tensor {
	norms := modeltest.RowNorms(w)
	for j, v := range modeltest.Numbers(name, len(norms), g.BoundMagnitude) {
		norms[j] *= 1 + v
	}
	return safetensors.FromFloat32s(name, []int{len(norms)}, modeltest.Float32s(norms))
}

func logprob(logits []float32, token int32) float64 {
	top := logits[best(logits)]
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v - top))
	}
	return float64(logits[token]-top) - math.Log(sum)
}

func best(v []float32) int32 {
	i := 0
	for j, x := range v {
		if x > v[i] {
			i = j
		}
	}
	return int32(i)
}

package merge

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// asked reads what the golden script asked PEFT for.
func asked(t *testing.T, dir string) Combination {
	t.Helper()
	var recipe struct {
		Adapters     []string
		Weights      []float64
		Combine      string
		Density      float64
		MajoritySign string `json:"majority_sign_method"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "combination.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &recipe); err != nil {
		t.Fatal(err)
	}
	for i, name := range recipe.Adapters {
		recipe.Adapters[i] = filepath.Join(filepath.Dir(filepath.Dir(dir)), "adapters", name)
	}
	return Combination{Adapters: recipe.Adapters, Weights: recipe.Weights, Kind: recipe.Combine, Density: recipe.Density, MajoritySign: recipe.MajoritySign}
}

// TestCombineGoldens: the values are PEFT's exactly (what cat fills up with is
// zero here and may be -0 there), and so is the configuration but for what would
// make PEFT's own mean something else.
func TestCombineGoldens(t *testing.T) {
	recipes, err := filepath.Glob(modeltest.Goldens(t, "*", "combined", "*", "combination.json"))
	if err != nil || len(recipes) < 17 {
		t.Fatal(len(recipes), err)
	}
	for _, recipe := range recipes {
		golden := filepath.Dir(recipe)
		t.Run(filepath.Base(golden), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "combined")
			recipe := asked(t, golden)
			made, err := WriteCombined(recipe, out, false)
			if err != nil {
				t.Fatal(err)
			}
			got, want := tensorsOf(t, out), tensorsOf(t, golden)
			if len(got) != len(want) {
				t.Errorf("%d tensors, want %d", len(got), len(want))
			}
			for name, w := range want {
				g := got[name]
				if g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || !slices.Equal(values(t, g), values(t, w)) {
					t.Errorf("%s is %s %v, want %s %v, or has other values", name, g.DType, g.Shape, w.DType, w.Shape)
				}
			}
			layers := slices.ContainsFunc(recipe.Adapters, func(dir string) bool { return filepath.Base(dir) == "lora-layers" })
			c, peft := configuration(t, out), configuration(t, golden)
			for key, v := range peft {
				if _, list := v.([]any); key == "target_modules" && (!list || layers) {
					continue // written out: Load holds them against the tensors
				}
				switch {
				case key == "use_rslora":
					v = false
				case strings.HasSuffix(key, "_pattern") && strings.HasSuffix(golden, "-patterns"):
					continue
				case key == "target_modules":
					slices.SortFunc(v.([]any), func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
				}
				if !reflect.DeepEqual(c[key], v) {
					t.Errorf("%s is %v, want %v", key, c[key], v)
				}
			}
			folder, err := adapters.Open(out)
			if err != nil || folder.Digest() != made.Digest {
				t.Fatalf("%v, or another digest than %s", err, made.Digest)
			}
			if _, err := adapters.Load(modeltest.Open(t, filepath.Base(filepath.Dir(filepath.Dir(golden)))), folder); err != nil {
				t.Error(err)
			}
			for module := range factors(t, folder) {
				if _, scale, _, err := folder.Config.Scaling(module); scale != 1 || err != nil {
					t.Errorf("%s is scaled by %v, %v", module, scale, err)
				}
			}
		})
	}
}

func tensorsOf(t *testing.T, dir string) map[string]safetensors.Tensor {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(dir, adapters.SafeFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	all := map[string]safetensors.Tensor{}
	for tensor := range f.All() {
		all[tensor.Name] = tensor
	}
	return all
}

func values(t *testing.T, tensor safetensors.Tensor) []float32 {
	t.Helper()
	v, err := tensor.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func configuration(t *testing.T, dir string) (c map[string]any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, adapters.ConfigFile))
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func factors(t *testing.T, folder *adapters.Folder) map[string]*adapters.Factors {
	t.Helper()
	list, _, err := adapters.LowRank(folder.All())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*adapters.Factors{}
	for _, f := range list {
		all[f.Module] = f
	}
	return all
}

// TestCatIsTheSum: side by side the factors are the weighted sum of what each
// adapter changes, whatever its rank and scaling, folded into the base too.
func TestCatIsTheSum(t *testing.T) {
	base := modeltest.Goldens(t, "llama-gqa")
	m := modeltest.Open(t, "llama-gqa")
	c := Combination{Kind: "cat", Weights: []float64{0.7, -0.4, 0.2}}
	want := map[string][]float64{} // the base's weight and the changes
	for i, name := range []string{"rslora-patterns", "lora-all-linear", "lora-layers"} {
		dir := filepath.Join(base, "adapters", name)
		c.Adapters = append(c.Adapters, dir)
		folder, err := adapters.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		a, err := adapters.Load(m, folder)
		if err != nil {
			t.Fatal(err)
		}
		merged, err := a.Merge(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, tensor := range merged {
			s := m.Sites()[tensor.Site]
			original := s.Linear.W.Matrix().Data
			sum := want[s.Name+".weight"]
			if sum == nil {
				for _, v := range original {
					sum = append(sum, float64(v))
				}
			}
			row := make([]float64, tensor.Cols)
			for j := range tensor.Rows {
				tensor.Row(row, j)
				for k, v := range row {
					at := j*tensor.Cols + k
					sum[at] += c.Weights[i] * (v - float64(original[at]))
				}
			}
			want[s.Name+".weight"] = sum
		}
	}
	dir := t.TempDir()
	r, err := Merge(Options{Base: base, Combination: &c, Output: filepath.Join(dir, "merged")})
	if err != nil || len(r.Changed) != len(want) {
		t.Fatalf("%+v, %v", r, err)
	}
	made, source, err := models.Open(filepath.Join(dir, "merged"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	for _, s := range made.Sites() {
		for i, v := range want[s.Name+".weight"] {
			if got := s.Linear.W.Matrix().Data[i]; !(math.Abs(float64(got)-v) <= 1e-6) {
				t.Fatalf("%s, value %d: %v, want %v", s.Name, i, got, v)
			}
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestDARE: the mask is a function of the seed, it keeps the share that was
// asked for, and keeps the expectation.
func TestDARE(t *testing.T) {
	const n, density = 1 << 16, 0.3
	c := &Combination{Kind: "dare_linear", Density: density, Seed: 7}
	v := make([]float32, n)
	for i := range v {
		v[i] = 1 + float32(i%7)
	}
	out := c.dropped(v, "a", 0)
	kept, total, whole := 0.0, 0.0, 0.0
	for i, x := range out {
		if x != 0 && x != v[i]/float32(density) {
			t.Fatalf("value %d: %v of %v", i, x, v[i])
		}
		if x != 0 {
			kept++
		}
		total, whole = total+float64(x), whole+float64(v[i])
	}
	deviation := math.Sqrt(density * (1 - density) / n)
	if share := kept / n; math.Abs(share-density) > 4*deviation {
		t.Errorf("%v are kept", share)
	}
	if math.Abs(total/whole-1) > 4*deviation/density*1.2 { // 1.12: the root mean square of v over its mean
		t.Errorf("the sum is %v of what it was", total/whole)
	}
	if !slices.Equal(out, c.dropped(v, "a", 0)) {
		t.Error("the same seed drops others")
	}
	other := &Combination{Kind: "dare_linear", Density: density, Seed: 8}
	for name, again := range map[string][]float32{"tensor": c.dropped(v, "b", 0), "adapter": c.dropped(v, "a", 1), "seed": other.dropped(v, "a", 0)} {
		both := 0.0
		for i := range v {
			if out[i] != 0 && again[i] != 0 {
				both++
			}
		}
		if share := both / n; math.Abs(share-density*density) > 4*math.Sqrt(density*density/n) {
			t.Errorf("another %s keeps %v of the same values", name, share)
		}
	}
}

// TestDAREFolders: the same seed gives the same folder, another one another.
func TestDAREFolders(t *testing.T) {
	base := modeltest.Goldens(t, "llama-gqa", "adapters")
	for _, kind := range []string{"dare_linear", "dare_ties"} {
		c := Combination{Adapters: []string{filepath.Join(base, "lora"), filepath.Join(base, "rslora")}, Weights: []float64{1, 1}, Kind: kind, Density: 0.5}
		var digests []string
		for _, seed := range []uint64{1, 1, 2} {
			c.Seed = seed
			folder, _, err := Combine(c)
			if err != nil {
				t.Fatal(err)
			}
			digests = append(digests, folder.Digest())
		}
		if digests[0] != digests[1] || digests[0] == digests[2] {
			t.Errorf("%s: %v", kind, digests)
		}
	}
}

// TestLargest: as many values are kept as PEFT keeps, and of equal ones the
// first.
func TestLargest(t *testing.T) {
	for density, want := range map[float64][]float32{0.5: {-2, 2, 0, 0, 0}, 0.6: {-2, 2, 0, 1, 0}, 0.1: {0, 0, 0, 0, 0}} {
		if got := (&Combination{Density: density}).largest([]float32{-2, 2, 0, 1, -1}); !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", density, got, want)
		}
	}
}

// TestCombineRefused: what cannot be combined is refused by name, and leaves
// nothing.
func TestCombineRefused(t *testing.T) {
	base := modeltest.Goldens(t, "llama-gqa", "adapters")
	for name, want := range map[string]string{
		"dora": "is dora", "ia3": "is ia3", "alora": "is alora", "adalora": "is adalora", "lora-other": "equal ranks",
		"lora-save-norm": "modules_to_save", "lora-tokens": "trainable_token_indices", "no-such-folder": "no-such-folder", "refused-qalora": "use_qalora",
		"../../qwen2/adapters/lora-bias": "lora_bias", "../../qwen2/adapters/lora-bias-all": "bias", "../../llama/adapters/lora": "has no factors of it",
	} {
		dir := t.TempDir()
		c := Combination{Adapters: []string{filepath.Join(base, "lora"), filepath.Join(base, name)}, Weights: []float64{1, 1}, Kind: "linear"}
		_, err := WriteCombined(c, filepath.Join(dir, "out"), false)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), c.Adapters[1]) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		nothing(t, dir)
	}
}

// edited copies an adapter, with changes to its configuration and tensors.
func edited(t *testing.T, from string, config map[string]any, tensor func(safetensors.Tensor) []safetensors.Tensor) string {
	t.Helper()
	dir := t.TempDir()
	c := configuration(t, from)
	for key, v := range config {
		c[key] = v
	}
	b, err := json.Marshal(c)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, adapters.ConfigFile), b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []safetensors.Tensor
	for _, own := range tensorsOf(t, from) {
		all = append(all, tensor(own)...)
	}
	if err := safetensors.WriteFile(filepath.Join(dir, adapters.SafeFile), all, safetensors.PyTorch()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// with adds a copy of the tensors whose names end in from under other names.
func with(from, to string) func(safetensors.Tensor) []safetensors.Tensor {
	return func(own safetensors.Tensor) []safetensors.Tensor {
		if before, ok := strings.CutSuffix(own.Name, from); ok {
			again := own
			again.Name = before + to
			return []safetensors.Tensor{own, again}
		}
		return []safetensors.Tensor{own}
	}
}

// TestCombineFaults: an adapter that contradicts itself or the others is
// refused; one for a base of another name, or with a tokenizer, is warned of.
func TestCombineFaults(t *testing.T) {
	lora := filepath.Join(modeltest.Goldens(t, "llama-gqa", "adapters"), "lora")
	const module = "model.layers.1.self_attn.q_proj"
	as := func(own safetensors.Tensor) []safetensors.Tensor { return []safetensors.Tensor{own} }
	for _, c := range []struct {
		want   string
		config map[string]any
		tensor func(safetensors.Tensor) []safetensors.Tensor
		weight float64
		is     error
	}{
		{"has no factors of it", nil, func(own safetensors.Tensor) []safetensors.Tensor {
			if strings.Contains(own.Name, module) {
				return nil
			}
			return []safetensors.Tensor{own}
		}, 1, ErrCombine},
		{"does not adapt", map[string]any{"target_modules": []string{"v_proj"}}, as, 1, ErrCombine},
		{"its configuration says 8", map[string]any{"r": 8}, as, 1, ErrCombine},
		{"task_type", map[string]any{"task_type": "SEQ_CLS"}, as, 1, ErrCombine},
		{"overflow", nil, as, 3e38, ErrNotFinite},
		{`lora_magnitude_vector" without use_dora`, nil, with(".lora_A.weight", ".lora_magnitude_vector"), 1, ErrCombine},
		{`lora_B.bias", which`, nil, with(".lora_A.weight", ".lora_B.bias"), 1, ErrCombine},
		{"the factors of " + module, nil, func(own safetensors.Tensor) []safetensors.Tensor {
			if strings.HasSuffix(own.Name, module+".lora_B.weight") {
				own.Shape, own.Data = []int{own.Shape[0] / 2, own.Shape[1]}, own.Data[:len(own.Data)/2]
			}
			return []safetensors.Tensor{own}
		}, 1, ErrCombine},
		{module + ".lora_A.weight\" holds a NaN", nil, func(own safetensors.Tensor) []safetensors.Tensor {
			if strings.HasSuffix(own.Name, module+".lora_A.weight") {
				v, _ := own.Float32s()
				v[0] = float32(math.NaN())
				own = safetensors.FromFloat32s(own.Name, own.Shape, v)
			}
			return []safetensors.Tensor{own}
		}, 1, ErrCombine},
	} {
		dir := edited(t, lora, c.config, c.tensor)
		_, _, err := Combine(Combination{Adapters: []string{lora, dir}, Weights: []float64{1, c.weight}, Kind: "cat"})
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	dir := edited(t, lora, map[string]any{"base_model_name_or_path": "someone/other-base"}, as)
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, warnings, err := Combine(Combination{Adapters: []string{lora, dir}, Weights: []float64{1, 1}, Kind: "cat"})
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], "tokenizer.json") || !strings.Contains(warnings[1], "someone/other-base") {
		t.Errorf("%q, %v", warnings, err)
	}
}

// TestCombineOutput: nothing that is there, and nothing that is read, is
// written over.
func TestCombineOutput(t *testing.T) {
	lora := filepath.Join(modeltest.Goldens(t, "llama-gqa", "adapters"), "lora")
	own := edited(t, lora, nil, func(own safetensors.Tensor) []safetensors.Tensor { return []safetensors.Tensor{own} })
	c := Combination{Adapters: []string{lora, own}, Weights: []float64{1, 1}, Kind: "cat"}
	if _, err := WriteCombined(c, own, true); !errors.Is(err, ErrOutput) {
		t.Errorf("onto its source: %v", err)
	}
	out := filepath.Join(t.TempDir(), "out")
	for _, try := range []struct {
		overwrite bool
		want      error
	}{{false, nil}, {false, ErrOutput}, {true, nil}} {
		if _, err := WriteCombined(c, out, try.overwrite); !errors.Is(err, try.want) {
			t.Errorf("%+v: %v", try, err)
		}
	}
}

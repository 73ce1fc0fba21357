package merge

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// refused says why golden adapters cannot be merged, by the beginning of their
// names.
var refused = map[string]error{
	"resized-": adapters.ErrMerge, "bottleneck-": adapters.ErrMerge, "prefix": adapters.ErrMerge, "alora": adapters.ErrMerge, "prompt": adapters.ErrMerge, "p-tuning": adapters.ErrMerge,
}

// unties are the golden adapters that change one of two tied embeddings.
var unties = []string{"lora-embed", "lora-embed-only-deltas", "dora-embed", "lora-lm-head-tied", "lora-save-embed-tied", "lora-save-head-tied"}

func reason(t *testing.T, base, name string) error {
	for part, why := range refused {
		if strings.HasPrefix(name, part) {
			return why
		}
	}
	if slices.Contains(unties, name) && modeltest.Open(t, base).Config().Tied {
		return ErrTied
	}
	return nil
}

// TestGoldens merges every golden adapter and holds the result against PEFT's
// logits. What is refused for its ties alone is merged untied.
func TestGoldens(t *testing.T) {
	pool := modeltest.Pool(t, 2)
	dirs, err := filepath.Glob(modeltest.Goldens(t, "*", "adapters", "*", "golden.safetensors"))
	if err != nil || len(dirs) < 40 {
		t.Fatal(len(dirs), err)
	}
	for _, golden := range dirs {
		dir := filepath.Dir(golden)
		base := filepath.Dir(filepath.Dir(dir))
		t.Run(filepath.Base(base)+"/"+filepath.Base(dir), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "merged")
			o := Options{Base: base, Adapter: dir, Output: out, Pool: pool}
			r, err := Merge(o)
			if why := reason(t, filepath.Base(base), filepath.Base(dir)); why != nil {
				if !errors.Is(err, why) {
					t.Fatalf("got %v, want %v", err, why)
				}
				nothing(t, filepath.Dir(out))
				if !errors.Is(why, ErrTied) {
					return
				}
				o.Untie = true
				r, err = Merge(o)
			}
			if errors.Is(err, ErrBias) && strings.HasSuffix(dir, "lora-bias") && filepath.Base(base) == "qwen2" {
				return // Qwen2 has no bias at o_proj
			}
			if err != nil {
				t.Fatal(err)
			}
			m, s, err := models.Open(out, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			worst := 0.0
			for i, c := range modeltest.Cases(t, golden) {
				got := modeltest.Logits(t, m, pool, c.Tokens, nil)
				d := modeltest.MaxDifference(got.Span(got.Rows-c.Logits.Rows, got.Rows), c.Logits)
				if worst = max(worst, d); !(d <= 1e-4) {
					t.Errorf("case %d: a logit is off by %.3g", i, d)
				}
			}
			t.Logf("%d tensors changed: off by %.2g, itself %.2g", len(r.Changed), worst, r.Difference)
		})
	}
}

// nothing demands that a folder is empty: a refused merge leaves no trace.
func nothing(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func read(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = b
	}
	return files
}

// TestIdempotent: the same merge gives the same bytes, in one file or in
// shards, and a merged model does not take the same adapter a second time.
func TestIdempotent(t *testing.T) {
	base, dir := modeltest.Goldens(t, "llama-gqa"), t.TempDir()
	o := Options{Base: base, Adapter: filepath.Join(base, "adapters", "dora-all-linear"), Output: filepath.Join(dir, "a")}
	if _, err := Merge(o); err != nil {
		t.Fatal(err)
	}
	first := read(t, o.Output)
	if _, err := Merge(o); !errors.Is(err, ErrOutput) {
		t.Errorf("writes over what exists: %v", err)
	}
	o.Overwrite = true
	if _, err := Merge(o); err != nil {
		t.Fatal(err)
	}
	for name, b := range read(t, o.Output) {
		if !bytes.Equal(b, first[name]) {
			t.Errorf("%s differs", name)
		}
	}
	again := o
	again.Base, again.Output = o.Output, filepath.Join(dir, "again")
	if _, err := Merge(again); !errors.Is(err, ErrAgain) {
		t.Errorf("merged twice: %v", err)
	}

	o.Output, o.ShardBytes = filepath.Join(dir, "shards"), 20_000
	if _, err := Merge(o); err != nil {
		t.Fatal(err)
	}
	whole, err := safetensors.OpenFolder(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	parts, err := safetensors.OpenFolder(o.Output)
	if err != nil {
		t.Fatal(err)
	}
	defer parts.Close()
	if files, _ := filepath.Glob(filepath.Join(o.Output, "model-*.safetensors")); len(files) < 3 {
		t.Errorf("%d shards", len(files))
	}
	for a := range whole.All() {
		if b, err := parts.Tensor(a.Name); err != nil || !bytes.Equal(a.Data, b.Data) {
			t.Errorf("%s differs in shards: %v", a.Name, err)
		}
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestOwnSource: what is read is not written over, by whatever name.
func TestOwnSource(t *testing.T) {
	dir := t.TempDir()
	base, link := filepath.Join(dir, "base"), filepath.Join(dir, "link")
	if err := os.CopyFS(base, os.DirFS(modeltest.Goldens(t, "llama"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(base, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to string }{{base, link}, {link, base}, {link, dir}} {
		o := Options{Base: c.from, Adapter: filepath.Join(base, "adapters", "lora"), Output: c.to, Overwrite: true}
		if _, err := Merge(o); !errors.Is(err, ErrOutput) {
			t.Errorf("%s over %s: %v", c.to, c.from, err)
		}
		if _, err := os.Stat(filepath.Join(base, "config.json")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNotFinite: a NaN in the base and a value that overflows are refused,
// with the tensor's name, and leave no trace.
func TestNotFinite(t *testing.T) {
	golden := modeltest.Goldens(t, "llama")
	adapter := filepath.Join(golden, "adapters", "lora")
	for name, at := range map[string]string{"unchanged": "model.layers.0.mlp.up_proj.weight", "norm": "model.norm.weight", "changed": "model.layers.0.self_attn.q_proj.weight"} {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), 1e38} {
			base := t.TempDir()
			rewrite(t, golden, base, func(tensor string, v []float32) {
				if tensor == at {
					v[3] = bad
				}
			})
			out := t.TempDir()
			o := Options{Base: base, Adapter: adapter, Output: filepath.Join(out, "merged"), DType: "f16"}
			_, err := Merge(o)
			if !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), at) {
				t.Errorf("%s, %v: %v", name, bad, err)
			}
			nothing(t, out)
		}
	}
}

// TestNotFiniteAdapter: a NaN in any tensor of an adapter is refused by its
// name; the merge leaves no trace and the base as it was.
func TestNotFiniteAdapter(t *testing.T) {
	base := modeltest.Goldens(t, "llama-gqa")
	before := read(t, base)
	adapter := filepath.Join(base, "adapters", "dora")
	f, err := safetensors.Open(filepath.Join(adapter, adapters.SafeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for bad := range f.All() {
		dir, out := t.TempDir(), t.TempDir()
		var tensors []safetensors.Tensor
		for tensor := range f.All() {
			if tensor.Name == bad.Name {
				v, err := tensor.Float32s()
				if err != nil {
					t.Fatal(err)
				}
				v = append([]float32(nil), v...)
				v[len(v)/2] = float32(math.NaN())
				tensor = safetensors.FromFloat32s(tensor.Name, tensor.Shape, v)
			}
			tensors = append(tensors, tensor)
		}
		if err := safetensors.WriteFile(filepath.Join(dir, adapters.SafeFile), tensors, safetensors.PyTorch()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, adapters.ConfigFile), read(t, adapter)[adapters.ConfigFile], 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Merge(Options{Base: base, Adapter: dir, Output: filepath.Join(out, "merged")})
		if !errors.Is(err, adapters.ErrTensor) || !strings.Contains(err.Error(), bad.Name) {
			t.Errorf("%s: %v", bad.Name, err)
		}
		nothing(t, out)
	}
	for name, b := range read(t, base) {
		if !bytes.Equal(b, before[name]) {
			t.Errorf("%s of the base has changed", name)
		}
	}
}

// rewrite copies a model with its values changed.
func rewrite(t *testing.T, from, to string, change func(tensor string, v []float32)) {
	t.Helper()
	f, err := safetensors.OpenFolder(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors []safetensors.Tensor
	for tensor := range f.All() {
		v, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		change(tensor.Name, v)
		tensors = append(tensors, safetensors.FromFloat32s(tensor.Name, tensor.Shape, v))
	}
	if err := safetensors.WriteFile(filepath.Join(to, safetensors.SingleFile), tensors, safetensors.PyTorch()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, "config.json"), b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestHalfPrecision: the tensors and the configuration take the precision
// asked for, each value rounded once from the exact one.
func TestHalfPrecision(t *testing.T) {
	base := modeltest.Goldens(t, "llama-gqa")
	for dtype, want := range map[string]string{"bf16": "bfloat16", "f16": "float16"} {
		out := filepath.Join(t.TempDir(), "merged")
		r, err := Merge(Options{Base: base, Adapter: filepath.Join(base, "adapters", "lora"), Output: out, DType: dtype})
		if err != nil {
			t.Fatal(err)
		}
		if r.Drift <= 0 || r.Drift > 0.1 || r.Difference <= 0 || r.Difference > 0.3 {
			t.Errorf("%s: %+v", dtype, r)
		}
		var config map[string]any
		b, _ := os.ReadFile(filepath.Join(out, "config.json"))
		if err := json.Unmarshal(b, &config); err != nil || config["dtype"] != want {
			t.Errorf("%s: config.json says %v, %v", dtype, config["dtype"], err)
		}
	}
}

// TestRoundOnce compares the rounding of float64 against the exact nearest
// value, at ties that float32 would create.
func TestRoundOnce(t *testing.T) {
	for _, x := range []float64{1 + 1.0/256 + 1e-12, 1 + 1.0/256 - 1e-12, -(1 + 1.0/256 + 1e-12), 1 + 3.0/256 - 1e-12, 1.5, 0, -2, 1e-30} {
		dst, narrow := make([]byte, 2), make([]float32, 1)
		if encode(dst, kernels.BF16, []float64{x}, narrow) >= 0 {
			t.Errorf("%v does not fit", x)
		}
		// The neighbours of the result are no nearer.
		got := float64(narrow[0])
		for _, step := range []int32{-1, 1} {
			other := float64(math.Float32frombits(uint32(int32(math.Float32bits(narrow[0])>>16)+step) << 16))
			if math.Abs(other-x) < math.Abs(got-x) {
				t.Errorf("%v became %v, %v is nearer", x, got, other)
			}
		}
	}
	dst, narrow := make([]byte, 2), make([]float32, 1)
	if encode(dst, kernels.F16, []float64{70000}, narrow) != 0 {
		t.Error("70000 fits f16")
	}
}

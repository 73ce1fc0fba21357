package extract

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/training/merge"
)

// TestRoundTrip merges golden adapters into their bases and extracts them
// again: what is low-rank comes back without an error.
func TestRoundTrip(t *testing.T) {
	pool := modeltest.Pool(t, 2)
	for _, c := range []struct {
		base, adapter string
		rank          int
		untie         bool
	}{
		{"llama-gqa", "lora-all-linear", 16, false}, {"llama-gqa", "rslora", 16, false}, {"llama-gqa", "lora-patterns", 16, false},
		{"gpt2", "lora-all-linear", 16, false}, {"gpt2", "lora-bias-all", 16, false}, {"llama", "lora-embed", 16, false},
		{"llama", "lora-lm-head", 16, false}, {"qwen2", "lora-bias-lora-only", 16, false},
		{"llama-gqa", "lora-save-norm", 16, false},
	} {
		base := modeltest.Goldens(t, c.base)
		tuned, out := filepath.Join(t.TempDir(), "tuned"), filepath.Join(t.TempDir(), "adapter")
		if _, err := merge.Merge(merge.Options{Base: base, Adapter: filepath.Join(base, "adapters", c.adapter), Output: tuned, Untie: c.untie, Pool: pool}); err != nil {
			t.Fatal(err)
		}
		r, err := Extract(Options{Base: base, Tuned: tuned, Output: out, Rank: c.rank, Energy: 1 - 1e-10, Pool: pool})
		if err != nil {
			t.Fatalf("%s/%s: %v", c.base, c.adapter, err)
		}
		if r.Error > 1e-4 || r.Difference > 2e-4 || r.Before < 0.1 {
			t.Errorf("%s/%s: error %.3g, a logit is off by %.3g, before by %.3g", c.base, c.adapter, r.Error, r.Difference, r.Before)
		}
		f, err := adapters.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := adapters.Load(modeltest.Open(t, c.base), f); err != nil {
			t.Error(err)
		}
	}
}

// TestRank: the error falls with the rank and is that of the discarded
// singular values; a full rank loses nothing.
func TestRank(t *testing.T) {
	base := modeltest.Goldens(t, "llama-gqa")
	tuned := noisy(t, base, 0.02)
	last := 1.0
	for _, rank := range []int{1, 4, 16, 32} {
		r, err := Extract(Options{Base: base, Tuned: tuned, Output: filepath.Join(t.TempDir(), "a"), Rank: rank})
		if err != nil {
			t.Fatal(err)
		}
		if !(r.Error < last) || len(r.Layers) != 4 {
			t.Errorf("rank %d: error %v after %v, layers %v", rank, r.Error, last, r.Layers)
		}
		if last = r.Error; rank == 32 && (r.Error > 1e-5 || r.Difference > 1e-3) {
			t.Errorf("full rank: error %v, a logit off by %v", r.Error, r.Difference)
		}
	}
	for _, embeddings := range Embeddings {
		r, err := Extract(Options{Base: base, Tuned: tuned, Output: filepath.Join(t.TempDir(), "a"), Rank: 32, Embeddings: embeddings})
		if err != nil {
			t.Fatal(err)
		}
		if off := r.Difference > 1e-3; off != (embeddings == "skip") || len(r.Left) > 0 != off {
			t.Errorf("%s: a logit off by %v, left %v", embeddings, r.Difference, r.Left)
		}
	}
	r, err := Extract(Options{Base: base, Tuned: tuned, Output: filepath.Join(t.TempDir(), "a"), Rank: 32, Energy: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	if r.Error > math.Sqrt(0.1) || r.Error < 0.1 {
		t.Errorf("nine tenths of the energy leave an error of %v", r.Error)
	}
}

// noisy is a model with noise on everything.
func noisy(t *testing.T, from string, deviation float64) string {
	t.Helper()
	f, err := safetensors.OpenFolder(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	to := t.TempDir()
	var tensors []safetensors.Tensor
	for tensor := range f.All() {
		v, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		noise := make([]float32, len(v))
		random.Named(3, tensor.Name).Normal(noise, deviation)
		for i := range v {
			v[i] += noise[i]
		}
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
	return to
}

// TestRefuses: models that differ in shape, that do not differ at all, and
// NaNs, leave nothing behind.
func TestRefuses(t *testing.T) {
	base := modeltest.Goldens(t, "llama-gqa")
	out := filepath.Join(t.TempDir(), "a")
	for _, c := range []struct {
		o    Options
		want error
	}{
		{Options{Base: base, Tuned: base, Rank: 4}, ErrSame},
		{Options{Base: base, Tuned: modeltest.Goldens(t, "qwen3"), Rank: 4}, ErrModels},
		{Options{Base: base, Tuned: modeltest.Goldens(t, "llama"), Rank: 4}, ErrModels},
		{Options{Base: base, Tuned: noisy(t, base, math.Inf(1)), Rank: 4}, ErrNotFinite},
		{Options{Base: base, Tuned: base}, ErrOptions},
		{Options{Base: base, Tuned: base, Rank: 4, Energy: 2}, ErrOptions},
		{Options{Base: base, Tuned: base, Rank: 4, Embeddings: "x"}, ErrOptions},
		{Options{Base: base, Tuned: t.TempDir(), Rank: 4}, models.ErrSource},
	} {
		c.o.Output = out
		if _, err := Extract(c.o); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.o, err, c.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v left a folder", c.want)
		}
	}
}

// TestRandomised holds the randomised decomposition against the exact one, on
// a matrix with decaying singular values, and against itself.
func TestRandomised(t *testing.T) {
	out, in := 400, 320
	noise := make([]float32, out*in)
	random.Named(1, "matrix").Normal(noise, 1)
	left := mat.NewDense(out, in, nil)
	for i, v := range noise {
		left.Set(i/in, i%in, float64(v)*math.Pow(0.9, float64(i%in)))
	}
	full, err := exactly(left, 16)
	if err != nil {
		t.Fatal(err)
	}
	sketch, err := decompose(left, 16, 1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := decompose(left, 16, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range full.s {
		if math.Abs(sketch.s[i]-s) > 1e-6*full.s[0] {
			t.Errorf("singular value %d is %v, want %v", i, sketch.s[i], s)
		}
		if sketch.s[i] != again.s[i] {
			t.Errorf("singular value %d changes from run to run", i)
		}
	}
	a, b := sketch.factors(16)
	c, d := full.factors(16)
	if x, y := residue(mat.DenseCopyOf(left), a, b), residue(mat.DenseCopyOf(left), c, d); x > y*(1+1e-6) {
		t.Errorf("the sketch loses %v, the best is %v", x, y)
	}
}

// TestOutputOfAModel: an adapter is not written into a model's folder.
func TestOutputOfAModel(t *testing.T) {
	base := modeltest.Goldens(t, "llama-gqa")
	_, err := Extract(Options{Base: base, Tuned: base, Rank: 4, Output: base})
	if !errors.Is(err, ErrOptions) {
		t.Error(err)
	}
}

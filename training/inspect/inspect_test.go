package inspect

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/training/merge"
)

func TestDescribe(t *testing.T) {
	d, err := Describe(modeltest.Goldens(t, "llama-gqa", "adapters", "dora-all-linear"))
	if err != nil {
		t.Fatal(err)
	}
	if d.Method != "dora" || d.Rank == 0 || len(d.Layers) != 3 || len(d.Targets) != 7 || len(d.Digest) != 64 {
		t.Errorf("%+v", d)
	}
	n := 0
	for _, l := range d.Layers {
		n += l.Parameters
		for _, kind := range []string{"lora_A", "lora_B", "lora_magnitude_vector"} {
			if !(l.Norms[kind] > 0) {
				t.Errorf("layer %d has no norm of %s", l.Layer, kind)
			}
		}
	}
	if n != d.Parameters || 4*n != d.Bytes {
		t.Errorf("%d parameters in the layers, %d in %d bytes", n, d.Parameters, d.Bytes)
	}
	// Every golden folder that opens can be described.
	dirs, _ := filepath.Glob(modeltest.Goldens(t, "*", "adapters", "*", "golden.safetensors"))
	for _, golden := range dirs {
		if _, err := Describe(filepath.Dir(golden)); err != nil {
			t.Error(err)
		}
	}
	// A file of llama.cpp's, as the folder that it was made of.
	file := modeltest.Goldens(t, "llama-gqa", "ggufadapters", "lora-all-linear.gguf")
	theirs, err := Describe(file)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := Describe(modeltest.Goldens(t, "llama-gqa", "adapters", "lora-all-linear"))
	if err != nil {
		t.Fatal(err)
	}
	if theirs.Parameters != ours.Parameters || !reflect.DeepEqual(theirs.Targets, ours.Targets) || len(theirs.Layers) != len(ours.Layers) {
		t.Errorf("%+v, of the folder %+v", theirs, ours)
	}
	for i, l := range ours.Layers {
		for kind, want := range l.Norms {
			if got := theirs.Layers[i].Norms[kind]; math.Abs(got-want) > 1e-6*want {
				t.Errorf("layer %d: the norm of %s is %v, of the folder %v", l.Layer, kind, got, want)
			}
		}
	}
	if _, err := Describe(t.TempDir()); err == nil {
		t.Error("an empty folder is described")
	}
}

// TestAgainst holds ΔM and ΔD against their definition, and an adapter against
// the model that it is merged into.
func TestAgainst(t *testing.T) {
	base := modeltest.Goldens(t, "llama-gqa")
	for _, name := range []string{"lora-all-linear", "dora-all-linear", "ia3"} {
		dir := filepath.Join(base, "adapters", name)
		c, err := Against(dir, base, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		merged := filepath.Join(t.TempDir(), "merged")
		if _, err := merge.Merge(merge.Options{Base: base, Adapter: dir, Output: merged}); err != nil {
			t.Fatal(err)
		}
		full, err := Against(merged, base, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Modules) != len(full.Modules) || len(c.Layers) != 3 {
			t.Fatalf("%s: %d modules, %d merged", name, len(c.Modules), len(full.Modules))
		}
		for i, m := range c.Modules {
			f := full.Modules[i]
			if m.Module != f.Module || math.Abs(m.DeltaM-f.DeltaM) > 1e-6 || math.Abs(m.DeltaD-f.DeltaD) > 1e-6 || !(m.Relative > 0) {
				t.Errorf("%s: %+v, merged %+v", name, m, f)
			}
			if name == "ia3" && m.DeltaD > 0.2 {
				t.Errorf("ia3 turns %s by %v", m.Module, m.DeltaD)
			}
		}
		first := c.Modules[0]
		dm, dd := byDefinition(t, base, merged, first.Module)
		if math.Abs(first.DeltaM-dm) > 1e-6 || math.Abs(first.DeltaD-dd) > 1e-6 {
			t.Errorf("%s: ΔM %v, ΔD %v, want %v, %v", first.Module, first.DeltaM, first.DeltaD, dm, dd)
		}
	}
	theirs, err := Against(filepath.Join(base, "ggufadapters", "lora-all-linear.gguf"), base, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := Against(filepath.Join(base, "adapters", "lora-all-linear"), base, models.Options{})
	if err != nil || !reflect.DeepEqual(theirs.Modules, ours.Modules) {
		t.Errorf("a file of llama.cpp's: %+v, its folder %+v (%v)", theirs.Modules, ours.Modules, err)
	}
	same, err := Against(base, base, models.Options{})
	if err != nil || len(same.Modules) != 0 {
		t.Errorf("a model differs from itself: %v, %v", same, err)
	}
	for _, name := range []string{"prefix", "bottleneck-houlsby"} {
		_, err := Against(filepath.Join(base, "adapters", name), base, models.Options{})
		if !errors.Is(err, adapters.ErrMerge) || !strings.Contains(err.Error(), "are of weights that change") {
			t.Errorf("%s has a ΔM: %v", name, err)
		}
	}
	if _, err := Against(modeltest.Goldens(t, "qwen3"), base, models.Options{}); !errors.Is(err, ErrBase) {
		t.Errorf("another model: %v", err)
	}
}

func byDefinition(t *testing.T, base, tuned, module string) (dm, dd float64) {
	matrix := func(path string) kernels.Matrix {
		m, s, err := models.Open(path, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w := m.Sites()[m.Sites().Find(module)].Linear.W.Matrix()
		out := kernels.NewMatrix(w.Rows, w.Cols)
		out.Copy(w)
		return out
	}
	a, b := matrix(base), matrix(tuned)
	for i := range a.Rows {
		var ab, aa, bb float64
		for j, x := range a.Row(i) {
			y := float64(b.Row(i)[j])
			ab, aa, bb = ab+float64(x)*y, aa+float64(x)*float64(x), bb+y*y
		}
		dm += math.Abs(math.Sqrt(bb)-math.Sqrt(aa)) / float64(a.Rows)
		dd += (1 - ab/math.Sqrt(aa)/math.Sqrt(bb)) / float64(a.Rows)
	}
	return dm, dd
}

// TestCorrelate holds Pearson's coefficient on lines.
func TestCorrelate(t *testing.T) {
	up := []Change{{DeltaM: 1, DeltaD: 2}, {DeltaM: 2, DeltaD: 4}, {DeltaM: 3, DeltaD: 6}}
	if r, ok := correlate(up); !ok || math.Abs(r-1) > 1e-12 {
		t.Errorf("%v, %v", r, ok)
	}
	if _, ok := correlate(up[:2]); ok {
		t.Error("two points correlate")
	}
	if _, ok := correlate([]Change{{}, {}, {}}); ok {
		t.Error("no spread correlates")
	}
}

func TestHostile(t *testing.T) {
	dir := t.TempDir()
	config := `{"peft_type": "LORA", "target_modules": ["q_proj"]}`
	if err := os.WriteFile(filepath.Join(dir, adapters.ConfigFile), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"", "x", "\x08\x00\x00\x00\x00\x00\x00\x00{}      garbage"} {
		if err := os.WriteFile(filepath.Join(dir, adapters.SafeFile), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Describe(dir); err == nil {
			t.Errorf("%q is described", content)
		}
	}
}

// Package modeltest reads the golden models and logits under
// testdata/goldens, for the tests of every package that runs a model.
package modeltest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	_ "github.com/peft-serve/peft-serve/kernels/kernelstest" // for whatever computes in a test
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Root is the repository's folder.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatalf("no go.mod above the working directory (%v)", err)
	return ""
}

// Goldens is a path under testdata/goldens.
func Goldens(t testing.TB, elements ...string) string {
	t.Helper()
	return filepath.Join(append([]string{Root(t), "testdata", "goldens"}, elements...)...)
}

// Bases lists the golden bases.
func Bases(t testing.TB) []string { return holding(t, Goldens(t), "golden.safetensors") }

// TrainingBases lists the golden bases of the training runs.
func TrainingBases(t testing.TB) []string { return holding(t, Goldens(t, "training"), "batches.json") }

// holding lists the folders of dir that hold a file.
func holding(t testing.TB, dir, file string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*", file))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no %s in the folders of %s (%v)", file, dir, err)
	}
	for _, path := range paths {
		names = append(names, filepath.Base(filepath.Dir(path)))
	}
	return names
}

// Shared is a path in the folder of real data beside the repository; the test
// is skipped where it is absent.
func Shared(t testing.TB, elements ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{Root(t), "..", "shared"}, elements...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("real data is absent: %v", err)
	}
	return path
}

// SmolLM2 is the GGUF of SmolLM2-135M-Instruct, fetched by `make base`; the
// test is skipped where it is absent.
func SmolLM2(t testing.TB) string {
	t.Helper()
	return Real(t, "SmolLM2-135M-Instruct.Q4_1.gguf")
}

// Real is a real base in .base; the test is skipped where it is absent.
func Real(t testing.TB, file string) string {
	t.Helper()
	path := filepath.Join(Root(t), ".base", file)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the real base is absent (SmolLM2 is fetched by `make base`, others as testdata/README.md says): %v", err)
	}
	return path
}

// Open opens a golden base model and closes it with the test.
func Open(t testing.TB, base string) models.Model {
	t.Helper()
	m, s, err := models.Open(Goldens(t, base), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return m
}

// Pool is a pool of the given number of threads that ends with the test.
func Pool(t testing.TB, threads int) *kernels.Pool {
	t.Helper()
	p := kernels.NewPool(threads)
	t.Cleanup(p.Close)
	return p
}

// Case is one prompt of a golden file with the oracle's logits of every
// position, or of the last ones alone, [positions, vocabulary], and its greedy
// continuation.
type Case struct {
	Tokens []int32
	Logits kernels.Matrix
	Greedy []int32
}

// Cases reads a golden.safetensors.
func Cases(t testing.TB, path string) []Case {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var cases []Case
	for i := 0; ; i++ {
		tokens, ok := f.Lookup(fmt.Sprintf("tokens.%d", i))
		if !ok {
			break
		}
		logits, err := f.Tensor(fmt.Sprintf("logits.%d", i))
		if err != nil {
			t.Fatal(err)
		}
		values, err := logits.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		c := Case{Tokens: integers(tokens), Logits: kernels.MatrixOf(logits.Shape[0], logits.Shape[1], values)}
		if g, ok := f.Lookup(fmt.Sprintf("greedy.%d", i)); ok {
			c.Greedy = integers(g)
		}
		cases = append(cases, c)
	}
	if len(cases) == 0 {
		t.Fatalf("%s holds no case", path)
	}
	return cases
}

func integers(t safetensors.Tensor) []int32 {
	v := make([]int32, len(t.Data)/4)
	for i := range v {
		v[i] = int32(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return v
}

// Logits runs tokens through the model under an adapter (nil: the base) and
// returns the logits of every position.
func Logits(t testing.TB, m models.Model, pool *kernels.Pool, tokens []int32, a models.Adapter) kernels.Matrix {
	t.Helper()
	blocks := make([]int32, len(tokens)/kernels.BlockLen+1)
	for i := range blocks {
		blocks[i] = int32(i)
	}
	var b models.Batch
	b.Add(tokens, 0, blocks, a)
	p := models.NewPass(pool)
	h := m.Forward(p, &b, models.NewCache(m.Config(), len(blocks)))
	logits := m.Head(p, &b, 0, h)
	p.Free(h)
	return logits.Data
}

// MaxDifference is the largest absolute difference of two matrices of the same
// shape; infinite where one holds a NaN.
func MaxDifference(a, b kernels.Matrix) float64 {
	worst := 0.0
	for i := range a.Rows {
		for j, x := range a.Row(i) {
			d := float64(x) - float64(b.Row(i)[j])
			if !(d <= worst && -d <= worst) {
				worst = max(d, -d)
			}
		}
	}
	return worst
}

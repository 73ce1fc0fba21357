package adaptertest

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Tolerance is the largest difference of a logit between an adapter and the
// base that it was merged into.
const Tolerance = 1e-4

// Suite is one adapter to be put through the conformance tests.
type Suite struct {
	Base string // the folder of its base
	Dir  string // its folder
	// Merge changes the base's tensors, by name, to those of the dense model
	// that computes the same; nil where there is none.
	Merge func(t *testing.T, base, adapter Dense)
	// Wrong is the folder of a base that the adapter does not fit; "": none.
	Wrong string
	// Rounds tells that the adapter has factors, which can be held in less than a
	// file of F32 has.
	Rounds bool
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	m := openBase(t, s.Base)
	a := Load(t, m, s.Dir)
	logits := func(of *adapters.Adapter) (all []kernels.Matrix) {
		pool := kernels.NewPool(1)
		defer pool.Close()
		for _, tokens := range prompts(m, a) {
			all = append(all, Logits(m, pool, Row{tokens, of})[0])
		}
		return all
	}
	base, own := logits(nil), logits(a)
	t.Run("batch", func(t *testing.T) { s.batch(t, m, a) })
	t.Run("save", func(t *testing.T) { s.save(t, m, a) })
	t.Run("steady", func(t *testing.T) { s.steady(t, m, a) })
	t.Run("tampered", func(t *testing.T) { s.tampered(t, m) })
	t.Run("rounded", func(t *testing.T) { s.rounded(t, m, a) })
	if s.Merge != nil {
		t.Run("merged", func(t *testing.T) { s.merged(t, m, a) })
	}
	// After all that was loaded, run and refused, nothing of base and adapter
	// has changed: without the adapter the base is what it was before, and with
	// it again the adapter.
	t.Run("off", func(t *testing.T) {
		for range 2 {
			same(t, "the base", logits(nil), base)
			same(t, "the adapter", logits(a), own)
		}
	})
}

func same(t *testing.T, what string, got, want []kernels.Matrix) {
	t.Helper()
	for i := range want {
		if !slices.Equal(got[i].Data, want[i].Data) {
			t.Errorf("prompt %d: %s computes something else, by %.3g", i, what, difference(got[i], want[i]))
		}
	}
}

func openBase(t testing.TB, dir string) models.Model {
	t.Helper()
	m, source, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	return m
}

// prompts are of lengths on both sides of a band of rows, and of tokens that
// both the base and the adapter have.
func prompts(m models.Model, a *adapters.Adapter) [][]int32 {
	v := int32(min(m.Config().Vocabulary, a.Vocabulary()))
	var all [][]int32
	for i, n := range []int{1, 7, 33} {
		tokens := make([]int32, n)
		for j := range tokens {
			tokens[j] = (int32(i)*31 + int32(j)*17 + 2) % v
		}
		copy(tokens[n/2:], a.Invocation())
		all = append(all, tokens)
	}
	return all
}

// batch demands that each row of a mixed batch has the bits of a run alone,
// and that the base beside an adapter is the base.
func (s Suite) batch(t *testing.T, m models.Model, a *adapters.Adapter) {
	one, two := kernels.NewPool(1), kernels.NewPool(2)
	defer one.Close()
	defer two.Close()
	var rows []Row
	var alone []kernels.Matrix
	for _, tokens := range prompts(m, a) {
		for _, own := range []*adapters.Adapter{a, nil} {
			row := Row{tokens, own}
			rows = append(rows, row)
			alone = append(alone, Logits(m, one, row)[0])
		}
	}
	headAlone := a.Classes() != nil && a.SharedLayers() == m.Config().Layers // which hidden states do not go through
	if same := slices.Equal(alone[len(alone)-1].Data, alone[len(alone)-2].Data); same != headAlone {
		t.Errorf("the adapter changes nothing: %t", same)
	}
	for _, pool := range []*kernels.Pool{one, two} {
		for i, got := range Logits(m, pool, rows...) {
			if !slices.Equal(got.Data, alone[i].Data) {
				t.Errorf("row %d: the mixed batch differs from the run alone by %.3g", i, difference(got, alone[i]))
			}
		}
	}
}

// save demands that a saved adapter is the same one.
func (s Suite) save(t *testing.T, m models.Model, a *adapters.Adapter) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	dir := filepath.Join(t.TempDir(), "saved")
	for range 2 { // anew, and over what is there
		if err := a.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	again := Load(t, m, dir)
	if again.Digest() != a.Digest() {
		t.Errorf("the digest %s became %s", a.Digest(), again.Digest())
	}
	for _, tokens := range prompts(m, a) {
		want, got := Logits(m, pool, Row{tokens, a})[0], Logits(m, pool, Row{tokens, again})[0]
		if !slices.Equal(got.Data, want.Data) {
			t.Errorf("saving changed the logits by %.3g", difference(got, want))
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 2 && (len(left) != 3 || a.Config().Classes == nil) {
		t.Errorf("saved files: %q, %v", left, err)
	}
}

// steady demands that a decoding step under the adapter allocates nothing that
// the base does not.
func (s Suite) steady(t *testing.T, m models.Model, a *adapters.Adapter) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	p, c := models.NewPass(pool), models.NewCache(m.Config(), blocksFor(m))
	blocks := make([]int32, blocksFor(m))
	for i := range blocks {
		blocks[i] = int32(i)
	}
	storePrefix(c, a, blocks)
	tokens, position := []int32{3}, a.PrefixTokens()
	var b models.Batch
	allocations := func(of models.Adapter) float64 {
		step := func() {
			b.Reset()
			if !generates(m) {
				b.AddText(tokens, nil, position, of)
				p.Free(m.Forward(p, &b, nil))
				return
			}
			b.Add(tokens, position, blocks, of)
			h := m.Forward(p, &b, c)
			logits := m.Head(p, &b, 0, h)
			p.Free(h, logits)
		}
		step()
		return testing.AllocsPerRun(20, step)
	}
	if base, own := allocations(nil), allocations(a); own > base {
		t.Errorf("a step allocates %v times, the base's %v", own, base)
	}
}

// merged compares the adapter with the dense model it amounts to.
func (s Suite) merged(t *testing.T, m models.Model, a *adapters.Adapter) {
	base := readDense(t, filepath.Join(s.Base, safetensors.SingleFile))
	s.Merge(t, base, readDense(t, filepath.Join(s.Dir, adapters.SafeFile)))
	dir := t.TempDir()
	base.write(t, filepath.Join(dir, safetensors.SingleFile))
	config, err := os.ReadFile(filepath.Join(s.Base, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	dense := openBase(t, dir)
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, tokens := range prompts(m, a) {
		want, got := Logits(dense, pool, Row{tokens, nil})[0], Logits(m, pool, Row{tokens, a})[0]
		if d := difference(got, want); !(d <= Tolerance) {
			t.Errorf("%d tokens: the merged model differs by %.3g", len(tokens), d)
		}
	}
}

// difference is the largest absolute difference, NaN where there is one and
// infinite where the vocabularies differ.
func difference(a, b kernels.Matrix) float64 {
	if a.Cols != b.Cols {
		return math.Inf(1)
	}
	worst := 0.0
	for i, x := range a.Data {
		d := float64(x) - float64(b.Data[i])
		if !(d <= worst && -d <= worst) {
			worst = max(d, -d)
		}
	}
	return worst
}

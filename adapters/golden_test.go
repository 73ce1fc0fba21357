package adapters_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// tolerance is the largest difference of a logit from PEFT's in f32.
const tolerance = 1e-4

// golden calls f for every adapter folder beside a golden base.
func golden(t *testing.T, f func(t *testing.T, m models.Model, base, dir string)) {
	t.Helper()
	bases, err := filepath.Glob(modeltest.Goldens(t, "*", "adapters"))
	if err != nil || len(bases) == 0 {
		t.Fatalf("no golden adapters: %v", err)
	}
	for _, folder := range bases {
		base := filepath.Base(filepath.Dir(folder))
		dirs, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		m, s, err := models.Open(filepath.Dir(folder), models.Options{})
		if errors.Is(err, models.ErrArchitecture) {
			t.Logf("%s: %v", base, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			t.Run(base+"/"+filepath.Base(dir), func(t *testing.T) { f(t, m, base, dir) })
		}
		s.Close()
	}
}

// TestGoldenLogits holds every golden adapter against PEFT.
func TestGoldenLogits(t *testing.T) {
	pool := modeltest.Pool(t, 2)
	golden(t, func(t *testing.T, m models.Model, base, dir string) {
		if _, err := os.Stat(filepath.Join(dir, "golden.safetensors")); err != nil {
			t.Skip("it is to be refused: TestGoldenRefused")
		}
		a := adaptertest.Load(t, m, dir)
		worst := 0.0
		for i, c := range modeltest.Cases(t, filepath.Join(dir, "golden.safetensors")) {
			got := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: c.Tokens, Adapter: a})[0]
			d := modeltest.MaxDifference(last(got, c.Logits.Rows), c.Logits)
			if worst = max(worst, d); !(d <= tolerance) {
				t.Errorf("case %d: a logit is off by %.3g", i, d)
			}
			tokens := append([]int32(nil), c.Tokens...)
			for j, want := range c.Greedy {
				logits := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: tokens, Adapter: a})[0]
				if next := largest(logits.Row(len(tokens) - 1)); next != want {
					t.Fatalf("case %d: greedy token %d is %d, want %d", i, j, next, want)
				}
				tokens = append(tokens, want)
			}
		}
		t.Logf("%s, rank %d, %d bytes: largest error %.2g", a.Method(), a.Rank(), a.Bytes(), worst)
	})
}

// refusals says which error refuses a golden folder, and what it names.
var refusals = map[string]struct {
	kind error
	name string
}{
	"refused-loha": {adapters.ErrMethod, `"LOHA"`},
	"refused-lokr": {adapters.ErrMethod, `"LOKR"`}, "refused-oft": {adapters.ErrMethod, `"OFT"`},
	"refused-boft":              {adapters.ErrMethod, `"BOFT"`},
	"refused-alora":             {adapters.ErrConfig, "alora_invocation_tokens"},
	"refused-layer-replication": {adapters.ErrConfig, "layer_replication"},
	"refused-target-parameters": {adapters.ErrConfig, "target_parameters"},
	"refused-qalora":            {adapters.ErrConfig, "use_qalora"},
	"pissa-unconverted":         {adapters.ErrBase, "init_lora_weights"},
	"olora-unconverted":         {adapters.ErrBase, "init_lora_weights"},
}

// TestGoldenRefused holds law 3 over the folders that have no logits.
func TestGoldenRefused(t *testing.T) {
	golden(t, func(t *testing.T, m models.Model, base, dir string) {
		if _, err := os.Stat(filepath.Join(dir, "golden.safetensors")); err == nil {
			t.SkipNow()
		}
		want, ok := refusals[filepath.Base(dir)]
		if !ok {
			t.Fatal("a folder without logits that nobody expects to be refused")
		}
		_, err := adapters.Open(dir)
		if !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.name) || !strings.HasPrefix(err.Error(), dir) {
			t.Errorf("got %v", err)
		}
	})
}

func last(m kernels.Matrix, rows int) kernels.Matrix { return m.Span(m.Rows-rows, m.Rows) }

func largest(v []float32) int32 {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return int32(best)
}

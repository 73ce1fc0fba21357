package training

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
)

// TestFrozenHasNoBuffer demands that what is not trained has no gradient, and
// that a block which is frozen again gives gradient and moments back.
func TestFrozenHasNoBuffer(t *testing.T) {
	buffers := func(m models.Model) (n int) {
		for _, s := range m.Sites() {
			switch s.Kind {
			case models.LinearSite:
				n += len(s.Linear.WGrad.Data) + len(s.Linear.BiasGrad)
			case models.NormSite:
				n += len(s.Norm.WeightGrad) + len(s.Norm.BiasGrad)
			case models.EmbeddingSite:
				n += len(s.Embedding.WGrad.Data)
			}
		}
		return n
	}
	for _, method := range []string{"lora", "dora", "ia3", "houlsby", "prefix", "prompt"} {
		c := tinyConfig(t, method)
		base := openTiny(t, "llama-gqa")
		r, err := NewRun(c, base, &quiet{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Do(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := buffers(base.Model); n != 0 {
			t.Errorf("%s: the frozen base has %d values of gradients", method, n)
		}
		r.Close()
	}
	m := openGolden(t, "llama-gqa")
	f := NewBlocks(m, false, func(step int) []int { return []int{step % 3} })
	tr := goldenTrainer(t, m, f, &goldenRun{Betas: []float64{0.9, 0.999}, Epsilon: 1e-8, Rate: 1e-3, Steps: 9, Clip: 1}, 1)
	batches := goldenBatches(t, "llama-gqa")
	for step := range 6 {
		if _, err := tr.Advance(batches[:1]); err != nil {
			t.Fatal(err)
		}
		n := count(f.Parameters())
		if got := buffers(m); got != n {
			t.Errorf("step %d: gradients of %d values, want %d of one block", step, got, n)
		}
		if got := tr.Optimizer.Bytes(); got != 8*n {
			t.Errorf("step %d: %d bytes of moments, want %d of one block", step, got, 8*n)
		}
	}
}

// TestPublish sends an adapter to a server.
func TestPublish(t *testing.T) {
	var path, kind string
	var first []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, kind = r.Method+" "+r.URL.Path, r.Header.Get("Content-Type")
		first = make([]byte, 4)
		if _, err := r.Body.Read(first); err != nil {
			t.Error(err)
		}
		if strings.HasSuffix(path, "refused") {
			http.Error(w, "no such base", http.StatusUnprocessableEntity)
		}
	}))
	defer server.Close()
	c := tinyConfig(t, "lora")
	c.Publish, c.PublishName = server.URL, "mine"
	if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
		t.Fatal(err)
	}
	if path != "PUT /v1/adapters/mine" || kind != "application/zstd" || string(first) != "\x28\xb5\x2f\xfd" {
		t.Errorf("%s, %s, %x", path, kind, first)
	}
	c.Output, c.PublishName = filepath.Join(t.TempDir(), "out"), "refused"
	if _, err := train(t, c, "llama-gqa", &quiet{}); err == nil || !strings.Contains(err.Error(), "no such base") {
		t.Errorf("refused: %v", err)
	}
}

// TestMemoryLimit demands that a run that would not fit is not started.
func TestMemoryLimit(t *testing.T) {
	c := tinyConfig(t, "full")
	c.MemoryLimit = 50000
	r, err := NewRun(c, openTiny(t, "llama-gqa"), &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Plan(); err == nil || !strings.Contains(err.Error(), "--memory-limit") {
		t.Errorf("%v", err)
	}
}

// TestBestIsKept demands that with --keep-best the output is that of the step
// that validated best, and that patience ends a run.
func TestBestIsKept(t *testing.T) {
	for _, method := range []string{"lora", "lisa"} {
		t.Run(method, func(t *testing.T) { bestIsKept(t, method) })
	}
}

func bestIsKept(t *testing.T, method string) {
	c := tinyConfig(t, method)
	c.Split, c.EvalEvery, c.Best, c.Patience, c.MaxSteps, c.LR = 0.3, 2, true, 2, 40, 0.5
	s, err := train(t, c, "llama-gqa", &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	reports, err := readJournal(filepath.Join(c.Output, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	best := 1e9
	for _, r := range reports {
		if r.Validation != nil {
			best = min(best, r.Validation["loss"])
		}
	}
	if s.Validation["loss"] != best {
		t.Errorf("saved with a loss of %v, the best was %v", s.Validation["loss"], best)
	}
	if s.Steps >= 40 {
		t.Errorf("%d steps in spite of patience", s.Steps)
	}
}

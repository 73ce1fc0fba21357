package training

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// buffers counts the values of gradients at a base's sites.
func buffers(m models.Model) (n int) {
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

// TestExactlyTheAdapterTrains demands of every method with an adapter that the
// frozen base has no gradient, that what is saved is what was trained, with the
// values that training left, that each of its tensors has moved, and that the
// base beneath computes the bits that it did before.
func TestExactlyTheAdapterTrains(t *testing.T) {
	type variant struct {
		base, method string
		set          func(c *Config)
	}
	variants := map[string]variant{
		"modules to save": {"llama-gqa", "lora", func(c *Config) { c.Save = []string{"lm_head", "model.norm"} }},
		"dora, saved":     {"llama-gqa", "dora", func(c *Config) { c.Save = []string{"embed_tokens"} }},
		"ia3, saved":      {"gpt2", "ia3", func(c *Config) { c.Save = []string{"ln_f", "mlp.c_fc"} }},
		"bias all":        {"gpt2", "lora", func(c *Config) { c.Bias = "all" }},
		"bias lora_only":  {"gpt2", "lora", func(c *Config) { c.Bias = "lora_only" }},
		"dora, bias all":  {"gpt2", "dora", func(c *Config) { c.Bias = "all" }},
		"embedding":       {"llama-gqa", "lora", func(c *Config) { c.Targets = []string{"embed_tokens", "q_proj"} }},
		"head":            {"llama-gqa", "lora", func(c *Config) { c.Targets = []string{"lm_head", "q_proj"} }},
		"pissa":           {"llama-gqa", "lora", func(c *Config) { c.Start = "pissa" }},
		"olora":           {"gpt2", "rslora", func(c *Config) { c.Start = "olora" }},
		"beft":            {"llama-gqa", "bitfit", func(c *Config) { c.ZeroBiases = true }},
	}
	for _, method := range Methods() {
		for _, base := range []string{"llama-gqa", "gpt2"} {
			r, ok := adapters.FindRecipe(method)
			if ok && (r.Check == nil || r.Check(openTiny(t, base).Model, &adapters.Choice{}) == nil) {
				variants[base+"/"+method] = variant{base, method, func(*Config) {}}
			}
		}
	}
	for name, v := range variants {
		t.Run(name, func(t *testing.T) {
			c := tinyConfig(t, v.method)
			v.set(&c)
			base := openTiny(t, v.base)
			r, err := NewRun(c, base, &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			batch, err := r.batch(0)
			if err != nil {
				t.Fatal(err)
			}
			alone := logits(r.pool, base.Model, nil, batch[0])
			trained, start := map[string]*Parameter{}, map[string][]float32{}
			for _, p := range r.Trainer.Method.Parameters() {
				trained[p.Name], start[p.Name] = p, slices.Clone(p.Value)
			}
			if _, err := r.Do(context.Background()); err != nil {
				t.Fatal(err)
			}
			if n := buffers(base.Model); n != 0 {
				t.Errorf("the frozen base has %d values of gradients", n)
			}
			if d := modeltest.MaxDifference(logits(r.pool, base.Model, nil, batch[0]), alone); d != 0 {
				t.Errorf("the base computes something else, by %v", d)
			}
			saved, err := safetensors.Open(filepath.Join(c.Output, adapters.SafeFile))
			if err != nil {
				t.Fatal(err)
			}
			defer saved.Close()
			still := map[string]bool{} // what a family saves beside what it trains
			for _, p := range r.Trainer.Method.(*Adapted).Trainee.Params() {
				still[p.Name] = p.Trained(c.Start) == nil
			}
			for s := range saved.All() {
				if still[s.Name] {
					continue
				}
				p := trained[s.Name]
				delete(trained, s.Name)
				values, err := s.Float32s()
				switch {
				case err != nil:
					t.Fatal(err)
				case p == nil:
					t.Errorf("%s is saved, and was not trained", s.Name)
				case len(p.Value) == len(values) && !slices.Equal(values, p.inFileOrder(p.Value)):
					t.Errorf("%s is saved with other values", s.Name)
				case slices.Equal(p.Value, start[s.Name]):
					t.Errorf("%s has not moved", s.Name)
				case len(p.Grad) != len(p.Value):
					t.Errorf("%s has %d values and %d of gradient", s.Name, len(p.Value), len(p.Grad))
				}
			}
			for name := range trained {
				t.Errorf("%s was trained, and is not saved", name)
			}
		})
	}
}

// TestFrozenAgain demands that a block which is frozen again gives gradient
// and moments back.
func TestFrozenAgain(t *testing.T) {
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
		if r.Method == http.MethodGet { // asked before there is an adapter
			if r.Header.Get("Authorization") == "Bearer wrong" {
				http.Error(w, "", http.StatusUnauthorized)
			}
			return
		}
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
	path = ""
	c.Resume.On, c.PublishName = true, "mine" // there is nothing left to do but that
	ends(t, c, "llama-gqa", &quiet{}, ErrFinished, "is at step 12 of 12")
	if path != "PUT /v1/adapters/mine" {
		t.Errorf("of a finished run: %q", path)
	}
	c.Resume.On, c.Output = false, filepath.Join(t.TempDir(), "out")
	c.PublishKey = "wrong"
	q := &quiet{}
	if _, err := train(t, c, "llama-gqa", q); err == nil || !strings.Contains(err.Error(), "PEFT_SERVE_API_KEY") || len(q.steps) > 0 {
		t.Errorf("with a wrong key: %v after %d steps", err, len(q.steps))
	}
}

// TestPublishHome: what a server serves where it is trained is not uploaded to
// it, which would replace the run's own files.
func TestPublishHome(t *testing.T) {
	var answer string
	puts := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			puts++
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	c := tinyConfig(t, "lora")
	c.Publish, c.MaxSteps = server.URL, 1
	for _, answer = range []string{
		fmt.Sprintf(`{"adapters": [], "folder": %q}`, filepath.Dir(c.Output)),
		fmt.Sprintf(`{"adapters": [{"name": "out", "source": "file://%s"}]}`, c.Output),
	} {
		q := &quiet{}
		ends(t, c, "llama-gqa", q, nil, "serves "+c.Output+" itself, as out")
		if _, err := os.Stat(c.Output); len(q.steps) > 0 || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after %d steps; %v", len(q.steps), err)
		}
	}
	for _, answer = range []string{ // of another name, of other folders, of a server that says less
		fmt.Sprintf(`{"adapters": [{"name": "other", "source": %q}], "folder": "/"}`, c.Output), `{"adapters": [], "folder": ""}`, "?",
	} {
		puts = 0
		c.Output = filepath.Join(t.TempDir(), "out")
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil || puts != 1 {
			t.Errorf("%s: %v, %d uploads", answer, err, puts)
		}
	}
	// It comes up while the run trains.
	answer, puts = "", 0
	c.Output = filepath.Join(t.TempDir(), "out")
	r, err := NewRun(c, openTiny(t, "llama-gqa"), &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.observer = &watched{on: func() { answer = fmt.Sprintf(`{"adapters": [{"name": "out", "source": %q}]}`, c.Output) }}
	if _, err := r.Do(t.Context()); err != nil || puts != 0 || firstOf(c.Output, written) == "" {
		t.Errorf("%v, %d uploads", err, puts)
	}
}

// watched does something at every step.
type watched struct {
	quiet
	on func()
}

func (w *watched) Step(StepReport) { w.on() }

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

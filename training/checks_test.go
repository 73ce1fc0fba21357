package training

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// refused demands that a run is not started, and for what reason.
func refused(t *testing.T, base string, c Config, want string) {
	t.Helper()
	r, err := NewRun(c, openTiny(t, base), &quiet{})
	if err == nil {
		r.Close()
		t.Errorf("started; want %q", want)
	} else if !strings.Contains(err.Error(), want) {
		t.Errorf("%v; want %q", err, want)
	}
}

// TestSettingsHaveReaders: every setting of a method means something to a
// method, and no method reads what is no setting.
func TestSettingsHaveReaders(t *testing.T) {
	readers := map[string]int{}
	for _, method := range Methods() {
		for _, name := range Reads(method) {
			readers[name]++
		}
	}
	for _, kind := range []reflect.Type{reflect.TypeFor[MethodConfig](), reflect.TypeFor[adapters.Choice]()} {
		for i := range kind.NumField() {
			if f := kind.Field(i); !f.Anonymous {
				if readers[flagName(f)] == 0 {
					t.Errorf("--%s: nobody reads it", flagName(f))
				}
				delete(readers, flagName(f))
			}
		}
	}
	if len(readers) > 0 {
		t.Errorf("no settings: %v", readers)
	}
}

func TestIdleSettings(t *testing.T) {
	c := tinyConfig(t, "ia3")
	c.MethodConfig = MethodConfig{Choice: adapters.Choice{R: 4, Targets: []string{"q_proj"}}, PlusEmbedding: 1e-6, Gamma: 2, GaloreScale: 2}
	if got := c.idle(); !slices.Equal(got, []string{"--r", "--galore-scale"}) {
		t.Errorf("%q", got)
	}
	c.Method, c.InitAdapter, c.PlusRatio = "lora+", "somewhere", 4
	if got := c.idle(); !slices.Equal(got, []string{"--r", "--target-modules", "--galore-scale"}) {
		t.Errorf("%q", got)
	}
}

// told keeps what a run notes.
type told struct {
	quiet
	notes []string
}

func (o *told) Note(format string, a ...any) { o.notes = append(o.notes, fmt.Sprintf(format, a...)) }

// notesOf are what a run notes before it begins.
func notesOf(t *testing.T, base string, c Config) string {
	t.Helper()
	o := &told{}
	r, err := NewRun(c, openTiny(t, base), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(o.notes, "\n")
}

// TestIdleSettingsAreTold: a setting that nothing reads is noted, of methods and of rows.
func TestIdleSettingsAreTold(t *testing.T) {
	for method, want := range map[string]string{
		"full":      "without effect: --lora-alpha, --target-modules, --layers-to-transform, --top-layers (with --method full)",
		"prefix":    "without effect: --lora-alpha, --target-modules, --layers-to-transform, --top-layers (with --method prefix)",
		"ln-tuning": "without effect: --lora-alpha, --layers-to-transform, --top-layers (with --method ln-tuning)",
		"ia3":       "without effect: --lora-alpha, --layers-to-transform, --top-layers (with --method ia3)",
	} {
		c := tinyConfig(t, method)
		c.MethodConfig = MethodConfig{Choice: adapters.Choice{Alpha: 3, Layers: []int{1}, TopLayers: 1}}
		if method == "full" || method == "prefix" {
			c.Targets = []string{"q_proj"}
		}
		if got := notesOf(t, "llama-gqa", c); !strings.Contains(got, want) {
			t.Errorf("%s: %s\nwant %s", method, got, want)
		}
	}
	c := tinyConfig(t, "lora")
	c.Columns.Label, c.Columns.Pair = "topic", "text_pair" // the second is the default
	if got := notesOf(t, "llama-gqa", c); !strings.Contains(got, "without effect: --label-column (no such column is read: read are prompt, completion") {
		t.Error(got)
	}
}

// TestRankBeyond: a rank that no module has a use for is noted before memory is taken, one
// that a module has a use for is not.
func TestRankBeyond(t *testing.T) {
	c := tinyConfig(t, "lora")
	c.Targets = []string{"all-linear"}
	widest := 0
	for _, s := range openTiny(t, "llama-gqa").Model.Sites() {
		if s.Kind == models.LinearSite && !s.Head {
			widest = max(widest, min(s.Linear.W.Rows, s.Linear.W.Cols))
		}
	}
	for r, want := range map[int]bool{widest: false, widest + 1: true, 1000: true} {
		c.R = r
		got := notesOf(t, "llama-gqa", c)
		if note := fmt.Sprintf("--r: a rank of %d is above %d,", r, widest); strings.Contains(got, note) != want {
			t.Errorf("%q: %v, want %v of\n%s", note, !want, want, got)
		}
	}
	c.RankPattern = map[string]int{"q_proj": 2}
	if got := notesOf(t, "llama-gqa", c); strings.Contains(got, "--r: a rank") {
		t.Error(got)
	}
}

// TestUnfit refuses what a base cannot do before anything is read or written
// over.
func TestUnfit(t *testing.T) {
	c := tinyConfig(t, "bitfit")
	refused(t, "llama-gqa", c, "--zero-biases")
	c = tinyConfig(t, "lora")
	c.Bias = "all"
	refused(t, "llama-gqa", c, "--bias all: the base has no biases")
	c = tinyConfig(t, "lisa")
	c.Gamma = 9
	refused(t, "llama-gqa", c, "--lisa-layers: 9")
	c = tinyConfig(t, "houlsby")
	c.AdapterDropMax = 9
	refused(t, "llama-gqa", c, "--adapter-drop-random: 9")
	c.AdapterDrop = 9
	refused(t, "llama-gqa", c, "--adapter-drop: 9")
	c = tinyConfig(t, "dora")
	c.Layers = []int{1, 9}
	refused(t, "llama-gqa", c, "--layers-to-transform: 9")
	for _, method := range []string{"lora", "ia3", "bitfit"} {
		c = tinyConfig(t, method)
		c.ZeroBiases, c.Exclude = method == "bitfit", []string{"k_proj", "k_projection"}
		refused(t, "llama-gqa", c, `--exclude-modules: no module answers to "k_projection"`)
	}
	c = tinyConfig(t, "lora")
	c.Targets = []string{"q_proj", "v_proj"}
	c.RankPattern = map[string]int{"k_proj": 4}
	refused(t, "llama-gqa", c, `--rank-pattern: no module answers to "k_proj"`)
	c.RankPattern, c.AlphaPattern = map[string]int{`layers\.1\.self_attn\.q_proj`: 4}, map[string]float64{"layers.9.self_attn.q_proj": 4}
	refused(t, "llama-gqa", c, `--alpha-pattern: no module answers to "layers.9.self_attn.q_proj"`)
	c = tinyConfig(t, "lora")
	c.InitAdapter = t.TempDir()
	refused(t, "llama-gqa", c, "--init-adapter: ")
	c = tinyConfig(t, "lora")
	c.Split = 0.001
	refused(t, "llama-gqa", c, "--validation-split: ")

	c = tinyConfig(t, "lora")
	if err := os.MkdirAll(c.Output, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Output, "config.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, "llama-gqa", c, "holds a model")
	c.Output = filepath.Join(c.Output, "config.json")
	refused(t, "llama-gqa", c, "--output:")
	c = tinyConfig(t, "full")
	c.Output = openTiny(t, "llama-gqa").Path
	refused(t, "llama-gqa", c, "is the base's folder")
}

// TestZeroBiasesWhereThereAreBiases is plain BitFit on GPT-2.
func TestZeroBiasesWhereThereAreBiases(t *testing.T) {
	c := tinyConfig(t, "bitfit")
	c.ZeroBiases, c.MaxSteps = true, 2
	if _, err := train(t, c, "gpt2", &quiet{}); err != nil {
		t.Fatal(err)
	}
	f, err := adapters.Open(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	if f.Config.Type != "BITFIT" {
		t.Errorf("it is a %s", f.Config.Type)
	}
}

// TestModulesToSave: every method of an adapter trains other modules beside it,
// and finds them again.
func TestModulesToSave(t *testing.T) {
	for _, recipe := range adapters.Recipes() {
		method := recipe.Name
		c := tinyConfig(t, method)
		c.ZeroBiases, c.MaxSteps, c.Save = true, 2, []string{"model.norm"}
		r, err := NewRun(c, openTiny(t, "llama-gqa"), &quiet{})
		if err != nil {
			t.Errorf("%s: %v", method, err)
			continue
		}
		defer r.Close()
		if err := r.Plan(); err != nil {
			t.Fatal(err)
		}
		s, err := r.Do(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if s.Plan.Gradients != s.Peak.Gradients || s.Plan.Activations != s.Peak.Activations {
			t.Errorf("%s: planned %+v, measured %+v", method, s.Plan, s.Peak)
		}
		for _, p := range r.Trainer.Method.Parameters() {
			if strings.HasSuffix(p.Name, "model.norm.weight") && !p.Norm {
				t.Errorf("%s: %s is not known as a norm", method, p.Name)
			}
		}
		next := tinyConfig(t, method)
		next.InitAdapter, next.MaxSteps = c.Output, 1
		if _, err := train(t, next, "llama-gqa", &quiet{}); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// TestInitAdapterOfAnotherMethod: what is trained is what --method says.
func TestInitAdapterOfAnotherMethod(t *testing.T) {
	for _, methods := range [][2]string{{"ia3", "lora"}, {"pfeiffer", "houlsby"}, {"parallel", "pfeiffer"}} {
		c := tinyConfig(t, methods[0])
		c.MaxSteps = 1
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		from := c.Output
		c = tinyConfig(t, methods[0])
		c.InitAdapter, c.MaxSteps = from, 1
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		c = tinyConfig(t, methods[1])
		c.InitAdapter = from
		refused(t, "llama-gqa", c, "is of method "+methods[0]+", not "+methods[1])
	}
}

// TestFurtherTraining: the folder tells of the dropout that trained it last,
// and a plain adapter is none of DoRA's.
func TestFurtherTraining(t *testing.T) {
	c := tinyConfig(t, "lora")
	c.MaxSteps = 1
	if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
		t.Fatal(err)
	}
	next := tinyConfig(t, "lora")
	next.MaxSteps, next.InitAdapter, next.Dropout, next.Overwrite = 1, c.Output, 0.25, true
	if _, err := train(t, next, "llama-gqa", &quiet{}); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(next.Output, adapters.ConfigFile))
	if err != nil || !strings.Contains(string(config), `"lora_dropout": 0.25`) {
		t.Errorf("%s (%v)", config, err)
	}
	next.DoRA = true
	refused(t, "llama-gqa", next, "is of method lora, not dora")
}

// TestGaLoreProjects: a rank that no matrix is above trains without GaLore.
func TestGaLoreProjects(t *testing.T) {
	c := tinyConfig(t, "galore")
	c.GaloreRank = 4096
	refused(t, "llama-gqa", c, "--galore-rank: 4096 is not below the sides of any")
}

// TestReadmeOfOwnTypes: PEFT is not named where it cannot load what is saved.
func TestReadmeOfOwnTypes(t *testing.T) {
	for method, peft := range map[string]bool{"lora": true, "houlsby": false} {
		c := tinyConfig(t, method)
		c.MaxSteps = 1
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(c.Output, "README.md"))
		if err != nil || strings.Contains(string(text), "library_name: peft") != peft || strings.Contains(string(text), "PEFT has no BOTTLENECK") == peft {
			t.Errorf("%s: %s (%v)", method, text, err)
		}
	}
}

// TestConvertedPatterns: PiSSA and OLoRA are saved with twice the rank and
// alpha, those of single modules too.
func TestConvertedPatterns(t *testing.T) {
	c := tinyConfig(t, "lora")
	c.Start, c.RankPattern, c.AlphaPattern = "pissa", map[string]int{"q_proj": 4}, map[string]float64{"v_proj": 3}
	recipe, _ := adapters.FindRecipe("lora")
	values := recipe.Values(openTiny(t, "llama-gqa").Model, &c.Choice)
	if got := values["rank_pattern"].(map[string]int)["q_proj"]; got != 8 {
		t.Errorf("rank %d of q_proj, want 8", got)
	}
	if got := values["alpha_pattern"].(map[string]float64)["v_proj"]; got != 6 {
		t.Errorf("alpha %v of v_proj, want 6", got)
	}
}

// TestChangedSettingsAreNamed: a checkpoint of other settings or data is
// refused by the flag that has changed, and a damaged one by its file.
func TestChangedSettingsAreNamed(t *testing.T) {
	c := tinyConfig(t, "lora")
	c.SaveEvery = 4
	if _, err := train(t, c, "llama-gqa", &quiet{stopAt: 5}); err == nil {
		t.Fatal("not interrupted")
	}
	c.Resume.On = true
	again := func(want string, change func(c *Config)) {
		t.Helper()
		other := c
		change(&other)
		if _, err := train(t, other, "llama-gqa", &quiet{stopAt: 99}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	again("--lr: was 0.01, is 0.02", func(c *Config) { c.LR = 0.02 })
	again("steps (of --max-steps, or --epochs and --batch-size): was 12, is 11: they may grow, not shrink", func(c *Config) { c.MaxSteps = 11 })
	again("--seed: was 3, is 4", func(c *Config) { c.Seed = 4 })
	again("These may change: --max-steps, --epochs, --output", func(c *Config) { c.Seed = 4 })
	again("--lora-dropout: was 0.1, is 0.2", func(c *Config) { c.Dropout = 0.2 })
	again("--data: contents: was ", func(c *Config) {
		b, err := os.ReadFile(c.Data[0])
		if err != nil {
			t.Fatal(err)
		}
		c.Data = []string{filepath.Join(t.TempDir(), "other.jsonl")}
		if err := os.WriteFile(c.Data[0], bytes.Replace(b, []byte("what is 3?"), []byte("what is 4?"), 1), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	path := filepath.Join(c.Output, lastCheckpoint)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := [][]byte{nil, whole[:10], whole[:len(whole)/2], whole[:len(whole)-1], bytes.Clone(whole)}
	damaged[4][len(whole)/2] ^= 1
	for _, b := range damaged {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		again("is damaged", func(*Config) {})
	}
}

// TestStoppedEarlyStaysStopped interrupts a run before and at the validation
// that ends it, and goes on in another folder: it ends as it would have.
func TestStoppedEarlyStaysStopped(t *testing.T) {
	c := tinyConfig(t, "lora")
	c.Split, c.EvalEvery, c.SaveEvery, c.Best, c.Patience, c.MaxSteps, c.LR = 0.3, 2, 1, true, 2, 40, 0.5
	whole, err := train(t, c, "llama-gqa", &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	want := saved(t, c.Output)
	for _, at := range []int{whole.Steps - 3, whole.Steps} {
		c.Output, c.Resume = filepath.Join(t.TempDir(), "first"), Resume{}
		if _, err := train(t, c, "llama-gqa", &quiet{stopAt: at}); err == nil {
			t.Fatal("not interrupted")
		}
		c.Resume, c.Output = Resume{On: true, Dir: c.Output}, filepath.Join(t.TempDir(), "second")
		s, err := train(t, c, "llama-gqa", &quiet{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Steps != whole.Steps || !bytes.Equal(saved(t, c.Output), want) || s.Validation["loss"] != whole.Validation["loss"] {
			t.Errorf("resumed at %d: %d steps, %v; want %d steps, %v", at, s.Steps, s.Validation, whole.Steps, whole.Validation)
		}
	}
}

// TestPlanOfConvertedStarts: what PiSSA and OLoRA train is what is planned.
func TestPlanOfConvertedStarts(t *testing.T) {
	for _, start := range []string{"pissa", "olora"} {
		c := tinyConfig(t, "lora")
		c.Start = start
		r, err := NewRun(c, openTiny(t, "llama-gqa"), &quiet{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.Plan(); err != nil {
			t.Fatal(err)
		}
		s, err := r.Do(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Plan.Gradients != s.Peak.Gradients || s.Plan.Optimizer != s.Peak.Optimizer {
			t.Errorf("%s: planned %+v, measured %+v", start, s.Plan, s.Peak)
		}
	}
}

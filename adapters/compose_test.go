package adapters_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// composed is a golden combination: testdata/goldens/composed.json.
type composed struct {
	Base, Name string
	Parts      []struct {
		Adapter string
		Weight  float64
	}
}

func compositions(t *testing.T) (all []composed) {
	t.Helper()
	b, err := os.ReadFile(modeltest.Goldens(t, "composed.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil || len(all) == 0 {
		t.Fatalf("%d combinations: %v", len(all), err)
	}
	return all
}

// part loads a golden adapter of a base.
func part(t *testing.T, m models.Model, base, name string, weight float64) adapters.Part {
	t.Helper()
	return adapters.Part{Name: name, Adapter: adaptertest.Load(t, m, modeltest.Goldens(t, base, "adapters", name)), Weight: weight}
}

func (c composed) parts(t *testing.T, m models.Model) (parts []adapters.Part) {
	t.Helper()
	for _, p := range c.Parts {
		parts = append(parts, part(t, m, c.Base, p.Adapter, p.Weight))
	}
	return parts
}

func compose(t *testing.T, m models.Model, parts ...adapters.Part) *adapters.Adapter {
	t.Helper()
	a, err := adapters.Compose(m, parts)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestComposed holds combinations against PEFT, in any order of their parts.
func TestComposed(t *testing.T) {
	pool := modeltest.Pool(t, 2)
	for _, c := range compositions(t) {
		t.Run(c.Base+"/"+c.Name, func(t *testing.T) {
			m := modeltest.Open(t, c.Base)
			parts := c.parts(t, m)
			a := compose(t, m, parts...)
			slices.Reverse(parts)
			turned := compose(t, m, parts...)
			if a.Digest() != turned.Digest() {
				t.Error("the order of the parts shows in the digest")
			}
			held := 0
			for _, p := range parts {
				held += p.Adapter.Bytes()
			}
			if a.Bytes() > held/4 {
				t.Errorf("it takes %d bytes beside its parts' %d", a.Bytes(), held)
			}
			worst := 0.0
			for i, golden := range modeltest.Cases(t, modeltest.Goldens(t, c.Base, "composed", c.Name+".safetensors")) {
				got := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: golden.Tokens, Adapter: a})[0]
				again := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: golden.Tokens, Adapter: turned})[0]
				if !slices.Equal(got.Data, again.Data) {
					t.Errorf("case %d: the order of the parts shows in the bits", i)
				}
				d := modeltest.MaxDifference(last(got, golden.Logits.Rows), golden.Logits)
				if worst = max(worst, d); !(d <= tolerance) {
					t.Errorf("case %d: a logit is off by %.3g", i, d)
				}
				tokens := slices.Clone(golden.Tokens)
				for j, want := range golden.Greedy {
					logits := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: tokens, Adapter: a})[0]
					if next := largest(logits.Row(len(tokens) - 1)); next != want {
						t.Fatalf("case %d: greedy token %d is %d, want %d", i, j, next, want)
					}
					tokens = append(tokens, want)
				}
			}
			t.Logf("rank %d, %d bytes beside %d: largest error %.2g", a.Rank(), a.Bytes(), held, worst)
		})
	}
}

// TestComposedInOneBatch mixes combinations, their parts and the base: each row
// has the bits of its run alone.
func TestComposedInOneBatch(t *testing.T) {
	one, two := modeltest.Pool(t, 1), modeltest.Pool(t, 2)
	for _, base := range []string{"llama-gqa", "gpt2"} {
		m := modeltest.Open(t, base)
		rows := []adaptertest.Row{{Tokens: []int32{5, 6, 7}}}
		for i, c := range compositions(t) {
			if c.Base != base {
				continue
			}
			parts := c.parts(t, m)
			rows = append(rows, adaptertest.Row{Tokens: []int32{9, 8, int32(20 + i)}, Adapter: compose(t, m, parts...)})
			for _, p := range parts {
				rows = append(rows, adaptertest.Row{Tokens: []int32{9, 8, int32(20 + i), 4}, Adapter: p.Adapter})
			}
		}
		for i, got := range adaptertest.Logits(m, two, rows...) {
			if want := adaptertest.Logits(m, one, rows[i])[0]; !slices.Equal(got.Data, want.Data) {
				t.Errorf("%s: row %d differs from its run alone", base, i)
			}
		}
	}
}

// TestComposedTrivially: a part of weight 1 alone has its own bits, and one of
// weight 0 leaves the others theirs.
func TestComposedTrivially(t *testing.T) {
	pool := modeltest.Pool(t, 2)
	m := modeltest.Open(t, "llama-gqa")
	logits := func(a *adapters.Adapter) []float32 {
		return adaptertest.Logits(m, pool, adaptertest.Row{Tokens: []int32{5, 6, 7, 8, 40}, Adapter: a})[0].Data
	}
	for _, name := range []string{"lora", "rslora", "lora-patterns", "lora-embed", "adalora", "vera", "miss", "miss-mini", "beft"} {
		p := part(t, m, "llama-gqa", name, 1)
		if !slices.Equal(logits(compose(t, m, p)), logits(p.Adapter)) {
			t.Errorf("%s alone has other bits", name)
		}
		none := part(t, m, "llama-gqa", "lora-all-linear", 0)
		if a := compose(t, m, p, none); !slices.Equal(logits(a), logits(p.Adapter)) || a.Digest() == compose(t, m, p).Digest() {
			t.Errorf("%s: a part of weight 0 shows in the bits, or not in the digest", name)
		}
		p.Weight = 0
		if !slices.Equal(logits(compose(t, m, p)), logits(nil)) {
			t.Errorf("%s times 0 is not the base", name)
		}
	}
}

// TestComposedDigest: each part and each weight shows in the digest.
func TestComposedDigest(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa")
	a, b, c := part(t, m, "llama-gqa", "lora", 1), part(t, m, "llama-gqa", "rslora", 1), part(t, m, "llama-gqa", "lora-other", 1)
	weighted := func(p adapters.Part, w float64) adapters.Part { p.Weight = w; return p }
	seen := map[string]int{a.Adapter.Digest(): -1}
	for i, parts := range [][]adapters.Part{
		{a}, {a, b}, {a, c}, {a, b, c}, {weighted(a, 0.5), b}, {a, weighted(b, 0.5)}, {weighted(a, 0.5), weighted(b, 0.5)}, {weighted(a, -1), b},
	} {
		d := compose(t, m, parts...).Digest()
		if other, ok := seen[d]; ok {
			t.Errorf("combinations %d and %d have the digest %s", i, other, d)
		}
		seen[d] = i
	}
}

// TestComposeRefuses names the part that does more than add.
func TestComposeRefuses(t *testing.T) {
	for _, c := range []struct{ base, name, want string }{
		{"llama-gqa", "dora", `multiplies the output of model.layers.0.self_attn.q_proj`},
		{"llama-gqa", "dora-embed", `multiplies the rows of model.embed_tokens`},
		{"llama-gqa", "ia3", `multiplies the output of model.layers.0.self_attn.k_proj`},
		{"llama-gqa", "ln-tuning", `has a norm of its own`},
		{"llama-gqa", "bottleneck-houlsby", `puts a layer of its own behind`},
		{"llama-gqa", "prefix", `stands before the first token`},
		{"llama-gqa", "prompt", `stands before the first token`},
		{"llama-gqa", "lora-tokens", `has rows of its own in model.embed_tokens`},
		{"llama-gqa", "lora-save-norm", `has a norm of its own`},
		{"llama-gqa", "lora-save-embed-tied", `has a weight of its own in the place of model.embed_tokens`},
		{"llama-gqa", "resized-save", `has a vocabulary of`},
		{"llama", "lora-save-head", `has a weight of its own in the place of lm_head`},
		{"gpt2", "bitfit", `has a norm of its own`},
		{"gpt2", "lora-bias-all", `has a norm of its own`},
		{"qwen2", "lora-bias-lora-only", `has a bias of its own in the place of that of model.layers.0.self_attn.q_proj`},
	} {
		m := modeltest.Open(t, c.base)
		parts := []adapters.Part{part(t, m, c.base, "lora", 0.5), part(t, m, c.base, c.name, 0.5)}
		_, err := adapters.Compose(m, parts)
		if !errors.Is(err, adapters.ErrCompose) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), fmt.Sprintf("adapter %q", c.name)) {
			t.Errorf("%s/%s: %v", c.base, c.name, err)
		}
	}
}

// TestComposedInvocation: activated LoRAs act together from the same tokens on, or
// not at all.
func TestComposedInvocation(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa")
	activated := part(t, m, "llama-gqa", "alora", 0.5)
	again := activated
	again.Name = "again"
	if a := compose(t, m, activated, again); len(a.Invocation()) == 0 || !slices.Equal(a.Invocation(), activated.Adapter.Invocation()) {
		t.Errorf("it acts from %v on", a.Invocation())
	}
	_, err := adapters.Compose(m, []adapters.Part{activated, part(t, m, "llama-gqa", "lora", 0.5)})
	if !errors.Is(err, adapters.ErrCompose) || !strings.Contains(err.Error(), "alora_invocation_tokens differ") {
		t.Error(err)
	}
}

// TestComposedSharesLayers: the layers that each part leaves alone are the base's.
func TestComposedSharesLayers(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa")
	upper := func(layer int) adapters.Part {
		c, err := adapters.NewConfig(map[string]any{"peft_type": "LORA", "target_modules": []string{"q_proj"}, "layers_to_transform": []int{layer}})
		if err != nil {
			t.Fatal(err)
		}
		a, err := adapters.New(m, c)
		if err != nil {
			t.Fatal(err)
		}
		return adapters.Part{Name: fmt.Sprint("from ", layer), Adapter: a, Weight: 0.5}
	}
	one, two := upper(1), upper(2)
	if one.Adapter.SharedLayers() >= two.Adapter.SharedLayers() {
		t.Fatal("they share as many")
	}
	if got, want := compose(t, m, one, two).SharedLayers(), one.Adapter.SharedLayers(); got != want {
		t.Errorf("%d layers are shared, not %d", got, want)
	}
	if got := compose(t, m, two, part(t, m, "llama-gqa", "lora", 0.5)).SharedLayers(); got != 0 {
		t.Errorf("%d layers are shared with an adapter of them all", got)
	}
}

// TestComposedText: what the folders say of templates, sampling and ends has to
// go together.
func TestComposedText(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa")
	with := func(name string, files map[string]string) adapters.Part {
		t.Helper()
		dir := t.TempDir()
		for _, file := range []string{adapters.ConfigFile, adapters.SafeFile} {
			b, err := os.ReadFile(modeltest.Goldens(t, "llama-gqa", "adapters", name, file))
			if err != nil {
				t.Fatal(err)
			}
			files[file] = string(b)
		}
		for file, text := range files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return adapters.Part{Name: name, Adapter: adaptertest.Load(t, m, dir), Weight: 0.5}
	}
	plain := with("lora", map[string]string{})
	chatty := with("rslora", map[string]string{"chat_template.jinja": "{{ messages[0].content }}", "generation_config.json": `{"temperature": 0.5}`})
	same := with("lora-other", map[string]string{"chat_template.jinja": "{{ messages[0].content }}", "generation_config.json": `{"temperature": 0.5}`})
	a := compose(t, m, plain, chatty, same)
	if a.ChatTemplate() != chatty.Adapter.ChatTemplate() || a.Sampling().Temperature == nil || *a.Sampling().Temperature != 0.5 {
		t.Errorf("it has the template %q and the defaults %v", a.ChatTemplate().Text, a.Sampling())
	}
	for _, c := range []struct{ file, text, want string }{
		{"chat_template.jinja", "{{ messages }}", `bring different chat templates`},
		{"generation_config.json", `{"temperature": 0.7}`, `bring different sampling defaults`},
	} {
		other := with("lora-other", map[string]string{c.file: c.text})
		_, err := adapters.Compose(m, []adapters.Part{plain, chatty, other})
		if !errors.Is(err, adapters.ErrCompose) || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), `"rslora"`) || !strings.Contains(err.Error(), `"lora-other"`) {
			t.Errorf("%s: %v", c.file, err)
		}
	}
}

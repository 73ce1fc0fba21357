package adapters_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// folder is a golden folder's files, to be changed and written elsewhere.
type folder struct {
	config  map[string]any
	tensors map[string]safetensors.Tensor
}

func readFolder(t *testing.T, elements ...string) folder {
	t.Helper()
	dir := modeltest.Goldens(t, elements...)
	f := folder{tensors: map[string]safetensors.Tensor{}}
	b, err := os.ReadFile(filepath.Join(dir, adapters.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &f.config); err != nil {
		t.Fatal(err)
	}
	file, err := safetensors.Open(filepath.Join(dir, adapters.SafeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for x := range file.All() {
		x.Data = bytes.Clone(x.Data)
		f.tensors[x.Name] = x
	}
	return f
}

func (f folder) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	b, err := json.Marshal(f.config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, adapters.ConfigFile), b)
	if err := safetensors.WriteFile(filepath.Join(dir, adapters.SafeFile), slices.Collect(maps.Values(f.tensors)), nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (f folder) load(t *testing.T, m models.Model) (*adapters.Adapter, error) {
	t.Helper()
	return adapters.Load(m, adaptertest.Open(t, f.write(t)))
}

// TestSaveIsPEFTs demands PEFT's own bytes of what PEFT has saved.
func TestSaveIsPEFTs(t *testing.T) {
	golden(t, func(t *testing.T, m models.Model, base, dir string) {
		if _, err := os.Stat(filepath.Join(dir, "golden.safetensors")); err != nil || strings.HasPrefix(filepath.Base(dir), "aslora-") {
			t.SkipNow() // save_as_lora writes in no order, and without the format's mark
		}
		want, err := os.ReadFile(filepath.Join(dir, adapters.ConfigFile))
		if err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		if err := adaptertest.Load(t, m, dir).Save(to); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(want, []byte(`"peft_version"`)) { // ours are written by hand
			if got, _ := os.ReadFile(filepath.Join(to, adapters.ConfigFile)); !bytes.Equal(got, want) && filepath.Base(dir) != "lora-no-flag" {
				t.Errorf("the configuration became %s", got)
			}
		}
		want, err = os.ReadFile(filepath.Join(dir, adapters.SafeFile))
		if errors.Is(err, os.ErrNotExist) {
			return // a torch file becomes a safetensors file
		}
		copies := bytes.Contains(want, []byte(".original_module.")) // which are left out
		if got, _ := os.ReadFile(filepath.Join(to, adapters.SafeFile)); !bytes.Equal(got, want) && !copies {
			t.Error("the tensor file has other bytes")
		}
	})
}

// TestDigest demands that the digest is the content's: neither the folder, the
// file format nor the order shows, and any change of the content does.
func TestDigest(t *testing.T) {
	f := readFolder(t, "llama-gqa", "adapters", "lora-patterns")
	want := adaptertest.Open(t, f.write(t)).Digest()
	if len(want) != 64 {
		t.Errorf("digest %q", want)
	}
	digest := func(change func(f folder)) string {
		f := readFolder(t, "llama-gqa", "adapters", "lora-patterns")
		change(f)
		return adaptertest.Open(t, f.write(t)).Digest()
	}
	for name, change := range map[string]func(f folder){
		"nothing": func(folder) {},
		"origin":  func(f folder) { f.config["base_model_name_or_path"], f.config["peft_version"] = "other", "9" },
		"order":   func(f folder) { f.config["target_modules"] = []string{"down_proj", "v_proj", "q_proj"} },
		"defaults": func(f folder) {
			f.config["novelty"] = nil
			delete(f.config, "loftq_config")
			delete(f.config, "use_dora")
		},
	} {
		if got := digest(change); got != want {
			t.Errorf("%s changes the digest", name)
		}
	}
	for name, change := range map[string]func(f folder){
		"alpha":   func(f folder) { f.config["lora_alpha"] = 9 },
		"rsLoRA":  func(f folder) { f.config["use_rslora"] = true },
		"pattern": func(f folder) { f.config["alpha_pattern"] = map[string]any{} },
		"bit": func(f folder) {
			for name := range f.tensors {
				f.tensors[name].Data[0] ^= 1
				return
			}
		},
		"name": func(f folder) {
			for name, x := range f.tensors {
				delete(f.tensors, name)
				x.Name += "x"
				f.tensors[x.Name] = x
				return
			}
		},
	} {
		if got := digest(change); got == want {
			t.Errorf("%s does not change the digest", name)
		}
	}
	// PEFT's two formats: the golden .bin, and the same as safetensors.
	bin := modeltest.Goldens(t, "llama-gqa", "adapters", "lora-bin")
	a := adaptertest.Load(t, modeltest.Open(t, "llama-gqa"), bin)
	to := t.TempDir()
	if err := a.Save(to); err != nil {
		t.Fatal(err)
	}
	if got := adaptertest.Open(t, to).Digest(); got != a.Digest() {
		t.Errorf("%s as a torch file, %s as a safetensors file", a.Digest(), got)
	}
}

func TestOpenFaults(t *testing.T) {
	f := readFolder(t, "llama-gqa", "adapters", "lora")
	for name, c := range map[string]struct {
		kind   error
		want   string
		change func(dir string)
	}{
		"no folder": {adapters.ErrConfig, adapters.ConfigFile, func(dir string) { os.RemoveAll(dir) }},
		"no config": {adapters.ErrConfig, adapters.ConfigFile, func(dir string) { os.Remove(filepath.Join(dir, adapters.ConfigFile)) }},
		"big config": {adapters.ErrConfig, "more than", func(dir string) {
			write(t, filepath.Join(dir, adapters.ConfigFile), make([]byte, 1<<20+1))
		}},
		"config that is no file": {adapters.ErrConfig, adapters.ConfigFile + " is not a regular file", func(dir string) {
			os.Remove(filepath.Join(dir, adapters.ConfigFile))
			os.Mkdir(filepath.Join(dir, adapters.ConfigFile), 0o755)
		}},
		"tensors that are no file": {adapters.ErrTensor, adapters.SafeFile + " is not a regular file", func(dir string) {
			os.Remove(filepath.Join(dir, adapters.SafeFile))
			os.Symlink(os.DevNull, filepath.Join(dir, adapters.SafeFile))
		}},
		"no tensors": {adapters.ErrTensor, adapters.TorchFile, func(dir string) { os.Remove(filepath.Join(dir, adapters.SafeFile)) }},
		"cut tensors": {adapters.ErrTensor, adapters.SafeFile, func(dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, adapters.SafeFile))
			write(t, filepath.Join(dir, adapters.SafeFile), b[:len(b)-1])
		}},
		"bad pickle": {adapters.ErrTensor, adapters.TorchFile, func(dir string) {
			os.Remove(filepath.Join(dir, adapters.SafeFile))
			write(t, filepath.Join(dir, adapters.TorchFile), []byte("cos\nsystem\n(S'id'\ntR."))
		}},
		"tokenizer in another form": {adapters.ErrConfig, "tokenizer.model is of a tokenizer", func(dir string) {
			write(t, filepath.Join(dir, "tokenizer.model"), []byte("x"))
		}},
		"added tokens alone": {adapters.ErrConfig, "added_tokens.json is of a tokenizer", func(dir string) {
			write(t, filepath.Join(dir, "added_tokens.json"), []byte(`{"<a>": 96}`))
		}},
		"bad tokenizer_config": {adapters.ErrConfig, "tokenizer_config.json", func(dir string) {
			write(t, filepath.Join(dir, "tokenizer_config.json"), []byte("{"))
		}},
	} {
		dir := f.write(t)
		c.change(dir)
		_, err := adapters.Open(dir)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), dir) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestChatTemplate(t *testing.T) {
	f := readFolder(t, "llama-gqa", "adapters", "lora")
	m := modeltest.Open(t, "llama-gqa")
	for name, c := range map[string]struct {
		file, content string
		want          chat.Source
	}{
		"none":       {"README.md", "x", chat.Source{}},
		"jinja":      {"chat_template.jinja", "{{ a }}", chat.Source{Text: "{{ a }}"}},
		"config":     {"tokenizer_config.json", `{"chat_template":"{{ b }}"}`, chat.Source{Text: "{{ b }}"}},
		"several":    {"tokenizer_config.json", `{"chat_template":[{"name":"tool_use","template":"t"},{"name":"rag","template":"r"},{"name":"default","template":"d"}]}`, chat.Source{Text: "d", Tools: "t"}},
		"no default": {"tokenizer_config.json", `{"chat_template":[{"name":"tool_use","template":"t"}]}`, chat.Source{}},
		"null":       {"tokenizer_config.json", `{"chat_template":null}`, chat.Source{}},
	} {
		dir := f.write(t)
		write(t, filepath.Join(dir, c.file), []byte(c.content))
		a := adaptertest.Load(t, m, dir)
		if a.ChatTemplate() != c.want || a.Tokenizer() != nil || a.BaseModel() != "llama-gqa" {
			t.Errorf("%s: templates %q, tokenizer %v, base %q", name, a.ChatTemplate(), a.Tokenizer(), a.BaseModel())
		}
	}
}

// TestRealAdapters opens two adapters of GPT-2 medium found in the wild.
func TestRealAdapters(t *testing.T) {
	for name, rank := range map[string]int{"gpt2-medium_alpaca_16bit_r2": 2, "gpt2-medium_alpaca_16bit_r8": 8} {
		f := adaptertest.Open(t, modeltest.Shared(t, "adapters", "weights", name))
		if f.Config.Method.Name() != "lora" || f.Config.Method.Rank() != rank || len(f.Tensors()) != 48 {
			t.Errorf("%s: %s of rank %d, %d tensors", name, f.Config.Method.Name(), f.Config.Method.Rank(), len(f.Tensors()))
		}
		// Another GPT-2 has the modules and not the shapes.
		_, err := adapters.Load(modeltest.Open(t, "gpt2"), f)
		if !errors.Is(err, adapters.ErrBase) || !errors.Is(err, adapters.ErrTensor) || !strings.Contains(err.Error(), `"gpt2-medium"`) {
			t.Errorf("got %v", err)
		}
	}
}

// TestWholeEmbeddings holds what becomes of a base's own embeddings in the
// file: equal ones cost nothing, others take effect at both places of a tied
// weight, and two that contradict each other are refused.
func TestWholeEmbeddings(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa") // tied
	pool := modeltest.Pool(t, 1)
	tokens := []int32{9, 8, 7}
	const embed, head = "base_model.model.model.embed_tokens.base_layer.weight", "base_model.model.lm_head.weight"
	f := readFolder(t, "llama-gqa", "adapters", "lora-embed")
	plain, err := f.load(t, m)
	if err != nil {
		t.Fatal(err)
	}
	if size := len(f.tensors[embed].Data); plain.Bytes() >= size+8000 {
		t.Errorf("the base's own embedding of %d bytes is kept: %d bytes", size, plain.Bytes())
	}
	x := f.tensors[embed]
	values, _ := x.Float32s()
	for i := range values {
		values[i] *= 2
	}
	f.tensors[embed] = safetensors.FromFloat32s(embed, x.Shape, values)
	doubled, err := f.load(t, m)
	if err != nil {
		t.Fatal(err)
	}
	site := m.Sites().Find("lm_head")
	if d, ok := doubled.Linear(site).(models.Replacement); !ok || d.Replaces().Rows != 96 {
		t.Error("the tied head keeps the base's weight")
	}
	if plain.Linear(site) != nil {
		t.Error("an equal weight replaces the head's")
	}
	one, two := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: tokens, Adapter: plain})[0], adaptertest.Logits(m, pool, adaptertest.Row{Tokens: tokens, Adapter: doubled})[0]
	if slices.Equal(one.Data, two.Data) {
		t.Error("another embedding changes nothing")
	}
	f.tensors[head] = safetensors.FromFloat32s(head, x.Shape, make([]float32, 96*32))
	if _, err := f.load(t, m); !errors.Is(err, adapters.ErrBase) || !strings.Contains(err.Error(), head) {
		t.Errorf("contradicting embeddings: %v", err)
	}
	// A resized vocabulary.
	f = readFolder(t, "llama-gqa", "adapters", "lora-embed")
	f.tensors[embed] = safetensors.FromFloat32s(embed, []int{98, 32}, make([]float32, 98*32))
	if _, err := f.load(t, m); !errors.Is(err, adapters.ErrBase) || !strings.Contains(err.Error(), embed) {
		t.Errorf("a resized vocabulary: %v", err)
	}
}

// TestTokensAlone holds what the conformance suite does not: the head's
// copy of the rows on a tied base, and targets and tokens that cannot be.
func TestTokensAlone(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa") // tied
	const twin = "base_model.model.lm_head.trainable_tokens_delta"
	f := readFolder(t, "llama-gqa", "adapters", "tokens")
	x := f.tensors[twin]
	delete(f.tensors, twin)
	if _, err := f.load(t, m); err != nil {
		t.Errorf("without the head's copy: %v", err)
	}
	f.tensors[twin] = safetensors.FromFloat32s(twin, x.Shape, make([]float32, x.Len()))
	if _, err := f.load(t, m); !errors.Is(err, adapters.ErrBase) || !strings.Contains(err.Error(), twin) {
		t.Errorf("a contradicting copy: %v", err)
	}
	for config, want := range map[string]struct {
		kind error
		name string
	}{
		`{"peft_type":"TRAINABLE_TOKENS"}`:                                                   {adapters.ErrConfig, "token_indices"},
		`{"peft_type":"TRAINABLE_TOKENS","token_indices":[96]}`:                              {adapters.ErrConfig, "token 96"},
		`{"peft_type":"TRAINABLE_TOKENS","token_indices":[3,3]}`:                             {adapters.ErrConfig, "token 3"},
		`{"peft_type":"TRAINABLE_TOKENS","token_indices":[3],"target_modules":["q_proj"]}`:   {adapters.ErrTarget, "q_proj"},
		`{"peft_type":"TRAINABLE_TOKENS","token_indices":[3],"target_modules":["novel"]}`:    {adapters.ErrTarget, "novel"},
		`{"peft_type":"TRAINABLE_TOKENS","token_indices":[3],"modules_to_save":["lm_head"]}`: {adapters.ErrConfig, "modules_to_save"},
	} {
		c, err := adapters.ParseConfig([]byte(config))
		if err == nil {
			_, err = adapters.New(m, c)
		}
		if !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.name) {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// TestBiases holds the ways in which biases come and fail to come.
func TestBiases(t *testing.T) {
	qwen := modeltest.Open(t, "qwen2")
	f := readFolder(t, "qwen2", "adapters", "lora-bias-all")
	f.config["bias"] = "none"
	if _, err := f.load(t, qwen); !errors.Is(err, adapters.ErrTensor) || !strings.Contains(err.Error(), "bias") {
		t.Errorf("biases that nobody announced: %v", err)
	}
	lost := readFolder(t, "qwen2", "adapters", "lora-bias-lora-only") // as PEFT before 0.20.1 saved it
	maps.DeleteFunc(lost.tensors, func(name string, _ safetensors.Tensor) bool { return strings.HasSuffix(name, ".bias") })
	if _, err := lost.load(t, qwen); !errors.Is(err, adapters.ErrTensor) || !strings.Contains(err.Error(), "q_proj.base_layer.bias") {
		t.Errorf("lost biases: %v", err)
	}
	llama := readFolder(t, "llama-gqa", "adapters", "lora") // whose modules have none
	llama.config["bias"] = "lora_only"
	if _, err := llama.load(t, modeltest.Open(t, "llama-gqa")); err != nil {
		t.Errorf("a base without biases: %v", err)
	}
	none := folder{config: map[string]any{"peft_type": "BITFIT"}}
	if _, err := none.load(t, modeltest.Open(t, "llama-gqa")); !errors.Is(err, adapters.ErrTarget) {
		t.Errorf("BitFit on a base without biases: %v", err)
	}
}

// TestTrainableTokens holds the faults of trainable_token_indices.
func TestTrainableTokens(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa")
	for name, c := range map[string]struct {
		kind    error
		want    string
		indices any
	}{
		"outside":  {adapters.ErrConfig, "96", []int{3, 17, 96}},
		"negative": {adapters.ErrConfig, "-1", []int{3, 17, -1}},
		"twice":    {adapters.ErrConfig, "token 3 occurs twice", []int{3, 17, 3}},
		"module":   {adapters.ErrTarget, `"wte"`, map[string][]int{"wte": {3, 17, 90}}},
		"fewer":    {adapters.ErrTensor, "trainable_tokens_delta", []int{3, 17}},
	} {
		f := readFolder(t, "llama-gqa", "adapters", "lora-tokens")
		f.config["trainable_token_indices"] = c.indices
		if _, err := f.load(t, m); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestNew demands that an adapter laid out for training starts as the base,
// and that its parameters are written and read under PEFT's names.
func TestNew(t *testing.T) {
	m := modeltest.Open(t, "qwen2")
	f := readFolder(t, "qwen2", "adapters", "lora-bias-all")
	c, err := adapters.NewConfig(f.config)
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapters.New(m, c)
	if err != nil {
		t.Fatal(err)
	}
	pool := modeltest.Pool(t, 1)
	row := adaptertest.Row{Tokens: []int32{4, 5, 6}}
	base := adaptertest.Logits(m, pool, row)[0]
	row.Adapter = a
	if d := modeltest.MaxDifference(adaptertest.Logits(m, pool, row)[0], base); d != 0 {
		t.Errorf("before training the adapter changes a logit by %.3g", d)
	}
	for _, p := range a.Params() {
		x, ok := f.tensors[p.Name]
		if !ok || !slices.Equal(x.Shape, p.Shape) || p.Weight.Format != kernels.F32 {
			t.Errorf("%s %v is not PEFT's", p.Name, p.Shape)
			continue
		}
		values, _ := x.Float32s()
		to := p.Values()
		for i := range to.Rows {
			for j := range to.Cols {
				if p.Transposed {
					to.Row(i)[j] = values[j*to.Rows+i]
				} else {
					to.Row(i)[j] = values[i*to.Cols+j]
				}
			}
		}
	}
	a.Refresh()
	dir := t.TempDir()
	if err := a.Save(dir); err != nil {
		t.Fatal(err)
	}
	if got, want := adaptertest.Open(t, dir).Digest(), adaptertest.Open(t, f.write(t)).Digest(); got != want {
		t.Errorf("saved as %s, want %s", got, want)
	}
}

// TestOpenURI: where a folder is wanted, a URI is said to be one, also when it has been
// cleaned as a path.
func TestOpenURI(t *testing.T) {
	for _, uri := range []string{"builtin://sort", "hf://owner/name", "/tmp/builtin:/sort"} {
		if _, err := adapters.Open(uri); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), uri+" is a URI, and an adapter is read from a folder here") {
			t.Error(err)
		}
	}
	if _, err := adapters.Open(filepath.Join(t.TempDir(), "away")); err == nil || strings.Contains(err.Error(), "is a URI") {
		t.Error(err)
	}
}

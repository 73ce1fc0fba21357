package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// folder is the golden Llama that llama.cpp's converter has converted, with a
// tokenizer, and what edit makes of config.json.
func folder(t *testing.T, edit func(config map[string]any)) string {
	t.Helper()
	dir := t.TempDir()
	read := func(elem ...string) []byte {
		b, err := os.ReadFile(filepath.Join(append([]string{modeltest.Goldens(t, "converted")}, elem...)...))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	config := map[string]any{}
	if err := json.Unmarshal(read("llama", "config.json"), &config); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(config)
	}
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	write("config.json", b)
	write("model.safetensors", read("llama.safetensors"))
	vocabulary := map[string]int{"<s>": 0, "</s>": 1, "ab": 2}
	for c := 'a'; len(vocabulary) < 40; c++ {
		vocabulary[string(c)] = len(vocabulary)
	}
	special := func(id int, content string) map[string]any {
		return map[string]any{"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}
	}
	level := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	if b, err = json.Marshal(map[string]any{
		"added_tokens":  []any{special(0, "<s>"), special(1, "</s>")},
		"pre_tokenizer": level, "decoder": level,
		"model": map[string]any{"type": "BPE", "vocab": vocabulary, "merges": []string{"a b"}},
	}); err != nil {
		t.Fatal(err)
	}
	write("tokenizer.json", b)
	write("tokenizer_config.json", []byte(`{"eos_token": "</s>", "chat_template": "{{ messages[0].content }}"}`))
	return dir
}

// TestAsConverted: what is written in float32 is what llama.cpp's converter
// writes, tensor for tensor and key for key, but for the vocabulary and those
// keys that say nothing of the model.
func TestAsConverted(t *testing.T) {
	to := filepath.Join(t.TempDir(), "model.gguf")
	r, err := Write(Options{From: folder(t, nil), To: to, DType: "f32"})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := gguf.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs, err := gguf.Open(filepath.Join(modeltest.Goldens(t, "converted", "llama"), "model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if a, b := len(ours.Tensors()), len(theirs.Tensors()); a != b || r.Tensors != b {
		t.Errorf("%d tensors, want %d", a, b)
	}
	for _, want := range theirs.Tensors() {
		got, ok := ours.Lookup(want.Name)
		if !ok || got.Type != want.Type || fmt.Sprint(got.Dims) != fmt.Sprint(want.Dims) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%s is not the converter's: %v %v", want.Name, got.Type, got.Dims)
		}
	}
	for _, key := range theirs.Keys() {
		if strings.HasPrefix(key, "tokenizer.") || key == "general.name" || key == "general.size_label" {
			continue
		}
		a, okA := theirs.Float(key)
		b, okB := ours.Float(key)
		textA, _ := theirs.String(key)
		textB, _ := ours.String(key)
		if okA != okB || a != b || textA != textB {
			t.Errorf("%s is %v %q, want %v %q", key, b, textB, a, textA)
		}
	}
	for key, want := range map[string]string{"tokenizer.ggml.pre": "gpt-2", "tokenizer.chat_template": "{{ messages[0].content }}"} {
		if got, _ := ours.String(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// TestSameBytes: a model is written as the same bytes each time.
func TestSameBytes(t *testing.T) {
	from := folder(t, nil)
	write := func() []byte {
		to := filepath.Join(t.TempDir(), "model.gguf")
		if _, err := Write(Options{From: from, To: to, DType: "q8_0"}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(write(), write()) {
		t.Error("the bytes differ")
	}
}

// TestQuantised: matrices are in the form that is asked for, those whose rows it
// does not fit in float16, as with llama.cpp; norms stay as they are.
func TestQuantised(t *testing.T) {
	to := filepath.Join(t.TempDir(), "model.gguf")
	if _, err := Write(Options{From: folder(t, nil), To: to, DType: "q8_0"}); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, tensor := range f.Tensors() {
		want := "F16"
		switch {
		case len(tensor.Dims) == 1:
			want = "F32"
		case tensor.Dims[0] == 32:
			want = "Q8_0"
		}
		if got := tensor.Type.String(); got != want {
			t.Errorf("%s %v is %s, want %s", tensor.Name, tensor.Dims, got, want)
		}
	}
}

// TestRefused: what GGUF, or this writer, cannot say is refused by name, and
// nothing is written.
func TestRefused(t *testing.T) {
	for want, edit := range map[string]func(map[string]any){
		"rope_scaling is not written": func(c map[string]any) {
			c["rope_scaling"] = map[string]any{"rope_type": "linear", "factor": 2.0}
		},
		"GGUF has no hidden_act": func(c map[string]any) { c["hidden_act"] = "gelu" },
		"only LlamaForCausalLM is written": func(c map[string]any) {
			c["architectures"], c["model_type"] = []string{"MistralForCausalLM"}, "mistral"
		},
	} {
		to := filepath.Join(t.TempDir(), "model.gguf")
		_, err := Write(Options{From: folder(t, edit), To: to, DType: "q8_0"})
		if !errors.Is(err, ErrNotExported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := os.Stat(to); err == nil {
			t.Errorf("%s: something was written", want)
		}
	}
	to := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(to, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(Options{From: folder(t, nil), To: to, DType: "f32"}); err == nil || !strings.Contains(err.Error(), "--overwrite") {
		t.Error(err)
	}
	if _, err := Write(Options{From: folder(t, nil), To: to, DType: "q9"}); err == nil || !strings.Contains(err.Error(), `"q9" is not one of`) {
		t.Error(err)
	}
	if _, err := Write(Options{From: filepath.Join(modeltest.Goldens(t, "converted", "llama"), "model.gguf"), To: to, DType: "f32", Overwrite: true}); !errors.Is(err, ErrNotExported) {
		t.Error(err)
	}
	if b, _ := os.ReadFile(to); string(b) != "mine" {
		t.Error("it was written over")
	}
}

package tokenizer

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/gguf"
)

// TestReference compares with llama.cpp's reference tokenisations: of each
// vocabulary as GGUF, and as tokenizer.json where that is here too. The
// folder TOKENIZER_REFERENCE, if set, replaces the shared one.
func TestReference(t *testing.T) {
	dir := os.Getenv("TOKENIZER_REFERENCE")
	if dir == "" {
		dir = shared(t, "tokenizers", "reference")
	}
	ggufs, err := filepath.Glob(filepath.Join(dir, "*.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range ggufs {
		t.Run(filepath.Base(path), func(t *testing.T) {
			tok, err := FromGGUF(readMetadata(t, path))
			if err != nil {
				t.Fatal(err)
			}
			compareReference(t, tok, path)
			dir := t.TempDir()
			if err := WriteGGUF(dir, readMetadata(t, path)); err != nil {
				if _, ok := tok.model.(*wordPiece); !ok {
					t.Error(err)
				}
				return
			}
			again, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			compareReference(t, again, path)
			if !maps.Equal(again.roles, tok.roles) {
				t.Errorf("roles %v, want %v", again.roles, tok.roles)
			}
			if config, err := os.ReadFile(filepath.Join(dir, "tokenizer_config.json")); err != nil || !strings.Contains(string(config), `"model_input_names"`) {
				t.Errorf("transformers would give a decoder token_type_ids: %s, %v", config, err)
			}
		})
	}
	for name, reference := range map[string]string{
		"gpt2": "gpt-2", "roberta": "roberta-bpe", "smollm2": "smollm", "bert-uncased": "bert-bge", "qwen3": "qwen2",
	} {
		t.Run(name, func(t *testing.T) {
			compareReference(t, openGolden(t, name), filepath.Join(dir, "ggml-vocab-"+reference+".gguf"))
		})
	}
}

func compareReference(t *testing.T, tok *Tokenizer, path string) {
	t.Helper()
	input, err := os.ReadFile(path + ".inp")
	if os.IsNotExist(err) {
		t.Skip("no reference for it")
	}
	if err != nil {
		t.Fatal(err)
	}
	output, err := os.ReadFile(path + ".out")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
	texts := strings.Split(string(input), "\n__ggml_vocab_test__\n")
	if len(texts) > len(lines) {
		texts = texts[:len(lines)]
	}
	if len(texts) != len(lines) || len(texts) < 40 {
		t.Fatalf("%d texts for %d lines of ids", len(texts), len(lines))
	}
	for i, text := range texts {
		var want []int32
		for _, field := range strings.Fields(lines[i]) {
			id, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, int32(id))
		}
		equalIDs(t, tok, text, encode(t, tok, text, Options{}), want)
	}
}

// readMetadata opens a GGUF file for the time of the test.
// TestModernBERT holds texts and pairs against the tokenizer that llama.cpp's converter
// was given, which is built as ModernBERT's is.
func TestModernBERT(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "goldens", "encoders-gguf", "modern-bert")
	tok, err := FromGGUF(readMetadata(t, filepath.Join(dir, "model.gguf")))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text   []string
		Tokens []int32
	}
	readJSON(t, filepath.Join(dir, "tokens.json"), &cases)
	for _, c := range cases {
		got, err := tok.AppendEncode(t.Context(), nil, c.Text[0], Options{AddSpecial: true})
		if len(c.Text) == 2 {
			got, _, err = tok.EncodePair(t.Context(), c.Text[0], c.Text[1], Options{})
		}
		if err != nil || !slices.Equal(got, c.Tokens) {
			t.Errorf("%q: %v, %v, want %v", c.Text, got, err, c.Tokens)
		}
	}
	if _, err := tok.GGUF(); !errors.Is(err, ErrGGUF) {
		t.Errorf("it is written as GGUF: %v", err)
	}
}

func readMetadata(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// metadata stands in for a file in the tests of faults.
type metadata map[string]any

func get[T any](m metadata, key string) (T, bool) {
	v, ok := m[key].(T)
	return v, ok
}

func (m metadata) String(key string) (string, bool)    { return get[string](m, key) }
func (m metadata) Int(key string) (int, bool)          { return get[int](m, key) }
func (m metadata) Strings(key string) ([]string, bool) { return get[[]string](m, key) }
func (m metadata) Ints(key string) ([]int, bool)       { return get[[]int](m, key) }
func (m metadata) Floats(key string) ([]float64, bool) { return get[[]float64](m, key) }
func (m metadata) Bool(key string) (bool, bool)        { return get[bool](m, key) }

type templates map[string]string

func (t templates) String(key string) (string, bool)   { text, ok := t[key]; return text, ok }
func (templates) Strings(string) (s []string, ok bool) { return }
func (templates) Int(string) (i int, ok bool)          { return }
func (templates) Ints(string) (i []int, ok bool)       { return }
func (templates) Floats(string) (f []float64, ok bool) { return }
func (templates) Bool(string) (value, ok bool)         { return }

// TestConfigKeepsTemplates: the template for tools is not lost beside the other.
func TestConfigKeepsTemplates(t *testing.T) {
	const key = "tokenizer.chat_template"
	for want, meta := range map[string]templates{
		`null`: {},
		`"a"`:  {key: "a"},
		`[{"name":"default","template":"a"},{"name":"tool_use","template":"b"}]`: {key: "a", key + ".tool_use": "b"},
	} {
		got, err := json.Marshal((&ggufVocab{meta: meta}).config()["chat_template"])
		if err != nil || string(got) != want {
			t.Errorf("%v becomes %s, error %v", meta, got, err)
		}
	}
}

package tokenizer

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
)

// stageGoldens are what Python's tokenizers does, stage by stage; see
// testdata/tokenizer/stages.py.
type stageGoldens struct {
	Texts, Words []string
	Normalizers  []struct {
		Name  string
		Stage json.RawMessage
		Want  []string
	}
	PreTokenizers []struct {
		Name  string
		Stage json.RawMessage
		Want  [][]string
	} `json:"pre_tokenizers"`
	Decoders []struct {
		Name   string
		Stage  json.RawMessage
		Pieces []string
		IDs    [][]int32
		Want   []string
	}
	Models []struct {
		Name string
		File json.RawMessage
		Want [][]int32
	}
}

func readStages(t *testing.T) (g stageGoldens) {
	t.Helper()
	readJSON(t, "testdata/stages.json", &g)
	return g
}

func TestNormalizers(t *testing.T) {
	g := readStages(t)
	for _, c := range g.Normalizers {
		var tok Tokenizer
		if err := tok.parseNormalizer(c.Stage, "normalizer"); err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		for i, want := range c.Want {
			if got, err := tok.normalize(g.Texts[i], func() bool { return true }); got != want || err != nil {
				t.Errorf("%s: %q becomes %q, want %q (%v)", c.Name, g.Texts[i], got, want, err)
			}
		}
	}
}

// wordList is a model that writes down the words that it is given.
type wordList struct{ words *[]string }

func (wordList) hide(string)                        {}
func (wordList) needed(string) (bytes, longest int) { return 0, 1 }
func (m wordList) encode(dst []int32, word string, _ *scratch) []int32 {
	*m.words = append(*m.words, word)
	return dst
}

func TestPreTokenizerStages(t *testing.T) {
	g := readStages(t)
	for _, c := range g.PreTokenizers {
		var pre splitting
		if err := pre.parse(c.Stage, "pre_tokenizer"); err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		pre.spell()
		for i, want := range c.Want {
			var got []string
			tok := &Tokenizer{model: wordList{&got}, splitters: pre.splitters, single: bareSingle}
			if _, err := tok.AppendEncode(t.Context(), nil, g.Texts[i], Options{}); err != nil {
				t.Errorf("%s: %q: %v", c.Name, g.Texts[i], err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q is\n%q, want\n%q", c.Name, g.Texts[i], got, want)
			}
		}
	}
}

func TestDecoders(t *testing.T) {
	for _, c := range readStages(t).Decoders {
		vocab := map[string]int32{}
		for i, piece := range c.Pieces {
			vocab[piece] = int32(i)
		}
		model, err := json.Marshal(map[string]any{"type": "WordLevel", "vocab": vocab, "unk_token": c.Pieces[0]})
		if err != nil {
			t.Fatal(err)
		}
		tok, err := FromJSON(fmt.Appendf(nil, `{"decoder": %s, "model": %s}`, c.Stage, model))
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		for i, want := range c.Want {
			if got := tok.Decode(c.IDs[i], false); got != want {
				t.Errorf("%s: %v is %q, want %q", c.Name, c.IDs[i], got, want)
			}
			checkStream(t, tok, c.IDs[i])
		}
	}
}

func TestModels(t *testing.T) {
	g := readStages(t)
	for _, c := range g.Models {
		tok, err := FromJSON(c.File)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		for i, want := range c.Want {
			if got := encode(t, tok, g.Words[i], Options{}); !slices.Equal(got, want) {
				t.Errorf("%s: %q is\n%v, want\n%v", c.Name, g.Words[i], got, want)
			}
		}
	}
}

// TestFromGGUFByTransformers takes the tokenizer.json that transformers makes
// from SmolLM2's GGUF file; its vocabulary and merges are those of the original.
func TestFromGGUFByTransformers(t *testing.T) {
	var g struct {
		File         map[string]json.RawMessage
		Texts        []string
		IDs, Special [][]int32
		Decoded      []string
		Decodes      []struct {
			IDs  []int32
			Text string
		}
	}
	readJSON(t, "testdata/smollm2-gguf.json", &g)
	var original struct{ Model map[string]json.RawMessage }
	readJSON(t, shared(t, "tokenizers", "smollm2", "tokenizer.json"), &original)
	var model map[string]json.RawMessage
	if err := json.Unmarshal(g.File["model"], &model); err != nil {
		t.Fatal(err)
	}
	model["vocab"], model["merges"] = original.Model["vocab"], original.Model["merges"]
	var err error
	if g.File["model"], err = json.Marshal(model); err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(g.File)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := FromJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range g.Texts {
		equalIDs(t, tok, text, encode(t, tok, text, Options{}), g.IDs[i])
		equalIDs(t, tok, text, encode(t, tok, text, Options{AddSpecial: true}), g.Special[i])
		if got := tok.Decode(g.Special[i], false); got != g.Decoded[i] {
			t.Errorf("%q comes back as %q, want %q", text, got, g.Decoded[i])
		}
	}
	for _, c := range g.Decodes {
		if got := tok.Decode(c.IDs, false); got != c.Text {
			t.Errorf("%v is %q, want %q", c.IDs, got, c.Text)
		}
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

package tokenizer

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTrained demands the pieces and merges that tokenizers' BpeTrainer learns
// of the same texts, and that what is written is read back as such.
func TestTrained(t *testing.T) {
	b, err := os.ReadFile("testdata/trained.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens map[string]struct {
		Texts, Special, Pieces, Merges []string
		Vocabulary                     int
		Digits                         bool
	}
	if err := json.Unmarshal(b, &goldens); err != nil {
		t.Fatal(err)
	}
	for name, g := range goldens {
		t.Run(name, func(t *testing.T) {
			trainer := &Trainer{Vocabulary: g.Vocabulary, Special: g.Special, Digits: g.Digits}
			trained := trained(t, trainer, g.Texts...)
			if got := trained.pieces[len(g.Special)+256:]; !slices.Equal(got, g.Pieces) {
				t.Errorf("pieces %q\nwant %q", got, g.Pieces)
			}
			var merges []string
			for _, m := range trained.merges {
				merges = append(merges, m[0]+" "+m[1])
			}
			if !slices.Equal(merges, g.Merges) {
				t.Errorf("merges %q\nwant %q", merges, g.Merges)
			}
			dir := t.TempDir()
			if err := trained.Write(dir, Roles{}, ""); err != nil {
				t.Fatal(err)
			}
			own, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range g.Texts {
				ids, err := own.Encode(text, true)
				if err != nil || own.Decode(ids, false) != text {
					t.Errorf("%v: %q becomes %q", err, text, own.Decode(ids, false))
				}
			}
		})
	}
}

func trained(t testing.TB, trainer *Trainer, texts ...string) *Trained {
	t.Helper()
	for _, text := range texts {
		if err := trainer.Add(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	trained, err := trainer.Train(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return trained
}

// TestTrainedFiles: the same texts give the same bytes, and the files name what
// they were told to.
func TestTrainedFiles(t *testing.T) {
	const template = "{{ messages[0].content }}<"
	read := func() (files [2]string) {
		dir := t.TempDir()
		learnt := trained(t, &Trainer{Vocabulary: 266, Special: []string{"<|end|>", "<pad>"}, Digits: true}, "one two three two one two 1234 1234")
		if err := learnt.Write(dir, Roles{EOS: "<|end|>", Pad: "<pad>"}, template); err != nil {
			t.Fatal(err)
		}
		own, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := own.EOS(); !ok || id != 0 || !own.IsSpecial(0) || !own.IsSpecial(1) || own.IsSpecial(2) {
			t.Errorf("the token that ends a text is %d, %t", id, ok)
		}
		if _, ok := own.BOS(); ok {
			t.Error("a token begins a text that nobody has named")
		}
		if ids, err := own.Encode("1234<|end|>", true); err != nil || len(ids) != 5 || ids[4] != 0 {
			t.Errorf("digits are not apart: %v, %v", ids, err)
		}
		for i, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files[i] = string(b)
		}
		return files
	}
	files := read()
	if again := read(); again != files {
		t.Error("the files differ from one training to the next")
	}
	var config map[string]any
	if err := json.Unmarshal([]byte(files[1]), &config); err != nil || config["chat_template"] != template || config["pad_token"] != "<pad>" {
		t.Errorf("%v: %v", err, config)
	}
}

// TestTrainerRefuses: what cannot be learnt is refused by name.
func TestTrainerRefuses(t *testing.T) {
	for want, trainer := range map[string]*Trainer{
		"a vocabulary of 256 has no room": {Vocabulary: 256, Special: []string{"<s>"}},
		`"<s>" is there twice`:            {Vocabulary: 300, Special: []string{"<s>", "<s>"}},
		`special token " a"`:              {Vocabulary: 300, Special: []string{" a"}},
		"come to 258 pieces, not 300":     {Vocabulary: 300},
	} {
		if err := trainer.Add(t.Context(), "aaa"); err != nil {
			t.Fatal(err)
		}
		if _, err := trainer.Train(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := (Roles{EOS: "x", BOS: "<s>"}).Validate([]string{"<s>"}); err == nil || !strings.Contains(err.Error(), `eos_token: "x"`) || strings.Contains(err.Error(), "bos_token") {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	trainer := &Trainer{Vocabulary: 300}
	if err := trainer.Add(t.Context(), "aaa bbb"); err != nil {
		t.Fatal(err)
	}
	if _, err := trainer.Train(ended); err == nil {
		t.Error("an ended training goes on")
	}
}

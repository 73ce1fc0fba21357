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

// shared returns a path in the folder beside the repository that holds real
// tokenizers, and skips the test where it is absent.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Skip("not inside the repository: no ../shared to look for")
		}
		dir = parent
	}
	path := filepath.Join(append([]string{filepath.Dir(dir), "shared"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there: %v", filepath.Join(elem...), err)
	}
	return path
}

type goldenFile struct {
	Texts      []string
	Pairs      [][2]string
	Tokenizers map[string]goldenSet
}

type goldenSet struct {
	Cases []struct {
		IDs, Special, Plain []int32
		Decoded, Skipped    *string
	}
	Pairs []struct{ IDs, Types []int32 }
	// Decodes are random ids, most of them no text at all.
	Decodes []struct {
		IDs  []int32
		Text string
	}
}

func readGoldens(t testing.TB) goldenFile {
	t.Helper()
	data, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var g goldenFile
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// openGolden loads a tokenizer of the goldens: from testdata if it was made
// for the test, from the shared folder otherwise.
func openGolden(t testing.TB, name string) *Tokenizer {
	t.Helper()
	path := filepath.Join("testdata", name+".json")
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(shared(t, "tokenizers", name), "tokenizer.json")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := FromJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestGoldens compares with Python tokenizers; see testdata/tokenizer.
func TestGoldens(t *testing.T) {
	g := readGoldens(t)
	for name, set := range g.Tokenizers {
		t.Run(name, func(t *testing.T) {
			tok := openGolden(t, name)
			for i, want := range set.Cases {
				text := g.Texts[i]
				if want.Special == nil {
					want.Special = want.IDs
				}
				if want.Plain == nil {
					want.Plain = want.IDs
				}
				if want.Decoded == nil {
					want.Decoded = &text
				}
				if want.Skipped == nil {
					want.Skipped = want.Decoded
				}
				equalIDs(t, tok, "Encode "+text, encode(t, tok, text, Options{}), want.IDs)
				equalIDs(t, tok, "Encode special "+text, encode(t, tok, text, Options{AddSpecial: true}), want.Special)
				// Python's Unigram takes a special piece even for plain text.
				if name != "t5-like" || !strings.Contains(text, "</s>") {
					equalIDs(t, tok, "EncodePlain "+text, encode(t, tok, text, Options{Plain: true}), want.Plain)
				}
				if got := tok.Decode(want.Special, false); got != *want.Decoded {
					t.Errorf("Decode %q: %q, want %q", text, got, *want.Decoded)
				}
				if got := tok.Decode(want.Special, true); got != *want.Skipped {
					t.Errorf("Decode %q without special tokens: %q, want %q", text, got, *want.Skipped)
				}
			}
			for i, want := range set.Pairs {
				ids, types, err := tok.EncodePair(context.Background(), g.Pairs[i][0], g.Pairs[i][1], Options{})
				if err != nil {
					t.Fatal(err)
				}
				equalIDs(t, tok, "EncodePair", ids, want.IDs)
				if !slices.Equal(types, want.Types) {
					t.Errorf("EncodePair %q: types %v, want %v", g.Pairs[i], types, want.Types)
				}
			}
			for _, want := range set.Decodes {
				if got := tok.Decode(want.IDs, false); got != want.Text {
					t.Errorf("Decode %v: %q, want %q", want.IDs, got, want.Text)
				}
			}
		})
	}
}

func encode(t testing.TB, tok *Tokenizer, text string, o Options) []int32 {
	t.Helper()
	ids, err := tok.AppendEncode(context.Background(), nil, text, o)
	if err != nil {
		t.Fatalf("%.60q: %v", text, err)
	}
	return ids
}

func equalIDs(t *testing.T, tok *Tokenizer, what string, got, want []int32) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	spell := func(ids []int32) (s []string) {
		for _, id := range ids {
			s = append(s, tok.Token(id))
		}
		return s
	}
	t.Errorf("%q:\n got %v %q\nwant %v %q", what, got, spell(got), want, spell(want))
}

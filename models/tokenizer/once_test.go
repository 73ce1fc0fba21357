package tokenizer

import (
	"slices"
	"testing"
)

func once(t *testing.T, tok *Tokenizer, text string, addSpecial bool) []int32 {
	t.Helper()
	return encode(t, tok, text, Options{AddSpecial: addSpecial, Once: true})
}

// TestOnce puts the special tokens around a text that the text does not write
// itself.
func TestOnce(t *testing.T) {
	tok := openGolden(t, "sp-bpe") // with a BOS
	bos, eos := tok.pieces[1], tok.pieces[2]
	plain := once(t, tok, "a b", false)
	for text, want := range map[string][]int32{
		"a b":             slices.Concat([]int32{1}, plain),
		bos + "a b":       once(t, tok, bos+"a b", false),
		bos + bos + "a b": once(t, tok, bos+bos+"a b", false), // as it was written
		eos + "a b":       slices.Concat([]int32{1}, once(t, tok, eos+"a b", false)),
		"":                {1},
	} {
		if got := once(t, tok, text, true); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		if ids, spans, _, err := tok.EncodeSpans(t.Context(), text, Options{AddSpecial: true, Once: true}); err != nil || !slices.Equal(ids, want) || len(spans) != len(ids) {
			t.Errorf("%q: %v and %d spans, want %v", text, ids, len(spans), want)
		}
	}
	bert := openGolden(t, "bert-cased-like")
	around := once(t, bert, "a", true)
	cls, sep := bert.pieces[around[0]], bert.pieces[around[len(around)-1]]
	for _, text := range []string{"a", cls + " a", "a " + sep, cls + " a " + sep} {
		if got := once(t, bert, text, true); !slices.Equal(got, around) {
			t.Errorf("%q: %v, want %v", text, got, around)
		}
	}
}

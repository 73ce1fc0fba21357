package serve

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// pieceTokenizer is of the kind of Llama 2's: "▁" for a space, one before each
// part of the text, bytes for characters that have no piece.
func pieceTokenizer(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	vocabulary := map[string]int{}
	for _, piece := range []string{"<unk>", "<s>", "</s>"} {
		vocabulary[piece] = len(vocabulary)
	}
	for b := range 256 {
		vocabulary[fmt.Sprintf("<0x%02X>", b)] = len(vocabulary)
	}
	for _, piece := range []string{"▁", "H", "i", "é"} {
		vocabulary[piece] = len(vocabulary)
	}
	type object = map[string]any
	special := func(id int, content string) object {
		return object{"id": id, "content": content, "special": true}
	}
	text, err := json.Marshal(object{
		"added_tokens": []any{special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")},
		"normalizer": object{"type": "Sequence", "normalizers": []any{
			object{"type": "NFC"}, object{"type": "Prepend", "prepend": "▁"}, object{"type": "Replace", "pattern": object{"String": " "}, "content": "▁"}}},
		"post_processor": object{"type": "TemplateProcessing",
			"single": []any{object{"SpecialToken": object{"id": "<s>", "type_id": 0}}, object{"Sequence": object{"id": "A", "type_id": 0}}, object{"SpecialToken": object{"id": "</s>", "type_id": 0}}},
			"pair":   []any{}, "special_tokens": object{"<s>": object{"id": "<s>", "ids": []int{1}, "tokens": []string{"<s>"}}, "</s>": object{"id": "</s>", "ids": []int{2}, "tokens": []string{"</s>"}}}},
		"decoder": object{"type": "Sequence", "decoders": []any{
			object{"type": "Replace", "pattern": object{"String": "▁"}, "content": " "}, object{"type": "ByteFallback"}, object{"type": "Fuse"},
			object{"type": "Strip", "content": " ", "start": 1, "stop": 0}}},
		"model": object{"type": "BPE", "vocab": vocabulary, "merges": []string{}, "byte_fallback": true, "unk_token": "<unk>", "fuse_unk": true},
	})
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o644))
	loaded, err := tokenizer.Load(dir)
	require.NoError(t, err)
	return loaded
}

// TestSpans counts in characters, of the text as it was given, special tokens
// that it spells included; what the encoding adds has no width.
func TestSpans(t *testing.T) {
	text := pieceTokenizer(t)
	for _, c := range []struct {
		text  string
		added bool
		want  [][2]int
	}{
		{"Hi", false, [][2]int{{0, 0}, {0, 1}, {1, 2}}},
		{"Hi", true, [][2]int{{0, 0}, {0, 0}, {0, 1}, {1, 2}, {2, 2}}},
		{"<s>Hi", true, [][2]int{{0, 3}, {3, 3}, {3, 4}, {4, 5}, {5, 5}}},
		{"H</s>i é", false, [][2]int{{0, 0}, {0, 1}, {1, 5}, {5, 5}, {5, 6}, {6, 7}, {7, 8}}},
		{"i😀i", false, [][2]int{{0, 0}, {0, 1}, {1, 2}, {1, 2}, {1, 2}, {1, 2}, {2, 3}}},
		{"e\u0301 Hi", false, [][2]int{{0, 0}, {0, 1}, {2, 3}, {3, 4}, {4, 5}}}, // é, normalized
		{"", true, [][2]int{{0, 0}, {0, 0}}},
	} {
		ids, spans, _, err := text.EncodeSpans(t.Context(), c.text, tokenizer.Options{AddSpecial: c.added, Once: true})
		require.NoError(t, err)
		want, err := text.Encode(c.text, c.added)
		require.NoError(t, err)
		require.Equal(t, want, ids, c.text)
		var got [][2]int
		for _, at := range inCharacters(c.text, spans) {
			got = append(got, [2]int{at.Start, at.End})
		}
		require.Equal(t, c.want, got, c.text)
	}
}

// Offsets lead to the tokens in the text that is returned, echo and answer.
func TestOffsetsOfSpecialTokens(t *testing.T) {
	s := newSite(t, nil)
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return "</s>Hi", runtime.FinishEOS, nil }
	got := s.post(t, "/tokenize", `{"inputs":"Y</s>o"}`)
	var tokens []tgiSimpleToken
	require.NoError(t, json.Unmarshal([]byte(got.body), &tokens))
	require.Equal(t, []tgiSimpleToken{{0, "<s>", 0, 0}, {60, "Y", 0, 1}, {1, "</s>", 1, 5}, {81, "o", 5, 6}}, tokens)

	for body, want := range map[string][2]string{
		`{"prompt":"Y</s>o","echo":true,"logprobs":1}`:                                         {"Y</s>oHi", "[0,0,1,5,6,6,7]"},
		`{"prompt":"Y</s>o","echo":true,"logprobs":1,"skip_special_tokens":false}`:             {"Y</s>o</s>Hi", "[0,0,1,5,6,10,11]"},
		`{"prompt":"<s>Y","echo":true,"logprobs":1,"max_tokens":0}`:                            {"<s>Y", "[0,3]"},
		`{"prompt":"<s>Y","echo":true,"logprobs":1,"max_tokens":0,"add_special_tokens":false}`: {"<s>Y", "[0,3]"},
		`{"prompt":[60,1,81],"echo":true,"logprobs":1}`:                                        {"YoHi", "[0,1,1,2,2,3]"},
		`{"prompt":"Y</s>o","logprobs":1}`:                                                     {"Hi", "[0,0,1]"},
	} {
		got := s.post(t, "/v1/completions", body)
		require.Equal(t, `"`+want[0]+`"`, member(t, got.body, "choices", "0", "text"), body)
		require.JSONEq(t, want[1], member(t, got.body, "choices", "0", "logprobs", "text_offset"), body)
	}
}

package tokenizer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestMax: a text of more ids than are asked for is refused, one of as many is
// not, whatever the tokenizer.
func TestMax(t *testing.T) {
	texts := []string{"the cat sat on the mat", strings.Repeat("a", 300), strings.Repeat("ab ", 200), "日本語のテキスト。" + strings.Repeat("x1", 90)}
	for _, name := range made {
		tok := openGolden(t, name)
		for _, text := range texts {
			for _, o := range []Options{{}, {AddSpecial: true}, {AddSpecial: true, Once: true}} {
				ids := encode(t, tok, text, o)
				o.Max = len(ids)
				if o.Max < 2 {
					continue
				}
				encode(t, tok, text, o)
				o.Max--
				got, err := tok.AppendEncode(t.Context(), []int32{7}, text, o)
				var long *TooLongError
				if !errors.As(err, &long) || long.Max != o.Max || long.Bytes != len(text) || long.Least > len(ids) || len(got) != 1 {
					t.Errorf("%s: %.20q of %d ids with a maximum of %d: %v, %v", name, text, len(ids), o.Max, got, err)
				}
			}
		}
	}
}

// TestSpan: no tokenizer makes fewer ids of a text than its length allows.
func TestSpan(t *testing.T) {
	for _, name := range made {
		tok := openGolden(t, name)
		for _, text := range readGoldens(t).Texts {
			if least, n := tok.AtLeast(text), len(encode(t, tok, text, Options{})); n < least {
				t.Errorf("%s: %q has %d ids and not %d at least", name, text, n, least)
			}
		}
	}
	for name, bounded := range map[string]bool{"sp-bpe": true, "o200k-like": false, "llama3-like": false, "falcon-like": false, "bert-cased-like": false} {
		if least := openGolden(t, name).AtLeast(strings.Repeat("a", 1<<20)); least > 0 != bounded {
			t.Errorf("%s: %d ids at least", name, least)
		}
	}
}

// TestRefusedByLength: what cannot fit is refused before it is looked at, a
// single word of many letters as well.
func TestRefusedByLength(t *testing.T) {
	tok := openGolden(t, "sp-bpe")
	text := strings.Repeat("a", 8<<20)
	o := Options{AddSpecial: true, Max: 2048}
	var err error
	allocations := testing.AllocsPerRun(1, func() { _, err = tok.AppendEncode(context.Background(), nil, text, o) })
	var long *TooLongError
	if !errors.As(err, &long) || long.Least <= o.Max || allocations > 20 {
		t.Errorf("%v, %.0f allocations", err, allocations)
	}
	// NFC may shrink, so the length of the text tells nothing; that of the word does.
	qwen, err := FromJSON([]byte(`{"normalizer": {"type": "Strip", "strip_left": true, "strip_right": true}, "pre_tokenizer": {"type": "ByteLevel", "use_regex": false}, ` + byteModel() + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = qwen.AppendEncode(context.Background(), nil, text, o); !errors.As(err, &long) || long.Least <= o.Max {
		t.Errorf("%v", err)
	}
}

// byteModel is a model of the byte alphabet alone.
func byteModel() string {
	var vocab strings.Builder
	for i, r := range byteToRune {
		letter, _ := json.Marshal(string(r))
		fmt.Fprintf(&vocab, ", %s: %d", letter, i)
	}
	return `"model": {"type": "BPE", "vocab": {` + vocab.String()[2:] + `}, "merges": []}`
}

// TestContextEnds: the work on a text ends with its context, in every model.
func TestContextEnds(t *testing.T) {
	left := errors.New("left")
	for _, name := range made {
		tok := openGolden(t, name)
		for _, text := range []string{strings.Repeat("a", 1<<20), strings.Repeat("a b, ", 1<<18)} {
			ctx := &ending{Context: context.Background(), looks: 3, cause: left}
			if ids, err := tok.AppendEncode(ctx, nil, text, Options{}); !errors.Is(err, left) && len(ids) > 1<<16 {
				t.Errorf("%s: %.5q: %d ids, %v", name, text, len(ids), err)
			}
		}
	}
}

// ending is a context that ends when it is looked at for the last time.
type ending struct {
	context.Context
	looks int
	cause error
}

func (c *ending) Err() error {
	if c.looks--; c.looks < 0 {
		return c.cause
	}
	return nil
}

// TestStagesAreBounded: what would grow without end is refused by name, when
// the file is read if any text would, and else with the text; what is long and
// harmless is taken.
func TestStagesAreBounded(t *testing.T) {
	replace := func(from, to string) string {
		return fmt.Sprintf(`{"type": "Replace", "pattern": {"String": %q}, "content": %q}`, from, to)
	}
	sequence := func(field string, n int, stage string) string {
		return fmt.Sprintf(`{"type": "Sequence", "%s": [%s]}`, field, strings.Repeat(stage+",", n-1)+stage)
	}
	const model = `"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}`
	for _, c := range []struct{ name, stage, text, want string }{
		{"doubling", `"normalizer": ` + sequence("normalizers", 40, replace("a", "aa")), "", "normalizer.normalizers["},
		{"doubling what is rare", `"normalizer": ` + sequence("normalizers", 40, replace("ж", "жж")), "ж", "normalizer.normalizers["},
		{"regular expressions", `"normalizer": ` + sequence("normalizers", 40, `{"type": "Replace", "pattern": {"Regex": "ж"}, "content": "жж"}`), "ж", "normalizer.normalizers["},
		{"empty matches", `"normalizer": {"type": "Replace", "pattern": {"Regex": "ж*"}, "content": "` + strings.Repeat("b", 1<<20) + `"}`, "b", "normalizer"},
		{"spelling bytes", `"pre_tokenizer": ` + sequence("pretokenizers", 40, `{"type": "ByteLevel", "use_regex": false}`), "é", "pre_tokenizer"},
		{"many stages", `"normalizer": ` + sequence("normalizers", 300, `{"type": "NFC"}`), "", "more than 256 stages"},
		{"many splits", `"pre_tokenizer": ` + sequence("pretokenizers", 300, `{"type": "Digits"}`), "", "more than 256 stages"},
		{"many decoders", `"decoder": ` + sequence("decoders", 300, `{"type": "Fuse"}`), "", "more than 256 stages"},
		{"decoding", `"decoder": ` + sequence("decoders", 40, replace("a", "aa")), "", `decoder: piece "a`},
		{"backtracking", `"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?=(x+x+)+y)x"}, "behavior": "Isolated", "invert": false}`, strings.Repeat("x", 60), "pre_tokenizer"},
		{"added token", `"added_tokens": [{"id": 3, "content": "` + strings.Repeat("x", 5000) + `"}]`, "", "at most 4096"},
		{"template", `"post_processor": {"type": "TemplateProcessing", "single": [` + strings.Repeat(`{"SpecialToken": {"id": "s", "type_id": 0}},`, 100) +
			`{"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {"s": {"id": "s", "ids": [` + strings.Repeat("0,", 50) + `0], "tokens": ["a"]}}}`, "", "more than 4096 ids around the text"},
		{"harmless", `"normalizer": ` + sequence("normalizers", 200, replace("1", " 2 ")), strings.Repeat("1", 1000), ""},
		{"linear", `"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": false}`, strings.Repeat("x", 10000), ""},
	} {
		tok, err := FromJSON([]byte("{" + c.stage + ", " + model + "}"))
		if err == nil && c.text != "" {
			if _, err = tok.Encode(c.text, false); err != nil && !errors.Is(err, ErrStage) {
				t.Errorf("%s: %v is not ErrStage", c.name, err)
			}
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

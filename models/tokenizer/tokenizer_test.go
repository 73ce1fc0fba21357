package tokenizer

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// made are the tokenizers of testdata.
var made = []string{
	"sp-bpe", "sp-first", "llama3-like", "falcon-like", "o200k-like", "bert-cased-like", "t5-like", "splits",
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	data, err := os.ReadFile("testdata/llama3-like.json")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("tokenizer.json", string(data))
	write("special_tokens_map.json", `{"eos_token": "<tok>", "pad_token": "<tok>"}`)
	write("tokenizer_config.json", `{
		"bos_token": {"content": "<|begin_of_text|>", "lstrip": false, "special": true},
		"eos_token": "<|im_end|>", "unk_token": null, "chat_template": "…",
		"added_tokens_decoder": {
			"501": {"content": "<|im_start|>", "special": true},
			"600": {"content": "<|extra|>", "special": true, "normalized": false}}}`)
	tok, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, id int32, ok bool, want string) {
		t.Helper()
		if !ok || tok.Token(id) != want {
			t.Errorf("%s is %d %q, want %q", name, id, tok.Token(id), want)
		}
	}
	bos, ok := tok.BOS()
	check("BOS", bos, ok, "<|begin_of_text|>")
	eos, ok := tok.EOS()
	check("EOS", eos, ok, "<|im_end|>")
	pad, ok := tok.Role("pad_token")
	check("pad_token", pad, ok, "<tok>")
	if id, ok := tok.Role("unk_token"); ok {
		t.Errorf("unk_token is %d, want none", id)
	}
	if got := encode(t, tok, "<|extra|>", Options{}); !slices.Equal(got, []int32{600}) {
		t.Errorf("a token of tokenizer_config.json alone encodes as %v", got)
	}
	if tok.VocabSize() != 601 {
		t.Errorf("VocabSize is %d, want 601", tok.VocabSize())
	}
	if id, ok := tok.ID("Ġthe"); !ok || string(tok.TokenBytes(id)) != " the" || tok.IsSpecial(id) || !tok.IsSpecial(600) {
		t.Errorf("Ġthe is %d, its bytes %q, special %v; <|extra|> special %v", id, tok.TokenBytes(id), tok.IsSpecial(id), tok.IsSpecial(600))
	}
	skips, shows := tok.NewDecoder(true), tok.NewDecoder(true)
	if shows.Show([]int32{600}); skips.Push(600) != "" || shows.Push(600) != "<|extra|>" || shows.Push(501) != "" {
		t.Error("a decoder shows the special tokens that it is to, and those alone")
	}
	for _, id := range []int32{-1, 601, 599} {
		if tok.Token(id) != "" || len(tok.TokenBytes(id)) != 0 || tok.IsSpecial(id) || tok.Decode([]int32{id}, false) != "" {
			t.Errorf("id %d is not in the vocabulary and is %q", id, tok.Token(id))
		}
	}
}

// TestRefuses gives FromJSON what it must not guess about.
func TestRefuses(t *testing.T) {
	const model = `"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}`
	for _, c := range []struct{ name, json, want string }{
		{"empty", ``, "EOF"},
		{"no model", `{}`, "model: missing"},
		{"model type", `{"model": {"type": "CharLevel", "vocab": {}}}`, `"CharLevel" is not supported`},
		{"top level field", `{"extra": 1, ` + model + `}`, `"extra"`},
		{"model field", `{"model": {"type": "BPE", "vocab": {}, "merges": [], "extra": 1}}`, `"extra"`},
		{"dropout", `{"model": {"type": "BPE", "vocab": {}, "merges": [], "dropout": 0.1}}`, "dropout"},
		{"merge", `{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}`, `"b" is not in the vocabulary`},
		{"merge result", `{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}}`, `"ab" is not`},
		{"shared id", `{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}`, `"a" and "b" share id 0`},
		{"far id", `{"model": {"type": "BPE", "vocab": {"a": 99999999}, "merges": []}}`, "99999999"},
		{"unknown token", `{"model": {"type": "BPE", "unk_token": "?", "vocab": {"a": 0}, "merges": []}}`, `unk_token "?"`},
		{"normalizer", `{"normalizer": {"type": "Sequence", "normalizers": [{"type": "Odd"}]}, ` + model + `}`, `normalizer.normalizers[0]: "Odd"`},
		{"field of another normalizer", `{"normalizer": {"type": "Prepend", "prepend": "a", "content": "b"}, ` + model + `}`, `normalizer: json: unknown field "content"`},
		{"field of a form", `{"normalizer": {"type": "NFC", "prepend": "a"}, ` + model + `}`, `"prepend"`},
		{"field of another pre-tokenizer", `{"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "use_regex": true}]}, ` + model + `}`, `pre_tokenizer.pretokenizers[0]: json: unknown field "use_regex"`},
		{"field of another post-processor", `{"post_processor": {"type": "ByteLevel", "single": []}, ` + model + `}`, `"single"`},
		{"field of another decoder", `{"decoder": {"type": "Fuse", "content": "a"}, ` + model + `}`, `"content"`},
		{"delimiter", `{"pre_tokenizer": {"type": "CharDelimiterSplit", "delimiter": "ab"}, ` + model + `}`, `delimiter "ab"`},
		{"length", `{"pre_tokenizer": {"type": "FixedLength", "length": 0}, ` + model + `}`, "length 0"},
		{"nested class", `{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[a[b]]"}, "behavior": "Isolated", "invert": false}, ` + model + `}`, "class within a class"},
		{"word boundary", `{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\bx"}, "behavior": "Isolated", "invert": false}, ` + model + `}`, `is not supported`},
		{"precompiled", `{"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}, ` + model + `}`, "normalizer"},
		{"pre-tokenizer", `{"pre_tokenizer": {"type": "UnicodeScripts"}, ` + model + `}`, `"UnicodeScripts"`},
		{"behavior", `{"pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "Odd", "invert": false}, ` + model + `}`, `"Odd"`},
		{"regex", `{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false}, ` + model + `}`, "pre_tokenizer"},
		{"post-processor", `{"post_processor": {"type": "Odd"}, ` + model + `}`, `"Odd"`},
		{"template", `{"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}], "pair": [], "special_tokens": {}}, ` + model + `}`, `"<s>"`},
		{"decoder", `{"decoder": {"type": "CTC", "pad_token": ""}, ` + model + `}`, "decoder"},
		{"decoder order", `{"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]}, ` + model + `}`, `decoder.decoders[1]: "ByteFallback"`},
		{"replacement of two characters", `{"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "ab"}, "content": " "}]}, ` + model + `}`, `decoder.decoders[1]: "Replace"`},
		{"late alphabet", `{"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteLevel"}]}, "model": {"type": "BPE", "vocab": {"日": 0}, "merges": []}}`, `"日"`},
		{"trailing data", `{` + model + `} {}`, "after"},
	} {
		_, err := FromJSON([]byte(c.json))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %s", c.name, err, c.want)
		}
	}
}

// TestRefusesGGUF does the same for GGUF metadata.
func TestRefusesGGUF(t *testing.T) {
	for _, c := range []struct {
		meta metadata
		want string
	}{
		{metadata{}, "tokenizer.ggml.model is missing"},
		{metadata{"tokenizer.ggml.model": "gpt2"}, "tokenizer.ggml.tokens is missing"},
		{metadata{"tokenizer.ggml.model": "rwkv", "tokenizer.ggml.tokens": []string{"a"}}, `"rwkv" is not supported`},
		{metadata{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": []string{"a"}}, "tokenizer.ggml.pre is missing"},
		{metadata{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "odd", "tokenizer.ggml.tokens": []string{"a"}}, `"odd"`},
		{metadata{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": []string{"a"}}, "merges is missing"},
		{metadata{"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": []string{"a"}}, "scores"},
		{metadata{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": []string{"a", "a"}}, `"a" is both 0 and 1`},
		{metadata{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": []string{"a"}, "tokenizer.ggml.bos_token_id": 7}, "bos_token_id is 7"},
	} {
		_, err := FromGGUF(c.meta)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want one with %s", c.meta, err, c.want)
		}
	}
}

// TestPreTokenizers compiles every expression that a GGUF file can ask for.
func TestPreTokenizers(t *testing.T) {
	for name, pre := range ggufPre {
		for _, p := range pre.patterns {
			if _, err := newSplit("pre", pattern{Regex: &p}, "Isolated", false); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestRoundTrip: these vocabularies lose nothing.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, name := range []string{"llama3-like", "o200k-like", "sp-bpe"} {
		tok := openGolden(t, name)
		for range 2000 {
			text := randomText(r)
			if got := tok.Decode(encode(t, tok, text, Options{Plain: true}), true); got != text {
				t.Fatalf("%s: %q comes back as %q", name, text, got)
			}
		}
	}
}

// TestDecoder: what a stream pushes out is what Decode returns, and never half
// a character.
func TestDecoder(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, name := range made {
		tok := openGolden(t, name)
		for range 300 {
			ids := make([]int32, r.IntN(20))
			for i := range ids {
				ids[i] = r.Int32N(int32(tok.VocabSize())+4) - 2
			}
			checkStream(t, tok, ids)
		}
	}
}

func checkStream(t *testing.T, tok *Tokenizer, ids []int32) {
	t.Helper()
	for _, skip := range []bool{false, true} {
		d := tok.NewDecoder(skip)
		for range 2 { // Flush makes a decoder as good as new
			var b strings.Builder
			for _, id := range ids {
				text := d.Push(id)
				if !utf8.ValidString(text) {
					t.Fatalf("%v: Push(%d) returns %q", ids, id, text)
				}
				b.WriteString(text)
			}
			b.WriteString(d.Flush())
			if got, want := b.String(), tok.Decode(ids, skip); got != want {
				t.Fatalf("%v: streamed %q, decoded %q", ids, got, want)
			}
		}
	}
}

func TestDecoderContinue(t *testing.T) {
	tok := openGolden(t, "sp-bpe")
	ids := encode(t, tok, "the", Options{})
	d := tok.NewDecoder(true)
	d.Continue()
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(d.Push(id))
	}
	if got := b.String() + d.Flush(); got != " the" {
		t.Errorf("continued text is %q, want %q", got, " the")
	}
}

// TestBrokenText: the two ways to write what is not UTF-8, each that of the
// library that its vocabularies come from.
func TestBrokenText(t *testing.T) {
	bytesOf := func(tok *Tokenizer, spell func(byte) string, raw string) (ids []int32) {
		for i := range len(raw) {
			id, ok := tok.ID(spell(raw[i]))
			if !ok {
				t.Fatalf("no piece for byte %#x", raw[i])
			}
			ids = append(ids, id)
		}
		return ids
	}
	level, fallback := openGolden(t, "o200k-like"), openGolden(t, "sp-bpe")
	alphabet := func(b byte) string { return spellBytes(string([]byte{b})) }
	for _, c := range []struct{ raw, level, fallback string }{
		{"\xf0\x9f\x98\x81", "😁", "😁"},
		{"\xf0\x9f\x98", "\ufffd", "\ufffd\ufffd\ufffd"},
		{"\xf0\x9f\x98a", "\ufffda", "\ufffd\ufffd\ufffda"},
		{"a\xffb\xc3", "a\ufffdb\ufffd", "a\ufffdb\ufffd"},
		{"\xed\xa0\x80", "\ufffd\ufffd\ufffd", "\ufffd\ufffd\ufffd"},
		{"\xe2\x82\xe2\x82\xac", "\ufffd€", "\ufffd\ufffd€"},
	} {
		if got := level.Decode(bytesOf(level, alphabet, c.raw), false); got != c.level {
			t.Errorf("byte level %q: %q, want %q", c.raw, got, c.level)
		}
		if got := fallback.Decode(bytesOf(fallback, fallbackPiece, c.raw), false); got != c.fallback {
			t.Errorf("byte fallback %q: %q, want %q", c.raw, got, c.fallback)
		}
	}
	if got, want := encode(t, level, "a\xff\xfeb", Options{}), encode(t, level, "a\ufffdb", Options{}); !slices.Equal(got, want) {
		t.Errorf("broken text encodes as %v, want %v", got, want)
	}
}

// TestLongWords: text without a space goes through the heap, and through the
// cut at ▁ that must change nothing.
func TestLongWords(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	tok := openGolden(t, "sp-bpe")
	model := *tok.model.(*bpe)
	if !model.wordwise {
		t.Fatal("the vocabulary has no join across words and is not cut at words")
	}
	whole := *tok
	model.wordwise, model.cache = false, newWordCache()
	whole.model = &model
	for range 300 {
		var b strings.Builder
		for range 20 {
			b.WriteString(randomText(r))
			b.WriteString([]string{"the", " Alice", "  was", "▁"}[r.IntN(4)])
		}
		text := b.String()
		if got, want := encode(t, tok, text, Options{}), encode(t, &whole, text, Options{}); !slices.Equal(got, want) {
			t.Fatalf("%q: %v, in one piece %v", text, got, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := openGolden(t, "llama3-like")
	r := rand.New(rand.NewPCG(11, 12))
	texts := make([]string, 200)
	want := make([][]int32, len(texts))
	for i := range texts {
		texts[i] = randomText(r) + randomText(r)
		want[i] = encode(t, tok, texts[i], Options{AddSpecial: true})
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i, text := range texts {
				if got := encode(t, tok, text, Options{AddSpecial: true}); !slices.Equal(got, want[i]) {
					t.Errorf("%q: %v, alone %v", text, got, want[i])
				}
			}
		})
	}
	group.Wait()
}

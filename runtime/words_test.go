package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// An adapter's end tokens end its answers, beside the model's own and beside
// nobody else's.
func TestEndTokensOfAnAdapter(t *testing.T) {
	s := newScript(t, Options{})
	s.loader.adapters = map[string]*fakeAdapter{"x": {digest: "x"}, "ends": {digest: "x"}}
	s.adapters("x", "ends")
	answer := func(adapter string, ignore bool) answer {
		t.Helper()
		name := adapter + map[bool]string{true: " on"}[ignore]
		s.must(s.request(name, &Request{Prompt: prompt("a", 3), Adapter: adapter, MaxTokens: 6, IgnoreEOS: ignore, Logprobs: -1, PromptLogprobs: -1}))
		s.run()
		return s.take(name)
	}
	whole := answer("x", false).tokens
	if len(whole) != 6 || whole[0] == whole[1] {
		t.Fatalf("%v", whole)
	}
	s.loader.adapters["ends"].ends = []int32{62, whole[1]}
	if got := answer("ends", false); got.finish != FinishEOS || !slices.Equal(got.tokens, whole[:2]) {
		t.Errorf("%+v", got)
	}
	if got := answer("ends", true); got.finish != FinishLength || !slices.Equal(got.tokens, whole) {
		t.Errorf("%+v", got)
	}
	if got := answer("x", false); got.finish != FinishLength || !slices.Equal(got.tokens, whole) {
		t.Errorf("another adapter's: %+v", got)
	}
	s.m.config.EOS = []int32{whole[0]}
	if got := answer("ends", false); got.finish != FinishEOS || len(got.tokens) != 1 {
		t.Errorf("the model's own: %+v", got)
	}
	s.empty()
}

// A prompt that was made with one tokenizer is not run by a version of the
// adapter that brings another.
func TestTokenizerIsHeldTo(t *testing.T) {
	const file = `{"decoder": {"type": "Fuse"}, "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}`
	own, err := tokenizer.FromJSON([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t, Options{})
	s.loader.adapters = map[string]*fakeAdapter{"x": {digest: "x", text: own}, "plain": {digest: "plain"}}
	s.adapters("x", "plain")
	for _, c := range []struct {
		name, adapter string
		text          *tokenizer.Tokenizer
		want          error
	}{{"own", "x", own, nil}, {"base's", "x", nil, ErrVersion}, {"stranger's", "plain", own, ErrVersion}, {"plain", "plain", nil, nil}} {
		s.must(s.request(c.name, &Request{Prompt: prompt("a", 2), Adapter: c.adapter, Tokenizer: c.text, MaxTokens: 1, Logprobs: -1, PromptLogprobs: -1}))
		s.run()
		if got := s.take(c.name); !errors.Is(got.err, c.want) || c.want == nil && got.finish != FinishLength {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	s.empty()
}

// A folder whose end tokens alone changed has the digest it had, and yet the new
// ones are what requests get.
func TestEndTokensAloneChange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	load := func(_ context.Context, s Source) (Adapter, error) {
		ends, err := os.ReadFile(filepath.Join(s.Dir, configName))
		return &fakeAdapter{digest: "same", bytes: 100, ends: []int32{int32(ends[0])}}, err
	}
	c, err := NewCatalogue(load, CatalogueOptions{Dir: filepath.Dir(dir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for _, text := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, configName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		e, err := c.Load(t.Context(), "x")
		if err != nil || !reflect.DeepEqual(e.Adapter.EndTokens(), []int32{int32(text[0])}) {
			t.Fatalf("%+v, %v", e, err)
		}
	}
}

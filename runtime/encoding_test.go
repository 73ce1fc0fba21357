package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// compared is an answer's number of rows, what a golden has of them, and which those are.
type compared struct {
	rows   int
	golden kernels.Matrix
	kept   func(all kernels.Matrix) kernels.Matrix
}

// encodings are requests for the hidden states and the pooled rows of the golden
// texts of a base's adapters and of its own.
func encodings(t *testing.T, base string) (calls []*call, want []compared) {
	t.Helper()
	add := func(adapter, path string) {
		for _, text := range modeltest.Texts(t, path) {
			for _, what := range []struct {
				encoding Encoding
				compared
			}{{EncodeTokens, compared{len(text.Tokens), text.Hidden, text.Kept}}, {EncodePooled, compared{1, text.Pooled, modeltest.Text{}.Kept}}} {
				if what.golden.Empty() {
					continue
				}
				calls = append(calls, &call{Request{
					Prompt: text.Tokens, Types: text.Types, Encode: what.encoding, Logprobs: -1, PromptLogprobs: -1,
				}, adapter})
				want = append(want, what.compared)
			}
		}
	}
	add("", modeltest.Goldens(t, base, "golden.safetensors"))
	adapters, err := filepath.Glob(modeltest.Goldens(t, base, "adapters", "*", "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range adapters {
		add(filepath.Base(filepath.Dir(path)), path)
	}
	return calls, want
}

// encoded runs the calls and returns what each was given.
func (g *golden) encoded(e *Engine, calls []*call, arrive func(int) int) (all []kernels.Matrix) {
	g.t.Helper()
	for i, a := range g.run(e, calls, arrive) {
		if a.err != nil || a.finish != FinishLength {
			g.t.Fatalf("call %d, adapter %q: %q, %v", i, calls[i].adapter, a.finish, a.err)
		}
		all = append(all, a.encoded)
	}
	return all
}

// TestEncodings holds what the engine answers against transformers and PEFT, every
// adapter in one engine, and its bits against those of a request alone.
func TestEncodings(t *testing.T) {
	for _, base := range modeltest.Encoders(t) {
		t.Run(base, func(t *testing.T) {
			g := openGolden(t, base)
			calls, want := encodings(t, base)
			var alone []kernels.Matrix
			for i, c := range calls {
				got := g.encoded(g.engine(1, Options{}), []*call{c}, nil)[0]
				if got.Rows != want[i].rows {
					t.Fatalf("call %d, adapter %q: %d rows, want %d", i, c.adapter, got.Rows, want[i].rows)
				}
				if d := modeltest.MaxDifference(want[i].kept(got), want[i].golden); !(d <= 1e-4) {
					t.Errorf("call %d, adapter %q: off by %.3g", i, c.adapter, d)
				}
				alone = append(alone, got)
			}
			for _, o := range []struct {
				name    string
				threads int
				options Options
				arrive  func(int) int
			}{
				{"as many as fit", 2, Options{}, nil},
				{"one at a time", 1, Options{StepTokens: 1}, nil},
				{"small steps", 2, Options{StepTokens: 50}, func(i int) int { return i / 3 }},
				{"three slots", 1, Options{Slots: 3}, nil},
			} {
				e := g.engine(o.threads, o.options)
				for i, got := range g.encoded(e, calls, o.arrive) {
					for r := range got.Rows {
						for c, v := range got.Row(r) {
							if v != alone[i].Row(r)[c] {
								t.Fatalf("%s: call %d, adapter %q: row %d differs from its run alone", o.name, i, calls[i].adapter, r)
							}
						}
					}
				}
				steps := e.Snapshot().Steps
				if steps > uint64(len(calls)) || o.options.StepTokens == 1 && steps != uint64(len(calls)) {
					t.Errorf("%s: %d steps for %d texts", o.name, steps, len(calls))
				}
			}
		})
	}
}

// TestEncodingBesideGeneration: a base that generates gives hidden states too, in the
// batches of the others, whatever they are cut to.
func TestEncodingBesideGeneration(t *testing.T) {
	g := openGolden(t, "llama-gqa")
	list := requests(len(kinds), g.m.Config().Vocabulary)
	for i, r := range list {
		if i%2 == 1 {
			r.Request = Request{Prompt: r.Prompt, Encode: EncodeTokens, Logprobs: -1, PromptLogprobs: -1}
		}
	}
	var alone []answer
	for _, r := range list {
		alone = append(alone, g.run(g.engine(1, Options{NoPrefixCache: true}), []*call{r}, nil)[0])
	}
	for _, o := range []Options{{}, {StepTokens: 9}, {CacheBlocks: 7}} {
		for i, a := range g.run(g.engine(2, o), list, func(i int) int { return i }) {
			same(t, fmt.Sprintf("%+v: request %d, adapter %q", o, i, list[i].adapter), a, alone[i])
			if i%2 == 1 && a.encoded.Rows != len(list[i].Prompt) {
				t.Errorf("request %d: %d rows of %d", i, a.encoded.Rows, len(list[i].Prompt))
			}
		}
	}
}

// TestWhatABaseDoesNotDo: requests for it are refused by name.
func TestWhatABaseDoesNotDo(t *testing.T) {
	encoder, unpooled, decoder := openGolden(t, "encoders/bert"), openGolden(t, "encoders/bert-masked"), openGolden(t, "llama-gqa")
	tokens := []int32{7, 8, 9}
	for _, c := range []struct {
		g    *golden
		r    Request
		kind error
		want string
	}{
		{encoder, Request{MaxTokens: 4, PromptLogprobs: -1}, models.ErrTask, "BertModel is not a model that generates text; it encodes texts into hidden states"},
		{encoder, Request{PromptLogprobs: 0}, models.ErrTask, "BertModel"},
		{encoder, Request{Encode: EncodeTokens, MaxTokens: 1, PromptLogprobs: -1}, ErrPrompt, "beside text"},
		{encoder, Request{Encode: EncodeTokens, Types: []int32{0, 1}, PromptLogprobs: -1}, ErrPrompt, "2 token types for 3 tokens"},
		{encoder, Request{Encode: EncodeTokens, Types: []int32{0, 1, 3}, PromptLogprobs: -1}, ErrPrompt, "the type of token 2 is 3, and the base has 3"},
		{encoder, Request{Encode: EncodeTokens, Types: []int32{0, -1, 0}, PromptLogprobs: -1}, ErrPrompt, "the type of token 1 is -1"},
		{encoder, Request{Encode: 9, PromptLogprobs: -1}, ErrPrompt, "encoding 9"},
		{unpooled, Request{Encode: EncodePooled, PromptLogprobs: -1}, models.ErrTask, "no pooler"},
		{decoder, Request{Encode: EncodePooled, PromptLogprobs: -1}, models.ErrTask, "no pooler"},
		{decoder, Request{Encode: EncodeTokens, Types: []int32{0, 1, 0}, PromptLogprobs: -1}, ErrPrompt, "the base has 0"},
	} {
		c.r.Prompt = tokens
		e := c.g.engine(1, Options{})
		_, err := e.Submit(context.Background(), &c.r)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.r, err)
		}
		e.pool.Close()
	}
	long := make([]int32, encoder.m.Config().Context+1)
	e := encoder.engine(1, Options{})
	defer e.pool.Close()
	if _, err := e.Submit(context.Background(), &Request{Prompt: long, Encode: EncodeTokens, PromptLogprobs: -1}); !errors.Is(err, ErrPrompt) {
		t.Errorf("a text that is too long: %v", err)
	}
}

package training

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// openLabels opens one of the bases of testdata/goldens/labels, with another
// template if source is not empty.
func openLabels(t *testing.T, name, source string) *Opened {
	t.Helper()
	base, err := Open(modeltest.Goldens(t, "labels", name), BaseConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	if source != "" {
		if base.Chat, err = chat.New(source); err != nil {
			t.Fatal(err)
		}
		base.Chat = base.Chat.WithTokens(base.Tokenizer)
	}
	return base
}

// encoded are the sequences of rows.
func encoded(t *testing.T, base *Opened, rows ...string) []Sequence {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(rows, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	set, err := dataset.Open([]string{path}, base.encoder(512), dataset.Options{Format: "auto", Columns: goldenColumns, Chat: base.conversations("all", time.Time{})})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	all := make([]Sequence, set.Len())
	for i := range all {
		if all[i], err = set.Sequence(i); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestSpecialTokens: what a template names and what it spells out are the same
// to training, and no token that begins or ends a text is there twice.
func TestSpecialTokens(t *testing.T) {
	const talk = `{"messages":[{"role":"user","content":"What is"},{"role":"assistant","content":"Paris"}]}`
	chatML := func(begin, end string) string {
		return begin + `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}` + end + `{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`
	}
	for _, c := range []struct {
		base, named, spelt string
		begins             bool
	}{
		{"bytes", chatML("", "{{ eos_token }}"), chatML("", "<|im_end|>"), false},
		{"bytes-bos", chatML("", "{{ eos_token }}"), chatML("", "<|im_end|>"), false}, // as the server and transformers render it
		{"bytes-bos", chatML("{{ bos_token }}", "{{ eos_token }}"), chatML("<s>", "<|im_end|>"), true},
	} {
		named, spelt := openLabels(t, c.base, c.named), openLabels(t, c.base, c.spelt)
		a, b := encoded(t, named, talk)[0], encoded(t, spelt, talk)[0]
		if !slices.Equal(a.Tokens, b.Tokens) || !slices.Equal(a.Targets, b.Targets) {
			t.Errorf("%s: %v and %v", c.named, a, b)
		}
		eos, _ := named.Tokenizer.EOS()
		if !slices.Contains(a.Targets, eos) {
			t.Errorf("%s: the end of a turn is not learnt: %v", c.named, a)
		}
		bos, _ := named.Tokenizer.ID("<s>")
		if begins := a.Tokens[0] == bos; begins != c.begins || slices.Contains(a.Tokens[1:], bos) {
			t.Errorf("%s: %v", c.named, a.Tokens)
		}
	}
	base := openLabels(t, "bytes-bos", "")
	rows := encoded(t, base,
		`{"prompt":"What is","completion":" the capital"}`, `{"prompt":"<s>What is","completion":" the capital"}`,
		`{"prompt":"What is","completion":" the capital<|im_end|>"}`)
	for _, r := range rows[1:] {
		if !slices.Equal(r.Tokens, rows[0].Tokens) || !slices.Equal(r.Targets, rows[0].Targets) {
			t.Errorf("%v, want %v", r, rows[0])
		}
	}
}

// TestTokenBeyondTheEmbedding: a token that the base has no row for is an error
// of the line that it is on, before training.
func TestTokenBeyondTheEmbedding(t *testing.T) {
	from, dir := modeltest.Goldens(t, "labels", "bytes"), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tokenizer.json")
	var file map[string]any
	readJSON(t, path, &file)
	file["added_tokens"] = append(file["added_tokens"].([]any), map[string]any{
		"id": 400, "content": "<new>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
	})
	b, err := json.Marshal(file)
	if err == nil {
		err = os.WriteFile(path, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	base, err := Open(dir, BaseConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	c := tinyConfig(t, "lora")
	for name, flag := range map[string]func(){
		"--data":       func() {},
		"--validation": func() { c.Validation, c.Data = c.Data, []string{filepath.Join(t.TempDir(), "good.jsonl")} },
	} {
		flag()
		good, bad := `{"prompt":"What","completion":" is"}`+"\n", `{"prompt":"What","completion":" <new>"}`+"\n"
		for _, p := range c.Data {
			err = errors.Join(err, os.WriteFile(p, []byte(good+good), 0o644))
		}
		broken := append(slices.Clone(c.Validation), c.Data...)[0]
		if err = errors.Join(err, os.WriteFile(broken, []byte(good+bad), 0o644)); err != nil {
			t.Fatal(err)
		}
		r, err := NewRun(c, base, &quiet{})
		want := name + ": " + broken + `:2: token 400 ("<new>") is none of the base's embedding, which has 372 rows`
		if err == nil {
			r.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		c = tinyConfig(t, "lora")
	}
}

// TestDateStandsStill: a template that writes the time writes that at which the
// run began, to its end and after it was interrupted.
func TestDateStandsStill(t *testing.T) {
	base := openLabels(t, "bytes", `{{ strftime_now('%H:%M:%S.%f') }}{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`)
	c := tinyConfig(t, "lora")
	c.Columns = goldenColumns
	c.MaxLength, c.MaxSteps = 128, 4
	talk := `{"messages":[{"role":"user","content":"What is"},{"role":"assistant","content":"Paris"}]}` + "\n"
	if err := os.WriteFile(c.Data[0], []byte(strings.Repeat(talk, 8)), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(stopAt int) (*Run, error) {
		q := &quiet{stopAt: stopAt}
		r, err := NewRun(c, base, q)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		q.stop = stop
		_, err = r.Do(ctx)
		return r, err
	}
	first, err := run(2)
	if !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	c.Resume = Resume{On: true}
	second, err := run(0)
	if err != nil {
		t.Fatal(err)
	}
	if !second.now.Equal(first.now) || second.train.Report().Digest != first.train.Report().Digest {
		t.Errorf("begun at %v with data %s, gone on with %v and %s", first.now, first.train.Report().Digest, second.now, second.train.Report().Digest)
	}
}

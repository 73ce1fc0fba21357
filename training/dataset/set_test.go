package dataset

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/modeltest"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// letters is a tokenizer with a token for each character.
func letters(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	vocabulary := map[string]int{"<s>": 0, "</s>": 1}
	for c := ' '; c <= '~'; c++ {
		vocabulary[string(c)] = len(vocabulary)
	}
	vocabulary["\n"], vocabulary["é"] = len(vocabulary), len(vocabulary)+1
	special := []map[string]any{}
	for i, s := range []string{"<s>", "</s>"} {
		special = append(special, map[string]any{"id": i, "content": s, "special": true,
			"single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
	}
	b, err := json.Marshal(map[string]any{
		"added_tokens": special,
		"model":        map[string]any{"type": "BPE", "vocab": vocabulary, "merges": []string{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromJSON(b)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func encoder(t testing.TB, length int) *Encoder {
	return &Encoder{Tokenizer: letters(t), End: 1, Vocabulary: 100, MaxLength: length}
}

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string, length int, o Options) *Set {
	t.Helper()
	if o.Format == "" {
		o.Format = "auto"
	}
	o.Columns = columns
	s, err := Open([]string{path}, encoder(t, length), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var columns = Columns{
	Prompt: "prompt", Completion: "completion", Instruction: "instruction", Input: "input", Output: "output", Messages: "messages", Text: "text",
}

// said is a sequence as text, what is learnt in brackets.
func said(t testing.TB, s Sequence) string {
	tok := letters(t)
	var b strings.Builder
	learning := false
	for i, id := range s.Tokens {
		learn := i > 0 && s.Targets[i-1] >= 0
		if learn != learning {
			b.WriteString(map[bool]string{true: "[", false: "]"}[learn])
			learning = learn
		}
		b.WriteString(tok.Token(id))
	}
	if learning {
		b.WriteString("]")
	}
	return b.String()
}

func TestKindsOfFile(t *testing.T) {
	want := []string{`q 1[one, "two"</s>]`, "q 2[a\nb</s>]"}
	for name, content := range map[string]string{
		"a.jsonl": "{\"prompt\": \"q 1\", \"completion\": \"one, \\\"two\\\"\"}\n\n{\"prompt\": \"q 2\", \"completion\": \"a\\nb\"}",
		"a.json":  "[\n {\"prompt\": \"q 1\", \"completion\": \"one, \\\"two\\\"\"},\n {\"prompt\": \"q 2\",\n  \"completion\": \"a\\nb\"}\n]\n",
		"a.csv":   "prompt,completion\nq 1,\"one, \"\"two\"\"\"\nq 2,\"a\nb\"\n",
	} {
		s := open(t, write(t, name, content), 100, Options{})
		var got []string
		for i := range s.Len() {
			q, err := s.Sequence(i)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, said(t, q))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestQuotesAreLiteral: TSV knows no quoting.
func TestQuotesAreLiteral(t *testing.T) {
	s := open(t, write(t, "a.tsv", "prompt\tcompletion\n\"a\tb\" c\n"), 100, Options{})
	if q, _ := s.Sequence(0); said(t, q) != `"a[b" c</s>]` {
		t.Errorf("got %q", said(t, q))
	}
}

func TestFormats(t *testing.T) {
	template, err := chat.New("{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}")
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		`{"text": "once"}`:                      "o[nce</s>]",
		`{"instruction": "add", "output": "3"}`: "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nadd\n\n### Response:\n[3</s>]",
		`{"prompt": 1, "completion": true}`:     "1[true</s>]",
		`{"messages": [{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}`: "<user>a;<assistant>[b;]<user>c;<assistant>[d;]",
		`{"conversations": [{"from":"system","value":"s"},{"from":"human","value":"a"},{"from":"gpt","value":"b"}]}`:                                        "<system>s;<user>a;<assistant>[b;]",
		`{"conversations": [{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`:                                                             "<user>a;<assistant>[b;]",
	} {
		s := open(t, write(t, "a.jsonl", content), 300, Options{Chat: Chat{Template: template}})
		if q, err := s.Sequence(0); err != nil || said(t, q) != want {
			t.Errorf("%s: %q (%v), want %q", content, said(t, q), err, want)
		}
	}
}

// TestFaultsNameFileAndLine: a bad row stops everything, before training.
func TestFaultsNameFileAndLine(t *testing.T) {
	good := "{\"prompt\": \"a\", \"completion\": \"b\"}\n"
	for _, c := range []struct{ name, content, want string }{
		{"a.jsonl", good + "\n{\"prompt\": \"a\"}\n", "a.jsonl:3: column \"completion\" is missing"},
		{"a.jsonl", good + "{\"prompt\": \"a\", \n", "a.jsonl:2: not a JSON object"},
		{"a.jsonl", good + "{\"prompt\": \"a\", \"completion\": [1]}\n", "a.jsonl:2: column \"completion\" is no text"},
		{"a.json", "[" + good + ",\n\n{\"prompt\": \"a\"}]", "a.json:4: column \"completion\" is missing"},
		{"a.json", "[" + good + ",\n{\"prompt\": ]", "a.json:3"},
		{"a.csv", "prompt,completion\na,b\nc\n", "a.csv:3: wrong number of fields"},
		{"a.tsv", "prompt\tcompletion\na\tb\nc\n", "a.tsv:3: 1 columns, want 2"},
		{"a.jsonl", good + "{\"prompt\": \"a\", \"completion\": \"b\", \"id\": 1}\n{\"x\": 1}", "a.jsonl:3"},
		{"a.jsonl", "{\"x\": 1}\n", "a.jsonl:1: no format fits the columns x"},
		{"a.jsonl", "", "a.jsonl: no records"},
		{"a.parquet", "PAR1", "a.parquet: the kind of file is not known"},
	} {
		_, err := Open([]string{write(t, c.name, c.content)}, encoder(t, 50), Options{Format: "auto", Columns: columns})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.content, err, c.want)
		}
	}
}

func TestTooLong(t *testing.T) {
	path := write(t, "a.jsonl", `{"prompt": "<s>0123456789", "completion": "abc"}`)
	for length, want := range map[int]string{20: "<s>0123456789[abc</s>]", 10: "<s>56789[abc</s>]", 4: "<s>9[ab]"} {
		s := open(t, path, length, Options{})
		if q, _ := s.Sequence(0); said(t, q) != want {
			t.Errorf("%d tokens: %q, want %q", length, said(t, q), want)
		}
		if cut := s.Report().Cut; cut == 1 != (length < 15) {
			t.Errorf("%d tokens: %d records are reported as cut", length, cut)
		}
	}
}

// windows are the sequences of each window as text.
func windows(t *testing.T, s *Set) (all [][]string) {
	t.Helper()
	for i := range s.Len() {
		sequences, err := s.Sequences(i)
		if err != nil {
			t.Fatal(err)
		}
		var own []string
		for k, q := range sequences {
			own = append(own, said(t, q))
			if size := (&Order{Set: s}).Sizes(i)[k]; size != (Size{q.Last() + 1, q.Labels()}) {
				t.Errorf("sequence %d of window %d has %d rows and %d labels, measured as %+v", k, i, q.Last()+1, q.Labels(), size)
			}
		}
		all = append(all, own)
	}
	return all
}

// TestPacking: texts stay whole, each in the fullest window with room for it,
// and the last window is kept though it is short. A text without a prompt that
// is longer than a window goes on in another.
func TestPacking(t *testing.T) {
	for _, c := range []struct {
		content string
		length  int
		want    [][]string
	}{
		{"abc\n\nde\n\n\nf\n\nghi\n", 7, [][]string{{"a[bc</s>]", "d[e</s>]"}, {"f[</s>]", "g[hi</s>]"}}},
		{"abc\n\nde\n\n\nf\n\nghi\n", 100, [][]string{{"a[bc</s>]", "d[e</s>]", "f[</s>]", "g[hi</s>]"}}},
		{"abcdefgh\n\ni\n", 4, [][]string{{"a[bcd]"}, {"e[fgh]"}, {"i[</s>]"}}}, // what follows d and h is learnt too
	} {
		s := open(t, write(t, "a.txt", c.content), c.length, Options{Pack: true})
		if got := windows(t, s); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d tokens: %q, want %q", c.length, got, c.want)
		}
	}
	s := open(t, write(t, "a.txt", "abcdefgh\n"), 4, Options{Pack: true})
	if s.Report().Labels != 8 || s.Report().Cut != 0 {
		t.Errorf("of 9 tokens 8 predict the next, not %d", s.Report().Labels)
	}
}

// TestPackedRecords: what is packed are the sequences that there would be
// unpacked, each once.
func TestPackedRecords(t *testing.T) {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "{\"prompt\": %q, \"completion\": %q}\n", strings.Repeat("q", i*7%13+1), strings.Repeat("a", i*5%17+1))
	}
	path := write(t, "a.jsonl", b.String())
	for _, length := range []int{8, 20, 33, 64, 1000} {
		plain := open(t, path, length, Options{})
		var want, got []string
		for i := range plain.Len() {
			q, err := plain.Sequence(i)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, said(t, q))
		}
		tokens := 0
		packed := open(t, path, length, Options{Pack: true})
		for _, w := range windows(t, packed) {
			got = append(got, w...)
		}
		for i := range packed.Len() {
			sequences, _ := packed.Sequences(i)
			n := 0
			for _, q := range sequences {
				n += len(q.Tokens)
			}
			if tokens += n; n > length {
				t.Errorf("a window of %d tokens has %d", length, n)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) || tokens != plain.Report().Tokens || packed.Report().Tokens != tokens {
			t.Errorf("%d tokens: %d sequences of %d tokens, want %d of %d", length, len(got), tokens, len(want), plain.Report().Tokens)
		}
		if least := (tokens + length - 1) / length; packed.Len() > least+least/8+1 {
			t.Errorf("%d windows of %d tokens, %d would hold them all", packed.Len(), length, least)
		}
	}
}

func TestOrder(t *testing.T) {
	var b strings.Builder
	for c := 'a'; c <= 'z'; c++ {
		b.WriteString("{\"prompt\": \"" + string(c) + "\", \"completion\": \"x\"}\n")
	}
	s := open(t, write(t, "a.jsonl", b.String()), 50, Options{})
	epoch := func(o Order, from int) string {
		var text strings.Builder
		for i := range s.Len() {
			q, err := o.At(from + i)
			if err != nil {
				t.Fatal(err)
			}
			text.WriteString(letters(t).Token(q[0].Tokens[0]))
		}
		return text.String()
	}
	const alphabet = "abcdefghijklmnopqrstuvwxyz"
	if got := epoch(Order{Set: s}, 26); got != alphabet {
		t.Errorf("unshuffled: %s", got)
	}
	first, second := epoch(Order{Set: s, Seed: 1, Shuffle: true}, 0), epoch(Order{Set: s, Seed: 1, Shuffle: true}, 26)
	if first == second || first == alphabet || epoch(Order{Set: s, Seed: 1, Shuffle: true}, 0) != first {
		t.Errorf("shuffled: %s, then %s", first, second)
	}
	sorted := []byte(second)
	slices.Sort(sorted)
	if string(sorted) != alphabet {
		t.Errorf("an epoch is %s", second)
	}
	held, err := s.Split(0.25, 7)
	if err != nil || held.Len() != 6 || s.Len() != 20 {
		t.Errorf("split into %d and %d: %v", s.Len(), held.Len(), err)
	}
}

// TestGLUE reads the real files: every row has a prompt and an answer that
// ends the text.
func TestGLUE(t *testing.T) {
	for task, c := range map[string]struct {
		dir        string
		train, dev int
	}{"sst2": {"SST-2", 67349, 872}, "cola": {"CoLA", 8551, 1043}, "rte": {"RTE", 2490, 277}, "stsb": {"STS-B", 5749, 1500}} {
		dir := modeltest.Shared(t, "data", "glue", c.dir)
		k, err := NewTask(task)
		if err != nil {
			t.Fatal(err)
		}
		train, dev := k.Files(dir)
		for path, n := range map[string]int{train: c.train, dev: c.dev} {
			s, err := Open([]string{path}, encoder(t, 4096), Options{Task: k, Header: k.Header})
			if err != nil {
				t.Error(err)
				continue
			}
			if s.Len() != n {
				t.Errorf("%s: %d examples, want %d", path, s.Len(), n)
			}
			x, err := s.Example(n - 1)
			if err != nil || x.Prompt() == "" || !slices.Contains(k.Answers, x.Answer()) || !x.Ends {
				t.Errorf("%s: %+v, %v", path, x, err)
			}
			s.Close()
		}
	}
}

func FuzzRecords(f *testing.F) {
	for _, name := range []string{".jsonl", ".json", ".csv", ".tsv", ".txt"} {
		f.Add(name, []byte("prompt,completion\na,b\n"))
		f.Add(name, []byte(`[{"prompt": "a", "completion": "b"}]`))
		f.Add(name, []byte(`[{"messages": [{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0},{"role":"user","content":[{"type":"text","text":"c"}]},{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{}"}}]}], "tools": "[]", "system": "s"}]`))
		f.Add(name, []byte(`[{"conversations": [{"from":"human","value":"a"},{"from":"gpt","value":"b","train":true}]}]`))
		f.Add(name, []byte(`[{"prompt": [{"role":"user","content":"a"}], "completion": [{"role":"assistant","content":"b"}], "chat_template_kwargs": {"x": 1}}]`))
	}
	e := encoder(f, 32)
	template := conversations(f, lastThinks, "all").Template
	f.Fuzz(func(t *testing.T, ext string, content []byte) {
		if !slices.Contains(Extensions, ext) {
			return
		}
		path := filepath.Join(t.TempDir(), "x"+ext)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Skip(err)
		}
		s, err := Open([]string{path}, e, Options{Format: "auto", Columns: columns, Chat: Chat{Template: template, Turns: "all"}, Pack: len(content)%2 == 0})
		if err != nil {
			return
		}
		defer s.Close()
		for i := range min(s.Len(), 10) {
			sequences, err := s.Sequences(i)
			if err != nil {
				t.Fatal(err)
			}
			for k, q := range sequences {
				if size := (&Order{Set: s}).Sizes(i)[k]; len(q.Tokens) != len(q.Targets) || q.Labels() == 0 || size != (Size{q.Last() + 1, q.Labels()}) {
					t.Fatalf("sequence %d of %d: %d tokens, %d targets, measured as %+v", k, i, len(q.Tokens), len(q.Targets), size)
				}
			}
		}
	})
}

// TestTokensWithoutCharacters belong to what follows them or, at the end of the
// text, to what is before: a vocabulary that puts a space before what follows a
// special token has them.
func TestTokensWithoutCharacters(t *testing.T) {
	type spans = [][2]int
	made := func(pairs spans) (all []tokenizer.Span) {
		for _, p := range pairs {
			all = append(all, tokenizer.Span{Start: p[0], End: p[1]})
		}
		return all
	}
	for _, c := range []struct {
		tokens, learnt spans
		want           []bool
	}{
		{spans{{0, 4}, {4, 5}, {5, 5}}, spans{{4, 5}}, []bool{false, true, true}},
		{spans{{0, 4}, {4, 5}, {5, 5}}, spans{{0, 4}}, []bool{true, false, false}},
		{spans{{0, 4}, {4, 4}, {4, 5}}, spans{{4, 5}}, []bool{false, true, true}},
		{spans{{0, 4}, {4, 4}, {4, 5}}, spans{{0, 4}}, []bool{true, false, false}},
	} {
		learn := make([]bool, len(c.tokens))
		if bySpans(learn, made(c.tokens), made(c.learnt), 5); !slices.Equal(learn, c.want) {
			t.Errorf("%v of %v: %v, want %v", c.learnt, c.tokens, learn, c.want)
		}
	}
}

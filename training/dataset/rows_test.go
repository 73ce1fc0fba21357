package dataset

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/chat"
)

// TestBadRows demands that whatever is wrong with a row is an error that names
// the file and the line.
func TestBadRows(t *testing.T) {
	const good = `{"prompt":"a","completion":"b"}` + "\n"
	const talk = `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}` + "\n"
	template, err := chat.New("{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, content, want string }{
		{"syntax.jsonl", good + `{"prompt":"a",` + "\n" + good, ":2: not a JSON object"},
		{"two.jsonl", good + strings.TrimSpace(good) + good, ":2: not a JSON object"},
		{"array.jsonl", good + "[1]\n", ":2: want a JSON object, not this array: [1]"},
		{"text.jsonl", good + `"x"` + "\n", ":2: want a JSON object, not this string"},
		{"null.jsonl", good + "null\n", ":2: want a JSON object, not null"},
		{"missing.jsonl", good + `{"prompt":"a"}`, `:2: column "completion" is missing (the row has prompt)`},
		{"nothing.jsonl", good + `{"prompt":"a","completion":null}`, `:2: column "completion" is null`},
		{"kind.jsonl", good + `{"prompt":["a"],"completion":"b"}`, `:2: column "prompt" is no text`},
		{"empty.jsonl", good + `{"prompt":"a","completion":""}`, `:2: column "completion" is empty`},
		{"blank.jsonl", "\n" + good + `{"prompt":"a","completion":" \n"}`, `:3: column "completion" is empty`},
		{"bytes.jsonl", good + "{\"prompt\":\"a\xff\",\"completion\":\"b\"}\n", ":2: not UTF-8 at byte 12 of the record: ff"},
		{"utf16.jsonl", "\xff\xfe{\x00", ":1: not UTF-8"},
		{"cut.json", "[" + good + ",\n" + good, ":4: the file ends before its array does"},
		{"half.json", "[" + good + ",\n" + `{"prompt":"a","compl`, ":3: the file ends before its array does"},
		{"after.json", "[" + good + "]\nxx", ":3: invalid character 'x'"},
		{"more.json", "[" + good + "]\n[]", ":3: [ follows the array"},
		{"number.json", "[" + good + ",\n\n3]", ":4: want a JSON object, not this number"},
		{"comma.json", "[" + good + `,{"prompt":"a",,}]`, ":2: invalid character ','"},
		{"lines.json", good + `{"prompt":"a"}`, `:2: column "completion" is missing`},
		{"wide.csv", "prompt,completion\n\"a\nb\",c\na,b,c\n", ":4: wrong number of fields"},
		{"quote.csv", "prompt,completion\na,b\n\"a,b\n", ":3: extraneous or missing"},
		{"bare.csv", "prompt,completion\na,b\na\"x,b\n", ":3: bare"},
		{"twice.csv", "prompt,completion,prompt\na,b,c\n", `:1: there are two columns "prompt"`},
		{"bytes.csv", "prompt,completion\na,b\na\xff,b\n", ":3: not UTF-8"},
		{"empty.csv", "prompt,completion\n\"a\nb\",c\na,\n", `:4: column "completion" is empty`},
		{"narrow.tsv", "prompt\tcompletion\na\tb\na\n", ":3: 1 columns, want 2"},
		{"bytes.tsv", "prompt\tcompletion\na\tb\n\xff\tb\n", ":3: not UTF-8"},
		{"bytes.txt", "hello\n\nx\n\xff\n", ":3: not UTF-8"},
		{"text.jsonl", `{"text":"hello"}` + "\n" + `{"text":""}`, `:2: column "text" is empty`},
		{"instruction.jsonl", `{"instruction":"a","output":"b"}` + "\n" + `{"instruction":"a","output":" "}`, `:2: column "output" is empty`},
		{"silent.jsonl", talk + `{"messages":[{"role":"user","content":"a"}]}`, ":2: no message is the assistant's"},
		{"user.jsonl", talk + `{"messages":[{"role":"user"},{"role":"assistant","content":"b"}]}`, `:2: column "messages": message 0, of the user, is empty`},
		{"assistant.jsonl", talk + `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":""}]}`, ":2: column \"messages\": message 1, of the assistant, is empty"},
		{"list.jsonl", talk + `{"messages":"a"}`, `:2: column "messages" is no list of messages: "a"`},
		{"from.jsonl", `{"conversations":[{"from":"bard","value":"a"}]}`, `:1: column "conversations": a message is from "bard", not from assistant, gpt`},
		{"value.jsonl", `{"conversations":[{"from":"human","value":["a"]}]}`, `:1: column "conversations" is no list of messages`},
		{"role.jsonl", talk + `{"messages":[{"content":"a"}]}`, ":2: column \"messages\": a message has no role"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		o := Options{Format: "auto", Columns: columns}
		o.Template = template
		s, err := Open([]string{path}, encoder(t, 64), o)
		if err == nil {
			t.Errorf("%q passed", c.content)
			s.Close()
			continue
		}
		if !strings.Contains(err.Error(), path+c.want) {
			t.Errorf("%q: %v\nwant %s", c.content, err, c.want)
		}
	}
}

// TestFormsOfJSON reads the same rows from an array, with a mark of the byte
// order before it, and from lines.
func TestFormsOfJSON(t *testing.T) {
	for _, content := range []string{
		`[{"prompt":"a","completion":"b"}, {"prompt":"c","completion":"d"}]`,
		"\ufeff[{\"prompt\":\"a\",\"completion\":\"b\"},\r\n{\"prompt\":\"c\",\"completion\":\"d\"}\r\n]\r\n",
		"{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"c\",\"completion\":\"d\"}\n",
		"\ufeff{\"prompt\":\"a\",\"completion\":\"b\"}\r\n{\"prompt\":\"c\",\"completion\":\"d\"}",
	} {
		path := filepath.Join(t.TempDir(), "rows.json")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Open([]string{path}, encoder(t, 64), Options{Format: "auto", Columns: columns})
		if err != nil {
			t.Errorf("%q: %v", content, err)
			continue
		}
		if x, err := s.Example(1); err != nil || x.Prompt() != "c" || x.Answer() != "d" {
			t.Errorf("%q: %+v %v", content, x, err)
		}
		s.Close()
	}
}

// TestSplitOfPackedSet: what is packed for training is validated example by
// example, as many as were held out.
func TestSplitOfPackedSet(t *testing.T) {
	path := write(t, "a.jsonl", strings.Repeat(`{"prompt":"what is it","completion":"a long answer"}`+"\n", 8))
	s := open(t, path, 6, Options{Pack: true})
	held, err := s.Split(0.25, 1)
	if err != nil {
		t.Fatal(err)
	}
	if held.Len() != 2 || s.Len() < 8 {
		t.Errorf("%d examples held out of 8, %d windows left", held.Len(), s.Len())
	}
	for i := range held.Len() {
		if x, err := held.Example(i); err != nil || x.Answer() != "a long answer" {
			t.Errorf("%+v %v", x, err)
		}
		if q, err := held.Sequence(i); err != nil || len(q.Tokens) > 6 {
			t.Errorf("%+v %v", q, err)
		}
	}
}

// TestPackedPrompts leaves out the windows in which there is nothing to learn,
// and knows the others' sizes.
func TestPackedPrompts(t *testing.T) {
	path := write(t, "a.jsonl", `{"prompt":"0123456789012345678","completion":"a"}`+"\n"+`{"prompt":"q","completion":"bc"}`+"\n")
	s := open(t, path, 5, Options{Pack: true})
	if s.Len() != 2 || s.Report().Blank != 3 {
		t.Fatalf("%d sequences, %d left out", s.Len(), s.Report().Blank)
	}
	for i, want := range []string{"5678[a]", "</s>q[bc</s>]"} {
		if q, err := s.Sequence(i); err != nil || !strings.HasSuffix(said(t, q), want[len(want)-4:]) {
			t.Errorf("%q %v, want %q", said(t, q), err, want)
		}
	}
	for _, n := range []int{2, 3, 4, 7, 24} {
		s := open(t, path, n, Options{Pack: true})
		for i := range s.Len() {
			q, err := s.Sequence(i)
			if err != nil || q.Labels() == 0 {
				t.Errorf("length %d, sequence %d: %v %v", n, i, q, err)
			}
			if rows, labels := (&Order{Set: s}).Size(i); rows != q.Last()+1 || labels != q.Labels() {
				t.Errorf("length %d, sequence %d has %d rows and %d labels, measured as %d and %d", n, i, q.Last()+1, q.Labels(), rows, labels)
			}
		}
	}
}

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
		{"twice.jsonl", good + `{"prompt":"a","completion":"b","prompt":"c"}`, ":2: key \"prompt\" is there twice"},
		{"twice.json", "[" + `{"messages":[{"role":"user","content":"a"},` + "\n" + `{"role":"assistant","content":"b","content":"c"}]}]`, ":1: key \"content\" is there twice in \"messages\""},
		{"half.jsonl", good + `{"prompt":"\\ud83c","completion":"\ud83c\udf33 \udf33"}`, `:2: \udf33 is half of a character`},
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
		{"user.jsonl", talk + `{"messages":[{"role":"user"},{"role":"assistant","content":"b"}]}`, `:2: column "messages": message 0: the user says nothing`},
		{"assistant.jsonl", talk + `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":""}]}`, ":2: column \"messages\": message 1: the assistant says nothing"},
		{"list.jsonl", talk + `{"messages":"a"}`, `:2: column "messages" is no list of messages: "a"`},
		{"from.jsonl", `{"conversations":[{"from":"bard","value":"a"}]}`, `:1: column "conversations": message 0: it is from "bard", not from assistant, gpt`},
		{"value.jsonl", `{"conversations":[{"from":"human","value":["a"]}]}`, `:1: column "conversations": message 0: value is no text: ["a"]`},
		{"weight.jsonl", talk + `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0.5}]}`, `:2: column "messages": message 1: weight is 0.5, want 0 or 1`},
		{"weights.jsonl", talk + `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0}]}`, ":2: no turn of the assistant's is to be learnt"},
		{"train.jsonl", talk + `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","train":"no"}]}`, `:2: column "messages": message 1: train is "no", want true or false`},
		{"learnuser.jsonl", talk + `{"messages":[{"role":"user","content":"a","train":true},{"role":"assistant","content":"b"}]}`, `:2: column "messages": message 0: its weight asks for the user's turn to be learnt`},
		{"key.jsonl", talk + `{"messages":[{"role":"user","content":"a","mood":"bad"},{"role":"assistant","content":"b"}]}`, `:2: column "messages": message 0: key "mood" is read neither here nor`},
		{"unknownrole.jsonl", talk + `{"messages":[{"role":"user","content":"a"},{"role":"bot","content":"b"}]}`, `:2: column "messages": message 1: role "bot" is none of system`},
		{"notools.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"tools":[{"type":"function"}]}`, `:1: column "tools": the chat template has no place for tools`},
		{"badtools.jsonl", `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"tools":"get"}`, `:1: column "tools" is no list: get`},
		{"twosystems.jsonl", `{"system":"x","messages":[{"role":"system","content":"y"},{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`, `:1: column "system": the conversation has a system message of its own`},
		{"otherprompt.jsonl", `{"prompt":"x","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`, `:1: column "prompt" is not read, and is no message of the conversation`},
		{"unread.jsonl", `{"chat_template_kwargs":{"mood":1},"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`, `:1: column "chat_template_kwargs": the chat template does not read "mood"`},
		{"kwargs.jsonl", `{"chat_template_kwargs":{"messages":1},"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`, `:1: column "chat_template_kwargs": "messages" is what the template is given anyway`},
		{"kto.jsonl", `{"prompt":"a","completion":"b","label":true}` + "\n" + `{"prompt":"a","completion":"b","label":false}`, `:2: column "label" is false: the completion is one to avoid`},
		{"class.jsonl", `{"prompt":"a","completion":"b","label":3}`, `:1: column "label" is 3, want true or false`},
		{"chosen.jsonl", `{"prompt":"a","completion":"b","rejected":"c"}`, `:1: column "rejected" is not read`},
		{"system.jsonl", good + `{"prompt":"a","completion":"b","system":"c"}`, `:2: column "system" is not read`},
		{"rowweight.jsonl", `{"prompt":"a","completion":"b","weight":0}`, `:1: column "weight" is not read`},
		{"history.jsonl", `{"instruction":"a","output":"b","history":[["c","d"]]}`, `:1: column "history": the prompt of an instruction has no place for it`},
		{"alpacasystem.jsonl", `{"instruction":"a","output":"b","system":"c"}`, `:1: column "system": the prompt of an instruction has no place for it`},
		{"othertext.jsonl", `{"instruction":"a","output":"b","text":"a b"}` + "\n" + `{"instruction":"a","output":"b","text":"c"}`, `:2: column "text" is not read, and is not the row written out`},
		{"context.csv", "prompt,completion,context\na,b,c\n", `:2: column "context" is not read`},
		{"banking.csv", "text,category\na,b\n", `:2: column "category" is not read beside a text: where it is the answer, --prompt-column text --completion-column category learns it`},
		{"nullfirst.jsonl", `{"prompt":"a","completion":null}`, `:1: column "completion" is null`},
		{"role.jsonl", talk + `{"messages":[{"content":"a"}]}`, ":2: column \"messages\": message 0: a message has no role"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		o := Options{Format: "auto", Columns: columns}
		o.Chat.Template = template
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

// TestInertColumns: what public data sets say of a row's origin, and what says
// nothing, is passed over; so is what the caller names.
func TestInertColumns(t *testing.T) {
	template, err := chat.New("{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}")
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		`{"prompt":"a","completion":"b","id":7,"source":"x","meta":{"k":1},"context":null,"images":[],"system":""}`:                                                      "a[b</s>]",
		`{"prompt":"a","completion":"b","label":true}`:                                                                                                                   "a[b</s>]",
		`{"prompt":"a","completion":"b","context":"c","mood":2}`:                                                                                                         "a[b</s>]", // ignored
		`{"text":"ab","domain":"x"}`:                                                                                                                                     "a[b</s>]",
		`{"prompt":"a","prompt_id":"0","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`:                                                   "<user>a<assistant>[b]",
		`{"system":"s","conversations":[{"from":"human","value":"a","weight":0},{"from":"gpt","value":"b","weight":1}],"source":null}`:                                   "<system>s<user>a<assistant>[b]",
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}`:    "<user>a<assistant>b<user>c<assistant>[d]",
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d","train":false}]}`: "<user>a<assistant>[b]<user>c<assistant>d",
		`{"messages":[{"role":"user","content":"a","id":"u1"},{"role":"assistant","content":"b","tool_calls":null}],"tools":[]}`:                                         "<user>a<assistant>[b]",
	} {
		c := columns
		c.Ignore = []string{"context", "mood", "absent"}
		s, err := Open([]string{write(t, "a.jsonl", content)}, encoder(t, 64), Options{Format: "auto", Columns: c, Chat: Chat{Template: template}})
		if err != nil {
			t.Error(err)
			continue
		}
		if q, err := s.Sequence(0); err != nil || said(t, q) != want {
			t.Errorf("%s: %q (%v), want %q", content, said(t, q), err, want)
		}
		s.Close()
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
	if held.Len() != 2 || s.Len() != 6 {
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

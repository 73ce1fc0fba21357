package dataset

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// tokens are the special tokens of testdata/turns.py.
type tokens []string

func (v tokens) Role(name string) (int32, bool) {
	id, ok := map[string]int32{"bos_token": 0, "eos_token": 1, "pad_token": 2, "unk_token": 3}[name]
	return id, ok
}
func (v tokens) Token(id int32) string { return v[id] }

var special = tokens{"<s>", "</s>", "<pad>", "<unk>", "<|end|>", "<|user|>", "<|assistant|>"}

// conversations is a chat format of a template.
func conversations(t testing.TB, source, turns string) chatFormat {
	t.Helper()
	template, err := chat.New(source)
	if err != nil {
		t.Fatal(err)
	}
	return chatFormat{columns, Chat{Template: template.WithTokens(special), Special: special, Turns: turns}}
}

// TestMarkedTurns finds in the texts of TRL's templates what transformers marks
// in them where the same templates come with {% generation %}.
func TestMarkedTurns(t *testing.T) {
	folder := modeltest.Shared(t, "cases", "templates", "public")
	b, err := os.ReadFile("testdata/turns.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Conversations map[string]json.RawMessage
		Tools         json.RawMessage
		Turns         map[string]map[string][][2]int
	}
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	found := 0
	for name, by := range golden.Turns {
		for _, kind := range []string{"", "_training"} {
			source, err := os.ReadFile(filepath.Join(folder, name+kind+".jinja"))
			if err != nil {
				t.Fatal(err)
			}
			f := conversations(t, string(source), "all")
			for conversation, want := range by {
				r := &Record{File: name, Line: 1, raw: map[string]json.RawMessage{"messages": golden.Conversations[conversation]}}
				if strings.HasPrefix(conversation, "tool") {
					r.raw["tools"] = golden.Tools
				}
				x, err := f.Example(r)
				if err != nil && strings.Contains(err.Error(), "is read neither here nor by the chat template") {
					continue
				}
				if err != nil {
					t.Errorf("%s%s, %s: %v", name, kind, conversation, err)
					continue
				}
				var got [][2]int
				for _, s := range x.Learn {
					start, end := utf8.RuneCountInString(x.Text[:s.Start]), utf8.RuneCountInString(x.Text[:s.End])
					if n := len(got); n > 0 && got[n-1][1] == start {
						got[n-1][1] = end
					} else {
						got = append(got, [2]int{start, end})
					}
				}
				if found++; !reflect.DeepEqual(got, want) {
					t.Errorf("%s%s, %s: %v in %q, want %v", name, kind, conversation, got, x.Text, want)
				}
			}
		}
	}
	t.Logf("%d conversations", found)
}

// What templates do with earlier turns, each in as few words as will do.
const (
	plainChat = `{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
	// Thoughts are written in the last turn alone, as Qwen3's do.
	lastThinks = `{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and loop.last %}(){% endif %}{{ m.content }};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
	// The prompt begins a thought that the history leaves out.
	promptThinks = `{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and loop.last %}(){% endif %}{{ m.content }};{% endfor %}{% if add_generation_prompt %}<assistant>({% endif %}`
	// Only the end of the conversation has the end token, as Phi's do.
	endsOnce = `{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% else %}</s>{% endif %}`
	// There is no generation prompt, and the system's message goes with the
	// last of the user's, as in Mistral's.
	systemLast = `{{ bos_token }}{% set ns = namespace(s='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.s = m.content + '/' %}{% elif m.role == 'user' %}[{% if loop.last or loop.index == messages|length - 1 %}{{ ns.s }}{% endif %}{{ m.content }}]{% else %} {{ m.content }}</s>{% endif %}{% endfor %}`
	// What the assistant says is marked, the call and the text apart.
	marksTwice = `{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% if m.tool_calls %}{% generation %}!{{ m.tool_calls[0].function.name }}{% endgeneration %}{% endif %}{% else %}{{ m.content }}{% endif %};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
	// A system message goes before all that has none, as in Qwen2.5-VL's.
	rulesFirst = `{% for m in messages %}{% if loop.first %}<system>s;{% endif %}<{{ m.role }}>{{ m.content }};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
	// There is no prompt without a message, as in Gemma's.
	needsFirst = `{{ messages[0].role[:1] }}{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
	// Thoughts are left out, and a text that is nothing else with them.
	noThoughts = `{% for m in messages %}{% set said = m.content.split(')')[-1] | trim %}<{{ m.role }}>{% if said %}{{ said }}.{% endif %}{% if m.tool_calls %}!{{ m.tool_calls[0].function.name }}{% endif %}{% if loop.last and m.role == 'assistant' %}~{% endif %};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
	// The text of a turn depends on what others say.
	counts = `{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ (messages | last).content | length }};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
)

func TestTurns(t *testing.T) {
	const (
		two   = `[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]`
		first = `[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d","weight":0}]`
		alike = `[{"role":"user","content":"a"},{"role":"assistant","content":" a"},{"role":"user","content":"a"},{"role":"assistant","content":"a "},{"role":"user","content":"a"}]`
		rules = `[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]`
		calls = `[{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":0,"tool_calls":[{"type":"function","function":{"name":"f"}}]},{"role":"tool","content":"c"},{"role":"assistant","content":"d"}]`
		greet = `[{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]`
		think = `[{"role":"user","content":"a"},{"role":"assistant","content":"(h)\n","tool_calls":[{"type":"function","function":{"name":"f"}}]},{"role":"tool","content":"c"},{"role":"assistant","content":"(i)d"}]`
	)
	for _, c := range []struct{ template, turns, messages, want string }{
		{plainChat, "all", two, "<user>a;<assistant>[b;]<user>c;<assistant>[d;]"},
		{plainChat, "last", two, "<user>a;<assistant>b;<user>c;<assistant>[d;]"},
		{plainChat, "all", first, "<user>a;<assistant>[b;]<user>c;<assistant>d;"},
		{plainChat, "all", alike, "<user>a;<assistant>[ a;]<user>a;<assistant>[a ;]<user>a;"},
		{lastThinks, "all", two, "<user>a;<assistant>[b;]<user>c;<assistant>[()d;]"},
		{lastThinks, "last", two, "<user>a;<assistant>b;<user>c;<assistant>[()d;]"},
		{lastThinks, "all", alike, "<user>a;<assistant>[ a;]<user>a;<assistant>[a ;]<user>a;"},
		{promptThinks, "all", two, "<user>a;<assistant>[b;]<user>c;<assistant>([)d;]"},
		{endsOnce, "all", two, "<|user|>a<|end|><|assistant|>[b<|end|>]<|user|>c<|end|><|assistant|>[d<|end|></s>]"},
		{rulesFirst, "all", greet, "<system>s;<assistant>[b;]<user>c;<assistant>[d;]"},
		{needsFirst, "all", greet, "a<assistant>[b;]<user>c;<assistant>[d;]"},
		{noThoughts, "all", think, "<user>a.;<assistant>[!f];<tool>c.;<assistant>[d.~;]"},
		{systemLast, "all", rules, "<s>[a][ b</s>][s/c][ d</s>]"},
		{marksTwice, "all", two, "<user>a;<assistant>[b];<user>c;<assistant>[d];"},
		{marksTwice, "all", first, "<user>a;<assistant>[b];<user>c;<assistant>d;"},
		{marksTwice, "last", two, "<user>a;<assistant>b;<user>c;<assistant>[d];"},
		{marksTwice, "all", calls, "<user>a;<assistant>b!f;<tool>c;<assistant>[d];"},
	} {
		f := conversations(t, c.template, c.turns)
		x, err := f.Example(&Record{File: "x", Line: 1, raw: map[string]json.RawMessage{"messages": json.RawMessage(c.messages)}})
		if err != nil {
			t.Errorf("%s: %v", c.messages, err)
			continue
		}
		var b strings.Builder
		at := 0
		for _, s := range x.Learn {
			b.WriteString(x.Text[at:s.Start] + "[" + x.Text[s.Start:s.End] + "]")
			at = s.End
		}
		if got := b.String() + x.Text[at:]; got != c.want {
			t.Errorf("%s, %s:\n%s\nwant\n%s", c.messages, c.turns, got, c.want)
		}
	}
	f := conversations(t, endsOnce, "all")
	f.Special = []string{"</s>"} // what follows a turn is none, but what would end it is
	x, err := f.Example(&Record{File: "x", Line: 1, raw: map[string]json.RawMessage{"messages": json.RawMessage(two)}})
	if err != nil || x.Answer() != "b<|end|>" {
		t.Errorf("%q, %v", x.Answer(), err)
	}
	f = conversations(t, counts, "all")
	_, err = f.Example(&Record{File: "x", Line: 3, raw: map[string]json.RawMessage{"messages": json.RawMessage(strings.Replace(two, `"d"`, `"dd"`, 1))}})
	if err == nil || !strings.HasPrefix(err.Error(), "x:3: message 1: the chat template writes it in another way with what follows") {
		t.Errorf("%v", err)
	}
}

// TestTemplateThatRendersNothing: it is the template's fault, whether it marks
// what is said or not.
func TestTemplateThatRendersNothing(t *testing.T) {
	for _, source := range []string{"{# nothing #}", "{% generation %}{% endgeneration %}"} {
		template, err := chat.New(source)
		if err != nil {
			t.Fatal(err)
		}
		path := write(t, "a.jsonl", `{"messages": [{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`)
		if _, err := Open([]string{path}, encoder(t, 100), Options{Format: "auto", Columns: columns, Chat: Chat{Template: template}}); err == nil || !strings.Contains(err.Error(), "chat template renders nothing") {
			t.Errorf("%s: %v", source, err)
		}
	}
}

package speech

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// folded is what the pieces of a reply come to.
type folded struct {
	reasoning, content string
	calls              []Call
}

func (f *folded) add(pieces []Piece) {
	for _, p := range pieces {
		f.reasoning += p.Reasoning
		f.content += p.Content
		if p.Call != nil {
			f.calls = append(f.calls, *p.Call)
		}
	}
}

func call(name, arguments string) Call { return Call{name, arguments} }

// What models write is taken apart the same however it comes. The cases are the
// kinds that vLLM tests its parsers with.
func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name   string
		format Format
		text   string
		want   folded
	}{
		{"text", hermes{}, "Nothing is called here.\n", folded{content: "Nothing is called here.\n"}},
		{"no tools", nil, "<tool_call>{}</tool_call>", folded{content: "<tool_call>{}</tool_call>"}},
		{"one", hermes{}, "<tool_call>\n{\"name\": \"final\", \"arguments\": {\"trigger\": true}}\n</tool_call>", folded{calls: []Call{call("final", `{"trigger": true}`)}}},
		{"without its end", hermes{}, "<tool_call>\n{\"name\": \"final\", \"arguments\": {\"trigger\": true}}", folded{calls: []Call{call("final", `{"trigger": true}`)}}},
		{"cut", hermes{}, "<tool_call>\n{\"name\": \"final\", \"arguments\": {\"trigger\": true}", folded{content: "<tool_call>\n{\"name\": \"final\", \"arguments\": {\"trigger\": true}"}},
		{"content before", hermes{}, "Sure, let me see.<tool_call>{\"name\": \"look\", \"arguments\": {\"at\": \"sky\"}}</tool_call>", folded{content: "Sure, let me see.", calls: []Call{call("look", `{"at": "sky"}`)}}},
		{"white space around", hermes{}, "\n\nSure.\n\n<tool_call>{\"name\": \"a\", \"arguments\": {}}</tool_call>\n", folded{content: "\n\nSure.", calls: []Call{call("a", "{}")}}},
		{"two", hermes{}, "<tool_call>{\"name\": \"s\", \"arguments\": {\"q\": \"cats\"}}</tool_call>\n<tool_call>{\"name\": \"s\", \"arguments\": {\"q\": \"dogs\"}}</tool_call>", folded{calls: []Call{call("s", `{"q": "cats"}`), call("s", `{"q": "dogs"}`)}}},
		{"a list", hermes{}, "<tool_call>[\n{\"name\": \"a\", \"arguments\": {}}, {\"name\": \"b\", \"arguments\": {\"x\": [1]}}]</tool_call>", folded{calls: []Call{call("a", "{}"), call("b", `{"x": [1]}`)}}},
		{"written twice", hermes{}, `<tool_call>{"name": "get", "arguments": "{\"param\": \"max\"}"}</tool_call>`, folded{calls: []Call{call("get", `{"param": "max"}`)}}},
		{"a bare string", hermes{}, `<tool_call>{"name": "do", "arguments": "hello"}</tool_call>`, folded{calls: []Call{call("do", `"hello"`)}}},
		{"braces in strings", hermes{}, `<tool_call>{"name": "do", "arguments": {"a": "}</tool_call>{\"", "b": "\\"}}</tool_call>`, folded{calls: []Call{call("do", `{"a": "}</tool_call>{\"", "b": "\\"}`)}}},
		{"arguments first", hermes{}, `<tool_call>{"arguments": {"name": "x"}, "name": "do"}</tool_call>`, folded{calls: []Call{call("do", `{"name": "x"}`)}}},
		{"none taken", hermes{}, `<tool_call>{"name": "now"}</tool_call>`, folded{calls: []Call{call("now", "{}")}}},
		{"spoken of", hermes{}, "Write <tool_call> before a call.", folded{content: "Write <tool_call> before a call."}},
		{"no call", hermes{}, `<tool_call>{"nam": "x"}</tool_call>`, folded{content: `<tool_call>{"nam": "x"}</tool_call>`}},
		{"no JSON", hermes{}, "<tool_call>{'name': 'x'}</tool_call>", folded{content: "<tool_call>{'name': 'x'}</tool_call>"}},
		{"the beginning of a marker", hermes{}, "a < b <tool", folded{content: "a < b <tool"}},

		{"one", llama{}, `{"name": "search", "parameters": {"query": "test query", "limit": 10}}`, folded{calls: []Call{call("search", `{"query": "test query", "limit": 10}`)}}},
		{"arguments", llama{}, `{"name": "search", "arguments": {"query": "test"}}`, folded{calls: []Call{call("search", `{"query": "test"}`)}}},
		{"the tag", llama{}, `<|python_tag|>{"name": "search", "parameters": {}}`, folded{calls: []Call{call("search", "{}")}}},
		{"several", llama{}, `{"name": "a", "parameters": {"q": "1"}} ; {"name": "b", "parameters": {}};{"name": "c", "parameters": {"q": "2"}}` + "\n" + `{"name": "d", "parameters": {}}`,
			folded{calls: []Call{call("a", `{"q": "1"}`), call("b", "{}"), call("c", `{"q": "2"}`), call("d", "{}")}}},
		{"text around", llama{}, `Here it is: {"name": "a", "parameters": {}} I used {a} for {"q": 1}.`, folded{content: "Here it is:", calls: []Call{call("a", "{}")}}},
		{"deep", llama{}, `{"name": "x", "parameters": {"1": {"2": {"3": [{"4": "{deep]"}]}}}}`, folded{calls: []Call{call("x", `{"1": {"2": {"3": [{"4": "{deep]"}]}}}`)}}},
		{"no JSON", llama{}, `{"name": "x", "parameters": {invalid json}`, folded{content: `{"name": "x", "parameters": {invalid json}`}},
		{"no name", llama{}, `{"parameters": {}}`, folded{content: `{"parameters": {}}`}},
		{"no parameters", llama{}, `{"name": "x"}`, folded{content: `{"name": "x"}`}},
		{"a set", llama{}, `The set {1, 2} has two.`, folded{content: `The set {1, 2} has two.`}},
		{"the beginning of the tag", llama{}, `a <|pyth`, folded{content: `a <|pyth`}},

		{"a list", mistral{}, `[TOOL_CALLS][{"name": "add", "arguments":{"a": 3.5, "b": 4}}]`, folded{calls: []Call{call("add", `{"a": 3.5, "b": 4}`)}}},
		{"two in a list", mistral{}, `[TOOL_CALLS] [{"name": "add", "arguments": {"a": 3.5}}, {"arguments":{"name": "x"}, "name": "sub"}]`, folded{calls: []Call{call("add", `{"a": 3.5}`), call("sub", `{"name": "x"}`)}}},
		{"content before", mistral{}, `Hello[TOOL_CALLS] [{"name": "add", "arguments":{"a": 1}}]`, folded{content: "Hello", calls: []Call{call("add", `{"a": 1}`)}}},
		{"text after", mistral{}, "[TOOL_CALLS] [{\"name\": \"add\", \"arguments\":{\"a\": 1}}]\nextra trailing data", folded{calls: []Call{call("add", `{"a": 1}`)}}},
		{"junk", mistral{}, `[TOOL_CALLS]  junk [{"name": "add", "arguments":{"a": 1}}] trail`, folded{calls: []Call{call("add", `{"a": 1}`)}}},
		{"no JSON", mistral{}, "[TOOL_CALLS] not json at all", folded{content: "not json at all"}},
		{"a name", mistral{}, `[TOOL_CALLS]add_this_and_that{"a": 3.5, "b": 4}`, folded{calls: []Call{call("add_this_and_that", `{"a": 3.5, "b": 4}`)}}},
		{"names", mistral{}, `[TOOL_CALLS]add{"a": 3.5}[TOOL_CALLS]multiply{"a": 3}`, folded{calls: []Call{call("add", `{"a": 3.5}`), call("multiply", `{"a": 3}`)}}},
		{"ids", mistral{}, `[TOOL_CALLS]add[CALL_ID]abc123def[ARGS]{"a": 3.5}`, folded{calls: []Call{call("add", `{"a": 3.5}`)}}},
		{"arguments", mistral{}, `[TOOL_CALLS]add[ARGS]{"a": 3.5}`, folded{calls: []Call{call("add", `{"a": 3.5}`)}}},
		{"named", Forced("look", nil), `{"at": {"x": "}"}}`, folded{calls: []Call{call("look", `{"at": {"x": "}"}}`)}}},
		{"cut", Forced("look", nil), `{"at": {"x`, folded{}},
		{"cut", Forced("", nil), `[{"name": "a", "para`, folded{}},
		{"required", Forced("", mistral{}), `[{"name": "a", "parameters": {"x": [1]}}, {"name": "b", "parameters": {}}]`, folded{calls: []Call{call("a", `{"x": [1]}`), call("b", "{}")}}},
		{"cut", Forced("", nil), `[{"name": "a", "parameters": {}}, {"name"`, folded{calls: []Call{call("a", "{}")}}},
		{"text", mistral{}, "A [list] of {things} [TOOL", folded{content: "A [list] of {things} [TOOL"}},
	} {
		for size := 1; size <= len(c.text); size++ {
			require.Equal(t, c.want, fold(New(c.format, NoReasoning), c.text, size), "%s, %d bytes at a time", c.name, size)
		}
	}
}

func TestReasoning(t *testing.T) {
	for _, c := range []struct {
		reasons Reasoning
		format  Format
		text    string
		want    folded
	}{
		{MayReason, nil, "<think>\nIt is two.\n</think>\n\nTwo.", folded{reasoning: "It is two.", content: "Two."}},
		{MayReason, nil, "\n<think>a\n\nb</think>c\n", folded{reasoning: "a\n\nb", content: "c\n"}},
		{MayReason, nil, "<think>\n\n</think>\n\nTwo.", folded{content: "Two."}},
		{MayReason, nil, "Two <think>.</think>", folded{content: "Two <think>.</think>"}},
		{MayReason, nil, "  Two", folded{content: "  Two"}},
		{MayReason, nil, "<thi", folded{content: "<thi"}},
		{MayReason, nil, "<think>It is", folded{reasoning: "It is"}},
		{MayReason, nil, "<think>It is </thin", folded{reasoning: "It is </thin"}},
		{Within, nil, "It is two.</think>Two.", folded{reasoning: "It is two.", content: "Two."}},
		{NoReasoning, nil, "<think>a</think>b", folded{content: "<think>a</think>b"}},
		{MayReason, hermes{}, "<think>I look. <tool_call></think>\n\n<tool_call>\n{\"name\": \"look\", \"arguments\": {}}\n</tool_call>",
			folded{reasoning: "I look. <tool_call>", calls: []Call{call("look", "{}")}}},
	} {
		for size := 1; size <= len(c.text); size++ {
			require.Equal(t, c.want, fold(New(c.format, c.reasons), c.text, size), "%q, %d bytes at a time", c.text, size)
		}
	}
	require.Equal(t, Within, ReasoningOf("", "<|assistant|>\n<think>\n"))
	require.Equal(t, MayReason, ReasoningOf("{{ '</think>' }}", "<think>\n\n</think>\n\n"))
	require.Equal(t, NoReasoning, ReasoningOf("{{ messages }}", "think"))
}

// Text is content as soon as it can be nothing else.
func TestTextIsNotHeld(t *testing.T) {
	p := New(hermes{}, MayReason)
	require.Equal(t, []Piece{{Content: "Hello"}}, p.Push("Hello"))
	require.Equal(t, []Piece{{Content: " you"}}, p.Push(" you "))
	require.Equal(t, []Piece{{Content: " <"}}, p.Push("<<tool"))
	require.Equal(t, []Piece{{Content: "<tools"}}, p.Push("s"))
	p = New(llama{}, NoReasoning)
	require.Equal(t, []Piece{{Content: "{"}, {Content: "x"}}, p.Push("{x"))
}

func TestFormatOf(t *testing.T) {
	require.Equal(t, hermes{}, FormatOf("... <tool_call>\n ..."))
	require.Nil(t, FormatOf("<tool_call>\n<function=name>"))
	require.Equal(t, mistral{}, FormatOf("[AVAILABLE_TOOLS] [TOOL_CALLS] [{"))
	require.Equal(t, llama{}, FormatOf("<|start_header_id|>ipython<|end_header_id|>"))
	require.Nil(t, FormatOf("{{ messages }}"))
	f, err := FormatNamed("mistral")
	require.NoError(t, err)
	require.Regexp(t, "^[0-9a-zA-Z]{9}$", f.ID([16]byte{255, 62, 61}))
	_, err = FormatNamed("x")
	require.EqualError(t, err, `"x" is no format of calls: there are hermes, llama3_json, mistral`)
}

// Whatever a model writes, the pieces are the same however it comes, nothing fails, no
// text is lost but markers and what follows a call, and nothing grows.
func FuzzParser(f *testing.F) {
	for _, text := range []string{
		"<tool_call>{\"name\":\"a\"}</tool_call>", "[TOOL_CALLS]a{}", "{\"name\":\"a\",\"parameters\":{}}", "<think>\n</think>\n\n<tool_call>[", "[TOOL_CALLS] [{\"name\"",
		"<think>a<think>b</think>c</think>d", "See. <tool_call>[{\"name\":\"a\"},{\"name\":7}]</tool_call> then", "<tool_call>{\"a\":{\"b\":[[[\"}\\\"\"]]]}}</tool_call>", "<|python_tag|><|python_tag|>{\"name\":\"a\"",
		"{\"x\":1};{\"name\":\"a\",\"parameters\":null}", "[TOOL_CALLS]look[CALL_ID]abc[ARGS]{\"at\": \"s\\u00e9\"}[TOOL_CALLS]", "[TOOL_CALLS][TOOL_CALLS] x", "[{\"name\":\"a\",\"parameters\":{}},{\"name\":\"\"}]", "<tool_call>\xff{\xc3", "{{{{{{{{", "{\"" + strings.Repeat("[", 1000),
	} {
		for kind := range uint8(6) {
			f.Add(text, kind, uint8(3))
			f.Add(text, kind|1<<4, uint8(1))
		}
	}
	f.Fuzz(func(t *testing.T, text string, kind, size uint8) {
		all := append([]Format{nil, Forced("", nil), Forced("a", mistral{})}, formats...)
		format, reasons := all[int(kind&15)%len(all)], Reasoning(kind>>4)%3
		whole := fold(New(format, reasons), text, len(text))
		require.Equal(t, whole, fold(New(format, reasons), text, int(size)))
		if format == nil && reasons == NoReasoning {
			require.Equal(t, text, whole.content)
		}
		told := whole.reasoning + whole.content
		made := len(told)
		for _, c := range whole.calls {
			made += len(c.Name) + len(c.Arguments)
		}
		_, named := format.(forced)
		if most := len(text) + len("{}a")*len(whole.calls); made > most && !named {
			t.Errorf("%d bytes come to %d", len(text), made)
		}
		if len(whole.calls) > 0 || named { // of which a part is no text
			return
		}
		markers := 0
		if reasons != NoReasoning {
			markers += len(Thinks) + len(Thought)
		}
		switch format.(type) {
		case llama:
			markers += len(pythonTag) * strings.Count(text, pythonTag)
		case mistral:
			markers += len(mistralCalls) * strings.Count(text, mistralCalls)
		}
		lost, rest := 0, told
		for i := range len(text) {
			switch {
			case rest != "" && rest[0] == text[i]:
				rest = rest[1:]
			case !strings.ContainsRune(white, rune(text[i])):
				lost++
			}
		}
		if rest != "" || lost > markers {
			t.Errorf("%q is told as %q", text, told)
		}
	})
}

func fold(p *Parser, text string, size int) (f folded) {
	for len(text) > 0 {
		n := min(max(size, 1), len(text))
		f.add(p.Push(text[:n]))
		text = text[n:]
	}
	f.add(p.End())
	return f
}

// A text that is held back costs what it has, and not its square.
func TestHeldTextIsNotCopied(t *testing.T) {
	const tokens = 1 << 16
	for name, reply := range map[string]struct {
		format Format
		begin  string
	}{
		"hermes": {hermes{}, `<tool_call>{"name":"a","arguments":{"x":"`}, "llama": {llama{}, `{"name":"a","parameters":{"x":"`},
		"mistral": {mistral{}, `[TOOL_CALLS]a{"x":"`}, "mistral's name": {mistral{}, `[TOOL_CALLS]a`}, "forced": {forced{name: "a"}, `{"x":"`},
	} {
		p := New(reply.format, NoReasoning)
		require.Empty(t, p.Push(reply.begin), name)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range tokens {
			p.Push("y")
		}
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64*tokens), name)
		require.Len(t, p.scan.text, len(reply.begin)+tokens, name)
		if name == "mistral's name" {
			require.Equal(t, len(p.scan.text), p.scan.looked)
		}
	}
}

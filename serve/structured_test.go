package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// A schema of which every answer ends within the context of the tiny base.
const shortSchema = `{"type":"object","properties":{"n":{"type":"integer","minimum":-20,"maximum":300},"on":{"type":"boolean"},
	"kind":{"enum":["a","bc",null]},"s":{"type":"string","maxLength":3}},"required":["n","on","kind"],"additionalProperties":false}`

func validates(t *testing.T, schema, text string) {
	t.Helper()
	var of any
	require.NoError(t, json.Unmarshal([]byte(schema), &of))
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("schema.json", of))
	compiled, err := c.Compile("schema.json")
	require.NoError(t, err)
	instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	require.NoError(t, err, text)
	require.NoError(t, compiled.Validate(instance), text)
}

// What a model of random weights generates is kept to what each route's fields say,
// alone and beside free answers.
func TestStructured(t *testing.T) {
	s := realSite(t)
	quoted, err := json.Marshal(shortSchema)
	require.NoError(t, err)
	isSchema := func(t *testing.T, text string) { validates(t, shortSchema, text) }
	matches := func(pattern string) func(*testing.T, string) {
		return func(t *testing.T, text string) { require.Regexp(t, regexp.MustCompile("^(?:"+pattern+")$"), text) }
	}
	isChoice := func(t *testing.T, text string) { require.Contains(t, []string{"yes", "no", "\u00fcber"}, text) }
	const choices = `["yes","no","\u00fcber"]`
	named := `{"type":"json_schema","json_schema":{"name":"it","strict":true,"schema":` + shortSchema + `}}`
	for field, is := range map[string]func(*testing.T, string){
		`"response_format":` + named: isSchema,
		`"response_format":{"type":"json_object","schema":` + shortSchema + `}`: isSchema,
		`"response_format":{"type":"json","value":` + shortSchema + `}`:         isSchema,
		`"response_format":{"type":"regex","value":"[a-c]{2}\\d?"}`:             matches(`[a-c]{2}\d?`),
		`"guided_json":` + shortSchema:                                          isSchema,
		`"guided_json":` + string(quoted):                                       isSchema,
		`"guided_regex":"(ab|c){3}"`:                                            matches(`(ab|c){3}`),
		`"guided_choice":` + choices:                                            isChoice,
		`"structured_outputs":{"json":` + shortSchema + `}`:                     isSchema,
		`"structured_outputs":{"regex":"x{2,4}"}`:                               matches(`x{2,4}`),
		`"structured_outputs":{"choice":` + choices + `}`:                       isChoice,
	} {
		for seed := range 3 {
			body := fmt.Sprintf(`"max_tokens":100,"temperature":1.5,"seed":%d,%s`, seed, field)
			got := s.post(t, "/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],`+body+`}`)
			require.Equal(t, http.StatusOK, got.status, got.body)
			require.Equal(t, `"stop"`, member(t, got.body, "choices", "0", "finish_reason"))
			is(t, textOf(t, got.body, "choices", "0", "message", "content"))
			got = s.post(t, "/v1/completions", `{"prompt":["a","b"],"n":2,`+body+`}`)
			require.Equal(t, http.StatusOK, got.status, got.body)
			for i := range 4 {
				is(t, textOf(t, got.body, "choices", fmt.Sprint(i), "text"))
			}
		}
	}
	for field, is := range map[string]func(*testing.T, string){
		`"grammar":{"type":"json","value":` + shortSchema + `}`:                              isSchema,
		`"grammar":{"type":"json_schema","value":{"name":"n","schema":` + shortSchema + `}}`: isSchema,
		`"grammar":{"type":"regex","value":"[0-9]{3}"}`:                                      matches(`\d{3}`),
		`"grammar":{"type":"choice","value":` + choices + `}`:                                isChoice,
		`"response_format":` + named:                                                         isSchema,
		`"schema":` + string(quoted):                                                         isSchema,
	} {
		got := s.post(t, "/v1/generate", `{"inputs":"a","parameters":{"max_new_tokens":100,"details":true,`+field+`}}`)
		require.Equal(t, http.StatusOK, got.status, got.body)
		is(t, textOf(t, got.body, "generated_text"))
		require.Equal(t, `"eos_token"`, member(t, got.body, "details", "finish_reason"))
	}
	row, err := s.server.Row(ReadRow(1, []byte(`{"custom_id":"r","method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":"a"}],"response_format":`+strings.ReplaceAll(named, "\n", "")+`}}`)))
	require.NoError(t, err)
	isSchema(t, textOf(t, string(row.Line), "response", "body", "choices", "0", "message", "content"))
	streamed := ""
	for _, event := range s.post(t, "/v1/completions", `{"prompt":"a","stream":true,"max_tokens":100,"logprobs":1,"response_format":`+named+`}`).events() {
		if event != "[DONE]" {
			streamed += textOf(t, event, "choices", "0", "text")
		}
	}
	isSchema(t, streamed)
	got := s.post(t, "/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"max_tokens":3,"response_format":`+named+`}`)
	require.Equal(t, `"length"`, member(t, got.body, "choices", "0", "finish_reason"))
	require.Eventually(t, func() bool {
		g := s.server.grammars
		g.mu.Lock()
		defer g.mu.Unlock()
		return !slices.ContainsFunc(slices.Collect(maps.Values(g.known)), func(k *knownGrammar) bool { return k.users > 0 })
	}, 10*time.Second, time.Millisecond, "none is held any more")
}

// textOf is a text inside of a body.
func textOf(t *testing.T, body string, path ...string) (text string) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(member(t, body, path...)), &text))
	return text
}

// What an answer cannot be kept to is refused by the path of the field, and by that
// within the schema.
func TestStructuredRefused(t *testing.T) {
	s := newSite(t, nil)
	for field, want := range map[string][]string{
		`"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"properties":{"a":{"not":{}}}}}}`: {"response_format.json_schema.schema", "#/properties/a/not"},
		`"response_format":{"type":"json_schema"}`:                                      {"response_format.json_schema", "is missing"},
		`"response_format":{"type":"json_schema","json_schema":{"name":"x"}}`:           {"response_format.json_schema.schema", "is missing"},
		`"response_format":{"type":"text","value":1}`:                                   {"response_format.value", "no place"},
		`"response_format":{"type":"xml"}`:                                              {"response_format.type", "xml"},
		`"response_format":{}`:                                                          {"response_format.type", "is missing"},
		`"response_format":{"type":"json_object","schema":{},"value":{}}`:               {"response_format.value", "no place"},
		`"guided_json":{"type":"object","required":["a"],"additionalProperties":false}`: {"guided_json", "#/required"},
		`"guided_json":"{"`:                                                             {"guided_json", "not JSON"},
		`"guided_json":7`:                                                               {"guided_json", "JSON schema"},
		`"guided_regex":"("`:                                                            {"guided_regex", "missing closing )"},
		`"guided_regex":"a(?=b)"`:                                                       {"guided_regex", "(?="},
		`"guided_regex":"((a{1,999}b){1,999}c){1,999}"`:                                 {"guided_regex", "repeat"},
		`"guided_choice":[]`:                                                            {"guided_choice", "is empty"},
		`"guided_choice":["a",1]`:                                                       {"guided_choice[1]", "a string"},
		`"guided_grammar":"x"`:                                                          {"guided_grammar", "not implemented"},
		`"structured_outputs":{"structural_tag":"x"}`:                                   {"structured_outputs.structural_tag", "not implemented"},
		`"structured_outputs":{"regex":"a","choice":["a"]}`:                             {"structured_outputs.choice", "give one"},
		`"guided_regex":"a","guided_choice":["a"]`:                                      {"guided_choice", "give one"},
		`"guided_regex":"a","ignore_eos":true`:                                          {"ignore_eos", "leave it out"},
	} {
		got := s.post(t, "/v1/completions", `{"prompt":"a",`+field+`}`)
		require.Equal(t, http.StatusBadRequest, got.status, got.body)
		require.Equal(t, want[0], textOf(t, got.body, "error", "param"), got.body)
		require.Contains(t, got.body, want[1])
	}
	got := s.post(t, "/generate", `{"inputs":"a","parameters":{"grammar":{"type":"regex","value":"("}}}`)
	require.Equal(t, http.StatusUnprocessableEntity, got.status)
	require.Contains(t, got.body, "parameters.grammar.value")
}

// Grammars are compiled once, held while they are used, and give way when there is
// no room.
func TestGrammarsKept(t *testing.T) {
	text := testTokenizer(t)
	key := vocabularyKey{text, text.VocabSize()}
	g := newGrammars(4<<20, nil, idlePace())
	get := func(pattern string) (*knownGrammar, error) {
		return g.get(t.Context(), "", &form{field: "f", kind: formRegex, text: pattern}, key)
	}
	first, err := get("a{100}")
	require.NoError(t, err)
	again, err := get("a{100}")
	require.NoError(t, err)
	require.Same(t, first, again)
	require.Equal(t, 2, first.users)
	g.release(first.constraint)
	var held []*knownGrammar
	for i := range 10_000 {
		k, err := get(fmt.Sprintf("(x|y%d){900}", i))
		if err != nil {
			require.ErrorContains(t, err, "--grammar-cache")
			break
		}
		held = append(held, k)
	}
	require.NotEmpty(t, held)
	require.LessOrEqual(t, g.room.Used(), int64(4<<20))
	kept, err := get("a{100}")
	require.NoError(t, err)
	require.Same(t, first, kept, "it is in use")
	for _, k := range append(held, first, first) {
		g.release(k.constraint)
	}
	_, err = get("(x|y99999){900}")
	require.NoError(t, err)
	require.False(t, slices.Contains([]*knownGrammar{g.known[held[0].key]}, held[0]), "the least recently used has gone")
}

// What no cache of its size can hold is the request's fault; what a grammar that has
// gone has kept is given back.
func TestGrammarsTooLarge(t *testing.T) {
	text := testTokenizer(t)
	key := vocabularyKey{text, text.VocabSize()}
	least := LeastGrammars(text, key.size)
	require.Greater(t, least, int64(2<<20))
	for _, room := range []int64{100, least - 2<<20 + 5000} {
		g := newGrammars(room, nil, idlePace())
		_, err := g.get(t.Context(), "", &form{field: "guided_regex", kind: formRegex, text: "(x|y){900}"}, key)
		f := failureOf(err)
		require.Equal(t, http.StatusBadRequest, f.status, err)
		require.Equal(t, "guided_regex", f.param)
		require.Contains(t, f.message, "--grammar-cache")
		require.Zero(t, f.retry)
		require.Zero(t, g.room.Used())
	}
	g := newGrammars(least, nil, idlePace())
	known, err := g.get(t.Context(), "", &form{field: "f", kind: formRegex, text: "(x|y){9}"}, key)
	require.NoError(t, err)
	m := known.constraint.NewMatcher(nil)
	g.release(known.constraint)
	g.mu.Lock()
	require.NoError(t, g.take("f", int(g.room.Most()-int64(known.bytes)), 0), "it has gone, with its vocabulary")
	g.mu.Unlock()
	used := g.room.Used()
	m.Mask()
	require.Equal(t, used, g.room.Used(), "a step that still uses it takes no room")
	require.Equal(t, http.StatusBadRequest, failureOf(fmt.Errorf("it: %w", runtime.ErrGrammar)).status)
}

// A choice that begins with a blank is answered with it, of a tokenizer too whose
// decoder leaves it out at the start of a text.
func TestStructuredBlank(t *testing.T) {
	text, err := tokenizer.Load(spBPE(t))
	require.NoError(t, err)
	ids, err := text.Encode("yes", false)
	require.NoError(t, err)
	require.Equal(t, " yes", textOfAll(text, ids))
	d := text.NewDecoder(true)
	d.Continue()
	got := ""
	for _, id := range ids {
		got += d.Push(id)
	}
	require.Equal(t, textOfAll(text, ids), got+d.Flush(), "what a grammar is read over is what is decoded")
}

// textOfAll is what a grammar reads of tokens.
func textOfAll(text *tokenizer.Tokenizer, ids []int32) (all string) {
	for _, id := range ids {
		all += string(text.TokenBytes(id))
	}
	return all
}

// spBPE is a folder with a tokenizer of SentencePiece's kind.
func spBPE(t *testing.T) string {
	dir := t.TempDir()
	json, err := os.ReadFile("../models/tokenizer/testdata/sp-bpe.json")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), json, 0o600))
	return dir
}

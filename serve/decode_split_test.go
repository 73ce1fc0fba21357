package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzSplit: valid JSON comes apart as encoding/json takes it apart.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{
		`[]`, `{}`, ` [ 1 , -2.5e3,"a]\"b\\" ,[[],{"x":"}"}], null ] `, "{\"a\" : 1,\t\"b\\u0022\":\r\n{\"c\":[true ,false]} , \"\":\"\" }",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		body = bytes.TrimSpace(body)
		if !json.Valid(body) {
			return
		}
		require.Equal(t, len(body), valueEnd(body))
		var want, got []string
		switch body[0] {
		case '[':
			var list []json.RawMessage
			require.NoError(t, json.Unmarshal(body, &list))
			for i, v := range list {
				want = append(want, fmt.Sprintf("%d %s", i, v))
			}
			for i, v := range elements(body) {
				got = append(got, fmt.Sprintf("%d %s", i, v))
			}
		case '{':
			d := json.NewDecoder(bytes.NewReader(body))
			_, err := d.Token()
			require.NoError(t, err)
			for d.More() {
				name, err := d.Token()
				require.NoError(t, err)
				var v json.RawMessage
				require.NoError(t, d.Decode(&v))
				want = append(want, fmt.Sprintf("%s %s", name, v))
			}
			for name, v := range members(body) {
				var text string
				require.NoError(t, json.Unmarshal(name, &text))
				got = append(got, fmt.Sprintf("%s %s", text, v))
			}
		}
		require.Equal(t, want, got)
		require.Equal(t, len(want), counted(body))
	})
}

// TestTooManyElements: what is too much is counted, and refused by name before
// it is read.
func TestTooManyElements(t *testing.T) {
	list := func(element string, n int) string { return strings.TrimSuffix(strings.Repeat(element+",", n), ",") }
	named := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%d":1,`, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	const turn = `{"role":"user","content":"a"}`
	s := newSite(t, nil) // of a context of 128
	for _, c := range []struct{ path, body, want string }{
		{"completions", `{"prompt":[` + list(`"a"`, maxSequences+1) + `]}`, "prompt has 4097 prompts: give at most 4096"},
		{"completions", `{"prompt":[` + list(`[1]`, maxSequences+1) + `]}`, "prompt has 4097 prompts: give at most 4096"},
		{"completions", `{"prompt":[` + list("1", 1<<17) + `]}`, "prompt has 131072 tokens: this model's maximum context length is 128"},
		{"completions", `{"prompt":"a","logit_bias":{` + named(maxBiases+1) + `}}`, "logit_bias has 1025 tokens: give at most 1024"},
		{"completions", `{"prompt":"a","stop":[` + list(`"a"`, 1<<17) + `]}`, "stop has 131072 elements: give at most 65536"},
		{"chat/completions", `{"messages":[` + list(turn, 129) + `]}`, "messages has 129 turns, parts and calls: this model's maximum context length is 128 tokens, the answer included"},
		{"chat/completions", `{"messages":[` + turn + `,{"role":"user","content":[` + list(`{"type":"text","text":"a"}`, 127) + `]}]}`, "messages has 129 turns, parts and calls"},
		{"chat/completions", `{"messages":[` + turn + `,{"role":"assistant","tool_calls":[` + list(`{"function":{"name":"f","arguments":"{}"}}`, 127) + `]}]}`, "messages has 129 turns, parts and calls"},
		{"chat/completions", `{"messages":[` + turn + `],"documents":[` + list("{}", 1<<17) + `]}`, "documents has 131072 elements: give at most 65536"},
		{"chat/completions", `{"messages":[` + turn + `],"chat_template_kwargs":{` + named(1<<17) + `}}`, "chat_template_kwargs has 131072 elements: give at most 65536"},
		{"chat/completions", `{"messages":[{"role":"user","content":"a",` + named(1<<17) + `}]}`, "messages[0] has 131074 elements: give at most 65536"},
	} {
		got := s.post(t, "/v1/"+c.path, c.body)
		require.Equal(t, 400, got.status, c.want)
		require.Contains(t, got.body, c.want)
	}
	require.Equal(t, 200, s.post(t, "/v1/completions", `{"prompt":"a","max_tokens":1,"logit_bias":{`+named(50)+`}}`).status)
}

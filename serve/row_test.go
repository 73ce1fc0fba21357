package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// ownOfAnswer is what no two answers have the same.
var ownOfAnswer = regexp.MustCompile(`"id":"[a-z]+[-_][0-9a-f]{24}"|"(created|created_at|completed_at)":[0-9]+`)

// A row has the server's own answer, bodies that it refuses included.
func TestRowsAreAnsweredAsRequests(t *testing.T) {
	s := newSite(t, nil)
	s.get(t, "/health") // it serves
	for _, c := range []struct{ url, body string }{
		{"/v1/completions", `{"prompt":"Hello","model":"sql","logprobs":2,"temperature":0}`},
		{"/v1/completions", `{"prompt":["a","b"],"n":2,"seed":1,"echo":true}`},
		{"/v1/completions?adapter=sql", `{"prompt":"Hello"}`},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"<a> & é"}],"max_tokens":9}`},
		{"/v1/generate", `{"inputs":"Hello","parameters":{"details":true,"adapter_id":"sql"}}`},
		{"/v1/responses", `{"input":"<a> & é","max_output_tokens":9,"model":"sql"}`},
		{"/v1/responses", `{"input":[{"role":"user","content":"a"}],"text":{"format":{"type":"json_object"}}}`},
		{"/v1/responses", `{"input":"a","previous_response_id":"resp_1"}`},
		{"/v1/embeddings", `{"input":["Hello","there"],"model":"sql"}`},
		{"/v1/embeddings?adapter=sql", `{"input":[1,2],"dimensions":9}`},
		{"/v1/completions", `{"prompt":"Hello","max_token":3}`},
		{"/v1/completions", `{"prompt":"Hello","session_id":3}`},
		{"/v1/completions", `{"prompt":"Hello","model":"nobody"}`},
		{"/v1/completions?adaptor=sql", `{"prompt":"Hello"}`},
		{"/v1/completions", `{"prompt":"Hello","model":"broken"}`},
		{"/v1/completions", `[]`},
		{"/v1/completions", `{"prompt":"` + strings.Repeat("a", 9<<20) + `"}`},
	} {
		sent := s.post(t, c.url, c.body)
		row, err := json.Marshal(map[string]any{"custom_id": "mine", "method": "POST", "url": c.url, "body": json.RawMessage(c.body)})
		require.NoError(t, err)
		a, err := s.server.Row(ReadRow(7, row))
		require.NoError(t, err)
		var got rowLine
		require.NoError(t, json.Unmarshal(a.Line, &got))
		require.Nil(t, got.Error)
		require.Equal(t, "mine", *got.CustomID)
		require.Equal(t, sent.status, got.Response.Status, c.body[:min(99, len(c.body))])
		require.Equal(t, ownOfAnswer.ReplaceAllString(sent.body, ""), ownOfAnswer.ReplaceAllString(string(got.Response.Body), ""))
		require.Equal(t, sent.header.Get("X-Adapter-Digest"), got.Response.Digest)
		require.Equal(t, sent.header.Get("X-Ignored-Fields"), got.Response.Ignored)
		require.Equal(t, got.ID, got.Response.Request)
		require.Equal(t, sent.status >= 400, a.Failed)
		require.Zero(t, a.Again)
	}
}

// A row that is no request is answered by its number and a reason.
func TestRowsThatAreNone(t *testing.T) {
	s := newSite(t, nil)
	s.get(t, "/health") // it serves
	for name, c := range map[string]struct {
		row, id, code, why string
	}{
		"no JSON":           {`{"custom_id":"a",`, "", invalidRow, "the row is not valid JSON: it ends too early"},
		"no object":         {`[1]`, "", invalidRow, "the row wants to be an object, not an array"},
		"no UTF-8":          {"{\"custom_id\":\"\xff\"}", "\uFFFD", invalidRow, "the row is not valid UTF-8 at byte 14"},
		"no custom_id":      {`{"method":"POST","url":"/v1/completions","body":{}}`, "", invalidRow, "custom_id is missing"},
		"empty custom_id":   {`{"custom_id":"","method":"POST","url":"/v1/completions","body":{}}`, "", invalidRow, "custom_id is missing"},
		"custom_id":         {`{"custom_id":7,"method":"POST","url":"/v1/completions","body":{}}`, "", invalidRow, "custom_id wants a string, not a number"},
		"a misspelt member": {`{"metod":"POST","url":"/v1/completions","custom_id":"a","body":{}}`, "a", invalidRow, "metod is not a field of this request; did you mean method?"},
		"a repeated member": {`{"custom_id":"a","custom_id":"b"}`, "a", invalidRow, "custom_id is given twice"},
		"no method":         {`{"custom_id":"a","url":"/v1/completions","body":{}}`, "a", invalidRow, `method is "": rows are sent by POST`},
		"a method":          {`{"custom_id":"a","method":"GET","url":"/v1/models","body":{}}`, "a", invalidRow, `method is "GET": rows are sent by POST`},
		"a url":             {`{"custom_id":"a","method":"POST","url":"/v1/moderations","body":{}}`, "a", invalidRow, `url is "/v1/moderations": a row asks one of /v1/chat/completions, /v1/completions, /v1/generate, /v1/responses, /v1/embeddings`},
		"a whole url":       {`{"custom_id":"a","method":"POST","url":"http://x/v1/completions","body":{}}`, "a", invalidRow, `url is "http://x/v1/completions": a row asks one of`},
		"no body":           {`{"custom_id":"a","method":"POST","url":"/v1/completions"}`, "a", invalidRow, "body is missing"},
		"a null body":       {`{"custom_id":"a","method":"POST","url":"/v1/completions","body":null}`, "a", invalidRow, "body is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := s.server.Row(ReadRow(12, []byte(c.row)))
			require.NoError(t, err)
			require.True(t, a.Failed)
			var got rowLine
			require.NoError(t, json.Unmarshal(a.Line, &got))
			require.Nil(t, got.Response)
			require.Equal(t, c.code, got.Error.Code)
			require.Equal(t, 12, got.Error.Line)
			require.Contains(t, got.Error.Message, "line 12: "+c.why)
			require.Equal(t, c.id, or(got.CustomID, ""))
		})
	}
	a, err := s.server.Row(TooLong(3, 99))
	require.NoError(t, err)
	require.Contains(t, string(a.Line), `"custom_id":null,"response":null,"error":{"code":"invalid_row","message":"line 3: the row is larger than the 99 bytes`)
	a, err = s.server.Row(ReadRow(5, []byte(`{"custom_id":"a","method":"POST","url":"/v1/completions","body":{}}`)).Repeated(2))
	require.NoError(t, err)
	require.Contains(t, string(a.Line), `"custom_id":"a","response":null,"error":{"code":"duplicate_custom_id","message":"line 5: custom_id \"a\" is that of line 2 too`)
	require.Empty(t, s.engine.requests())
}

// A row has no stream, though its route has.
func TestRowsDoNotStream(t *testing.T) {
	s := newSite(t, nil)
	s.get(t, "/health") // it serves
	for url, body := range map[string]string{
		"/v1/completions": `{"prompt":"a","stream":true}`, "/v1/chat/completions": `{"messages":[{"role":"user","content":"a"}],"stream":true}`, "/v1/generate": `{"inputs":"a","stream":true}`,
	} {
		a, err := s.server.Row(ReadRow(1, []byte(`{"custom_id":"a","method":"POST","url":"`+url+`","body":`+body+`}`)))
		require.NoError(t, err)
		require.Contains(t, string(a.Line), `"status_code":400`)
		require.Contains(t, string(a.Line), "stream: a row of a batch is answered as a whole: leave it out")
	}
	require.Eventually(t, func() bool { return s.engine.running.Load() == 0 }, 20*time.Second, time.Millisecond)
}

// What is refused for want of room may be asked again.
func TestRowsThatMayBeAskedAgain(t *testing.T) {
	s := newSite(t, nil)
	s.get(t, "/health") // it serves
	s.engine.refuse = runtime.ErrQueueFull
	a, err := s.server.Row(ReadRow(1, []byte(`{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"a"}}`)))
	require.NoError(t, err)
	require.True(t, a.Failed)
	require.Equal(t, time.Second, a.Again)
}

// Rows ask routes that there are, for which a key needs the right to use adapters
// and no other.
func TestRoutesOfRows(t *testing.T) {
	all := newSite(t, nil).server.routes()
	for _, url := range rowRoutes {
		require.True(t, slices.ContainsFunc(all, func(r route) bool {
			return r.path == url && r.method == http.MethodPost && r.needs == keys.Use && !r.changes
		}), url)
	}
}

// A row has its custom_id for a session: a canary answers it as often as it is asked,
// or never.
func TestRowsAreSessions(t *testing.T) {
	s := realSiteOf(t, Config{Name: "tiny", KeepVersions: 2})
	s.publishVersion(t, "x", 1, 201)
	s.publishVersion(t, "x?canary=50", 2, 200)
	var seen []string
	for i := range 40 {
		id := fmt.Sprint("row-", i%20)
		row := ReadRow(i, []byte(`{"custom_id":"`+id+`","method":"POST","url":"/v1/completions","body":{"model":"x","prompt":"Hello there","max_tokens":6,"temperature":0}}`))
		a, err := s.server.Row(row)
		require.NoError(t, err)
		var got rowLine
		require.NoError(t, json.Unmarshal(a.Line, &got))
		require.Equal(t, 200, got.Response.Status, string(a.Line))
		asked, _ := s.ask(t, "x", id)
		require.Equal(t, asked, got.Response.Digest, "as a request of that session")
		seen = append(seen, got.Response.Digest)
	}
	require.Equal(t, seen[:20], seen[20:])
	require.Greater(t, len(slices.Compact(slices.Sorted(slices.Values(seen)))), 1, "some by the canary")
}

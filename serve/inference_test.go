package serve

import (
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// asking is a request of a route that has the engine compute something, with LONG
// where it has a text, which may be one of several tokens.
type asking struct {
	body   string
	prompt string // the field of the text, as errors name it
	status int    // of a bad request
	stream bool   // the answer is one
}

// inferenceRoutes has an entry for each route that has the engine compute something.
var inferenceRoutes = map[string]asking{
	"POST /v1/generate":                     {`{"inputs":"LONG"}`, "inputs", 400, false},
	"POST /v1/generate/stream":              {`{"inputs":"LONG"}`, "inputs", 400, true},
	"POST /":                                {`{"inputs":"LONG"}`, "inputs", 422, false},
	"POST /generate":                        {`{"inputs":"LONG"}`, "inputs", 422, false},
	"POST /generate_stream":                 {`{"inputs":"LONG"}`, "inputs", 422, true},
	"POST /v1/completions":                  {`{"prompt":"LONG"}`, "prompt", 400, false},
	"POST /completions":                     {`{"prompt":"LONG"}`, "prompt", 400, false},
	"POST /v1/responses":                    {`{"input":"LONG"}`, "input", 400, false},
	"POST /responses":                       {`{"input":"LONG"}`, "input", 400, false},
	"POST /v1/chat/completions":             {`{"messages":[{"role":"user","content":"LONG"}]}`, "messages", 400, false},
	"POST /chat/completions":                {`{"messages":[{"role":"user","content":"LONG"}]}`, "messages", 400, false},
	"POST /v2/models/:name/generate":        {`{"text_input":"LONG"}`, "text_input", 422, false},
	"POST /v2/models/:name/generate_stream": {`{"text_input":"LONG"}`, "text_input", 422, true},
	"POST /v2/models/:name/infer":           {`{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["LONG"]}]}`, "inputs[0].data[0]", 422, false},
	"POST /v1/embeddings":                   {`{"input":"LONG"}`, "input", 400, false},
	"POST /pooling":                         {`{"input":"LONG"}`, "input", 400, false},
	"POST /embed":                           {`{"inputs":"LONG"}`, "inputs", 422, false},
	"POST /embed_all":                       {`{"inputs":"LONG"}`, "inputs", 422, false},
	"POST /similarity":                      {`{"inputs":{"source_sentence":"LONG","sentences":["b"]}}`, "inputs.source_sentence", 422, false},
	"POST /v1/score":                        {`{"text_1":"LONG","text_2":"b"}`, "text_1", 400, false},
	"POST /score":                           {`{"text_1":"LONG","text_2":"b"}`, "text_1", 400, false},
	"POST /v1/rerank":                       {`{"query":"LONG","documents":["b"]}`, "query", 400, false},
	"POST /v2/rerank":                       {`{"query":"LONG","documents":["b"]}`, "query", 400, false},
	"POST /rerank":                          {`{"query":"LONG","texts":["b"]}`, "query", 422, false},
	"POST /v1/classify":                     {`{"input":"LONG"}`, "input", 400, false},
	"POST /classify":                        {`{"inputs":"LONG"}`, "inputs", 400, false},
	"POST /predict":                         {`{"inputs":"LONG"}`, "inputs", 422, false},
}

// inferences are the routes that have the engine compute something, and what is asked
// of each. A route that is new has to be in the table, and so to hold all that this
// file asks of every one.
func inferences(t *testing.T, s *site) (all []route) {
	t.Helper()
	for _, r := range s.server.routes() {
		_, known := inferenceRoutes[r.method+" "+r.path]
		if r.task == "" {
			require.False(t, known, "%s %s is in inferenceRoutes, and has no task", r.method, r.path)
			continue
		}
		require.True(t, known, "%s %s has no entry in inferenceRoutes: say what is asked of it", r.method, r.path)
		require.Equal(t, keys.Use, r.needs, r.path)
		all = append(all, r)
	}
	require.Len(t, all, len(inferenceRoutes), "a route of inferenceRoutes is gone")
	return all
}

// say asks a route under the adapter "sql", with a text.
func (a asking) say(t *testing.T, s *site, r route, key, text string) answer {
	t.Helper()
	path := strings.ReplaceAll(r.path, ":name", "sql")
	if path == r.path {
		path += "?adapter=sql"
	}
	return s.as(t, key, r.method, path, strings.ReplaceAll(a.body, "LONG", text))
}

// Every route that has the engine compute something is its tenant's, with its weight
// and limits, and leaves a line in the access log that says who asked for what and
// says no text.
func TestEveryInferenceIsItsTenants(t *testing.T) {
	s, log := loggedSite(t, slog.LevelDebug, func(c *Config, _ *Parts) {
		c.Keys = readKeys(t, `
- {name: one, key: one-secret, tenant: team, weight: 3, limits: {running: 4, waiting: 5}}
- {name: blind, key: blind-secret, use: "team-b.*"}
`)
	})
	const secret = "xylophone"
	for i, r := range inferences(t, s) {
		a, before := inferenceRoutes[r.method+" "+r.path], len(s.engine.requests())
		got := a.say(t, s, r, "one", secret)
		require.Equal(t, 200, got.status, "%s: %s", r.path, got.body)
		seen := s.engine.requests()[before:]
		require.NotEmpty(t, seen, r.path)
		for _, request := range seen {
			require.Equal(t, &runtime.Tenant{Name: "team", Weight: 3, Running: 4, Waiting: 5}, request.Tenant, r.path)
			require.Equal(t, "team", request.Scope, r.path)
			require.Equal(t, "digest-of-sql", request.Lease.Digest(), r.path)
		}
		line := log.records(t, "request", 2*i+1)[2*i]
		for key, want := range map[string]any{"route": r.path, "status": 200., "key": "one", "adapter": "sql", "digest": "digest-of-sql"} {
			require.Equal(t, want, line[key], "%s of %s: %v", key, r.path, line)
		}
		require.Positive(t, line["prompt_tokens"], r.path)

		before = len(s.engine.requests())
		require.Equal(t, 404, a.say(t, s, r, "blind", secret).status, r.path)
		require.Len(t, s.engine.requests(), before, r.path)
		line = log.records(t, "request", 2*i+2)[2*i+1]
		require.Nil(t, line["adapter"], "%s tells of what the key may not see", r.path)
	}
	require.NotContains(t, log.String(), secret)
}

// Every such route holds to the limits of keys and of the server.
func TestEveryInferenceHasLimits(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) {
		c.Limits.BodyLimit = 1000
		c.Keys = readKeys(t, `
- {name: short, key: short-secret, limits: {prompt: 3}}
- {name: any, key: any-secret}
`)
	})
	for _, r := range inferences(t, s) {
		a := inferenceRoutes[r.method+" "+r.path]
		got := a.say(t, s, r, "short", "aaaabbbbccccdddd eeee ffff")
		require.Equal(t, a.status, got.status, "%s: %s", r.path, got.body)
		require.Regexp(t, regexp.QuoteMeta(a.prompt)+` has \d+ tokens: this key's limit prompt is 3`, got.body, r.path)
		got = a.say(t, s, r, "any", strings.Repeat("a ", 500))
		require.Equal(t, 413, got.status, "%s: %s", r.path, got.body)
		require.Contains(t, got.body, "larger than the 1000 bytes this server takes", r.path)
		got = a.say(t, s, r, "any", strings.Repeat("ab ", 300))                                                        // of 128 that the base takes
		require.Contains(t, []int{a.status, http.StatusRequestEntityTooLarge}, got.status, "%s: %s", r.path, got.body) // as text-embeddings-inference says it
		require.Contains(t, got.body, a.prompt, r.path)
		require.Empty(t, s.engine.requests(), r.path)
	}
	s.engine.refuse = runtime.ErrQueueFull
	for _, r := range inferences(t, s) {
		got := inferenceRoutes[r.method+" "+r.path].say(t, s, r, "any", "a")
		require.Equal(t, 429, got.status, "%s: %s", r.path, got.body)
		require.NotEmpty(t, got.header.Get("Retry-After"), r.path)
	}
	require.Zero(t, s.engine.running.Load())
}

// What such a route does not read is refused by name, and a base that does not do its
// task says so, before anything is computed.
func TestEveryInferenceIsStrict(t *testing.T) {
	s := newSite(t, nil)
	for _, r := range inferences(t, s) {
		a := inferenceRoutes[r.method+" "+r.path]
		body := strings.TrimSuffix(strings.ReplaceAll(a.body, "LONG", "a"), "}") + `,"no_such_field":1}`
		got := s.send(t, r.method, strings.ReplaceAll(r.path, ":name", "sql"), body)
		require.Equal(t, a.status, got.status, "%s: %s", r.path, got.body)
		require.Contains(t, got.body, "no_such_field", r.path)
		require.Empty(t, s.engine.requests())
	}
	idle := newSite(t, func(_ *Config, p *Parts) { p.Base.Architecture = &models.Architecture{Class: "IdleModel"} })
	for _, r := range inferences(t, idle) {
		a := inferenceRoutes[r.method+" "+r.path]
		got := idle.send(t, r.method, strings.ReplaceAll(r.path, ":name", "sql"), strings.ReplaceAll(a.body, "LONG", "a"))
		require.Contains(t, []int{http.StatusBadRequest, a.status}, got.status, r.path)
		require.Contains(t, got.body, "IdleModel", r.path)
		require.Empty(t, idle.engine.requests())
	}
}

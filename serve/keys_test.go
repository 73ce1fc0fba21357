package serve

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// plainKeys are keys that may do everything.
func plainKeys(t *testing.T, secrets ...string) *keys.Set {
	t.Helper()
	var all []keys.Key
	for i, secret := range secrets {
		key, _, err := keys.Plain(fmt.Sprintf("key-%d", i+1), secret)
		require.NoError(t, err)
		all = append(all, key)
	}
	set, err := keys.NewSet(all)
	require.NoError(t, err)
	return set
}

// readKeys are keys as a file says them. A key's secret is its name and "-secret".
func readKeys(t *testing.T, text string) *keys.Set {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	read, err := keys.Read(path)
	require.NoError(t, err)
	set, err := keys.NewSet(read.Keys)
	require.NoError(t, err)
	return set
}

// as sends a request with a key.
func (s *site) as(t *testing.T, key, method, path, body string, headers ...string) answer {
	t.Helper()
	return s.send(t, method, path, body, append(headers, "Authorization", "Bearer "+key+"-secret")...)
}

const twoTeams = `
- {name: team-a, key: team-a-secret, rights: [use, publish], prefix: team-a.}
- {name: team-b, key: team-b-secret, rights: [use, publish], prefix: team-b.}
- {name: globs, key: globs-secret, rights: [use, publish], use: ["team-a.*", sql], publish: ["team-a.*"]}
- {name: reader, key: reader-secret}
- {name: scraper, key: scraper-secret, rights: metrics}
- {name: root, key: root-secret, rights: admin}
`

// A namingRequest is a request of a route, with NAME where it names an adapter.
type namingRequest struct {
	query, body, header string
	others              bool // that it names answer beside it
}

// fresh is what differs from one answer to the next.
var fresh = regexp.MustCompile(`"[a-z]+-[0-9a-f]{24}"|"created":\d+`)

// requestsOf has an entry for each route that can name an adapter; nil: the route
// names none.
var requestsOf = map[string][]namingRequest{
	"POST /v1/generate":        generateNaming,
	"POST /v1/generate/stream": generateNaming,
	"POST /":                   generateNaming,
	"POST /generate":           generateNaming,
	"POST /generate_stream":    generateNaming,
	"POST /tokenize":           {{body: `{"inputs":"a","model":"NAME"}`}, {body: `{"prompt":"a"}`, query: "?adapter=NAME"}, {body: `{"messages":[{"role":"user","content":"a"}],"model":"NAME"}`}},
	"POST /detokenize":         {{body: `{"tokens":[1],"model":"NAME"}`}},
	"GET /info":                {{}},
	"GET /tokenizer_info":      {{}},
	"GET /load":                {{}},
	"GET /ping":                {{}},
	"POST /ping":               {{}},
	"GET /models":              {{}},
	"GET /models/*":            {{}},
	"POST /completions":        {{body: `{"prompt":"a","model":"NAME"}`}, {body: `{"prompt":"a","model":"NAME:0.5,sql:1"}`}, {body: `{"prompt":"a"}`, header: "NAME"}},
	"POST /chat/completions":   {{body: `{"messages":[{"role":"user","content":"a"}],"model":"NAME"}`}},
	"POST /responses":          {{body: `{"input":"a","model":"NAME"}`}},
	"POST /v1/responses":       {{body: `{"input":"a","model":"NAME"}`}, {body: `{"input":[{"role":"user","content":"a"}],"model":"NAME:0.5,sql:0.5","stream":true}`}, {body: `{"input":"a"}`, header: "NAME"}},
	"POST /v1/completions": {
		{body: `{"prompt":"a","model":"NAME"}`}, {body: `{"prompt":"a","model":"NAME","stream":true}`}, {body: `{"prompt":"a","model":"NAME:0.5,sql:1"}`},
		{body: `{"prompt":"a","model":"sql:0.5, NAME:0.5"}`}, {body: `{"prompt":"a","model":"NAME:1"}`}, {body: `{"prompt":"a","model":"NAME:1000"}`},
		{body: `{"prompt":"a","model":"NAME:1,NAME:1"}`}, {body: `{"prompt":"a","model":"NAME,sql:1"}`}, {body: `{"prompt":"a"}`, query: "?adapter=NAME"},
		{body: `{"prompt":"a"}`, header: "NAME"}, {body: `{"prompt":"a","model":"sql"}`, header: "NAME"}, {body: `{"prompt":"a","model":"NAME","max_tokens":999}`},
		{body: `{"prompt":"a","lora":[{"id":0,"scale":1}]}`}, {body: `{"prompt":"a","lora":[{"id":1,"scale":1}]}`}, {body: `{"prompt":"a","lora":[{"id":2,"scale":1}]}`},
		{body: `{"prompt":"a","lora":[{"id":3,"scale":1}]}`}, {body: `{"prompt":"a","lora":[{"id":4,"scale":0}]}`},
	},
	"POST /v1/chat/completions": {
		{body: `{"messages":[{"role":"user","content":"a"}],"model":"NAME"}`}, {body: `{"messages":[{"role":"user","content":"a"}],"model":"NAME:0.5,sql:0.5"}`},
		{body: `{"messages":[{"role":"user","content":"a"}],"lora":[{"id":3,"scale":1}]}`},
	},
	"POST /v1/embeddings": {
		{body: `{"input":"a","model":"NAME"}`}, {body: `{"input":["a","b"],"model":"NAME:0.5,sql:0.5"}`}, {body: `{"input":[1,2]}`, query: "?adapter=NAME"},
		{body: `{"input":"a"}`, header: "NAME"}, {body: `{"input":"a","model":"NAME","dimensions":99999}`},
	},
	"POST /pooling": {{body: `{"input":"a","model":"NAME"}`}, {body: `{"input":[1,2],"task":"embed"}`, query: "?adapter=NAME"}, {body: `{"input":"a"}`, header: "NAME"}},
	"POST /v1/classify": {
		{body: `{"input":"a","model":"NAME"}`}, {body: `{"input":[["a","b"]],"model":"NAME:0.5,sql:0.5"}`}, {body: `{"text":"a"}`, query: "?adapter=NAME"}, {body: `{"input":[1]}`, header: "NAME"},
		{body: `{"input":"a"}`, query: "?adapter=NAME,sql", others: true}, {body: `{"input":"a"}`, query: "?adapter=NAM*"}, {body: `{"input":"a"}`, query: "?adapter=NAME*"}, {body: `{"input":"a"}`, query: "?adapter=*"},
	},
	"POST /classify":                               {{body: `{"inputs":"a","model":"NAME"}`}},
	"POST /predict":                                {{body: `{"inputs":"a","model":"NAME"}`}, {body: `{"inputs":[["a"]]}`, query: "?adapter=NAME"}},
	"POST /v1/score":                               {{body: `{"text_1":"a","text_2":"b","model":"NAME"}`}},
	"POST /score":                                  {{body: `{"text_1":"a","text_2":"b","model":"NAME"}`}},
	"POST /v1/rerank":                              rerankNaming,
	"POST /v2/rerank":                              rerankNaming,
	"POST /rerank":                                 rerankNaming,
	"POST /embed":                                  {{body: `{"inputs":"a","model":"NAME"}`}, {body: `{"inputs":["a"]}`, query: "?adapter=NAME"}},
	"POST /embed_all":                              {{body: `{"inputs":"a","model":"NAME"}`}},
	"POST /similarity":                             {{body: `{"inputs":{"source_sentence":"a","sentences":["b"]},"model":"NAME"}`}},
	"GET /v1/models":                               {{}},
	"GET /v1/models/*":                             {{}},
	"POST /v2/models/:name/generate":               {{body: `{"text_input":"a"}`}, {body: `{"text_input":"a"}`, header: "sql"}},
	"POST /v2/models/:name/generate_stream":        {{body: `{"text_input":"a"}`}},
	"POST /v2/models/:name/infer":                  {{body: `{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["a"]}]}`}},
	"GET /v2":                                      {{}},
	"GET /v2/models/:name":                         {{}},
	"GET /v2/models/:name/ready":                   {{}},
	"GET /v2/models/:name/versions/:version":       {{}},
	"GET /v2/models/:name/versions/:version/ready": {{}},
	"GET /v2/health/live":                          {{}},
	"GET /v2/health/ready":                         {{}},
	"POST /v1/load_lora_adapter":                   {{body: `{"lora_name":"NAME","lora_path":"/x"}`}, {body: `{"lora_name":"NAME","lora_path":"hf://x/y","load_inplace":true}`}},
	"POST /v1/unload_lora_adapter":                 {{body: `{"lora_name":"NAME"}`}},
	"GET /lora-adapters":                           {{}},
	"GET /v1/adapters":                             {{}},
	"GET /v1/adapters/:name":                       {{}},
	"PUT /v1/adapters/:name":                       {{}, {body: "no archive"}},
	"DELETE /v1/adapters/:name":                    {{}},
	"GET /v1/adapters/:name/versions":              {{}},
	"POST /v1/adapters/:name/rollback":             {{body: `{"digest":"d"}`}, {body: `{}`}},
	"POST /v1/adapters/:name/canary":               {{body: `{"digest":"d","percent":5}`}, {body: `{"percent":0}`}},
	"POST /v1/adapters/:name/pin":                  {{}},
	"POST /v1/adapters/:name/unpin":                {{}},
	"GET /health":                                  {{}},
	"GET /ready":                                   {{}},
	"GET /metrics":                                 nil, // TestMetricsNameNoAdapter
	"GET /v1/stats":                                {{}},
	"GET /version":                                 {{}},
	"GET /openapi.json":                            {{}},
	"GET /":                                        {{}},
	"GET /v1/caller":                               {{}},
}

var rerankNaming = []namingRequest{
	{body: `{"query":"a","documents":["b"],"model":"NAME"}`}, {body: `{"query":"a","texts":["b"]}`, query: "?adapter=NAME"},
}

var generateNaming = []namingRequest{
	{body: `{"inputs":"a","parameters":{"adapter_id":"NAME"}}`}, {body: `{"inputs":"a","parameters":{"adapter_id":"NAME:0.5,sql:0.5"}}`},
	{body: `{"inputs":"a","parameters":{"merged_adapters":{"ids":["sql","NAME"],"weights":[1,2]}}}`},
	{body: `{"inputs":"a","parameters":{"merged_adapters":{"ids":["NAME"]}}}`}, {body: `{"inputs":"a"}`, query: "?adapter=NAME"}, {body: `{"inputs":"a"}`, header: "NAME"},
}

// What a key may not see answers as if it were not there, byte for byte, on every
// route: beside a server that has not got it, and beside a name that nobody has.
func TestHiddenIsAbsent(t *testing.T) {
	const hidden, absent = "team-b.secret", "team-b.nobody"
	dir := t.TempDir() // of both: nothing is written there
	start := func(names ...string) *site {
		s := newSite(t, func(c *Config, _ *Parts) { c.Keys, c.Adapters = readKeys(t, twoTeams), dir })
		for _, name := range append([]string{"team-a.own"}, names...) {
			s.catalogue.Add(name, "/adapters/"+name)
		}
		for _, name := range names {
			got := s.as(t, "team-b", "POST", "/v1/completions", `{"prompt":"a","model":"`+name+`"}`)
			require.Equal(t, 200, got.status, got.body)
			require.Equal(t, 200, s.as(t, "root", "GET", "/lora-adapters", "").status)
		}
		return s
	}
	with, without := start(hidden), start()
	for _, r := range with.server.routes() {
		requests, known := requestsOf[r.method+" "+r.path]
		require.True(t, known, "%s %s has no entry in requestsOf: say how it names adapters", r.method, r.path)
		for _, key := range []string{"team-a", "globs", "reader", "scraper", "nobody"} {
			for _, request := range requests {
				ask := func(s *site, name string) string {
					put := func(text string) string { return strings.ReplaceAll(text, "NAME", name) }
					path := strings.NewReplacer(":name", name, "*", name).Replace(r.path)
					headers := []string{"X-Request-Id", "same"}
					if request.header != "" {
						headers = append(headers, "X-Adapter", put(request.header))
					}
					got := s.as(t, key, r.method, path+put(request.query), put(request.body), headers...)
					got.header.Del("Date")
					return strings.ReplaceAll(fmt.Sprint(got.status, got.header, fresh.ReplaceAllString(got.body, "")), name, "NAME")
				}
				what := fmt.Sprint(key, " ", r.method, " ", r.path, " ", request)
				answer := ask(with, hidden)
				require.Equal(t, ask(without, hidden), answer, what)
				if strings.Contains(r.path, ":name") || strings.Contains(fmt.Sprint(request), "NAME") {
					require.Equal(t, ask(with, absent), answer, what)
					require.True(t, request.others || answer[:3] != "200", what)
				}
				require.NotContains(t, answer, "digest-of-team-b")
			}
		}
	}
	// It is there for whom it is.
	for _, key := range []string{"team-b", "root"} {
		require.Contains(t, with.as(t, key, "GET", "/v1/adapters", "").body, hidden)
		require.Equal(t, 200, with.as(t, key, "POST", "/v1/completions", `{"prompt":"a","model":"sql:0.5,`+hidden+`:0.5"}`).status)
		require.Equal(t, 200, with.as(t, key, "GET", "/v1/models/"+hidden, "").status)
	}
}

// A name that the key sees and nobody has is refused in the words for one that it
// does not see.
func TestHiddenIsAbsentAmongTheSeen(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys = readKeys(t, twoTeams) })
	const hidden, absent = "team-b.secret", "team-a.nobody"
	s.catalogue.Add(hidden, "/adapters/"+hidden)
	for route, requests := range requestsOf {
		method, path, _ := strings.Cut(route, " ")
		for _, request := range requests {
			if method == http.MethodPut || method == http.MethodDelete || strings.Contains(path, "unload") || !strings.Contains(path+fmt.Sprint(request), "NAME") && !strings.Contains(path, ":name") {
				continue // who may publish a name is told by the name
			}
			ask := func(name string) string {
				put := func(text string) string { return strings.ReplaceAll(text, "NAME", name) }
				headers := []string{"X-Request-Id", "same"}
				if request.header != "" {
					headers = append(headers, "X-Adapter", put(request.header))
				}
				got := s.as(t, "team-a", method, strings.NewReplacer(":name", name, "*", name).Replace(path)+put(request.query), put(request.body), headers...)
				got.header.Del("Date")
				return strings.ReplaceAll(fmt.Sprint(got.status, got.header, fresh.ReplaceAllString(got.body, "")), name, "NAME")
			}
			require.Equal(t, ask(absent), ask(hidden), "%s %v", route, request)
		}
	}
}

// Every route needs the right that it says, and generation the right use whatever
// its route says.
func TestRights(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys = readKeys(t, twoTeams) })
	_, err := s.catalogue.Load(t.Context(), "sql")
	require.NoError(t, err)
	for _, r := range s.server.routes() {
		path := strings.NewReplacer(":name", "sql", ":version", "digest-of-sql", "*", "sql").Replace(r.path)
		stranger := s.send(t, r.method, path, "")
		wrong := s.as(t, "wrong", r.method, path, "")
		lacking := s.as(t, "scraper", r.method, path, "")
		if r.needs == open {
			require.NotContains(t, []int{401, 403}, stranger.status, path)
			continue
		}
		require.Equal(t, 401, stranger.status, path)
		require.Equal(t, 401, wrong.status, path)
		require.Equal(t, "Bearer", wrong.header.Get("Www-Authenticate"))
		if r.needs != anyKey {
			require.Equal(t, 403, lacking.status, path)
			require.Contains(t, lacking.body, `lacks the right `+string(r.needs))
		} else {
			require.Less(t, lacking.status, 300, path)
		}
		for _, request := range requestsOf[r.method+" "+r.path] { // whatever is asked of a generating route
			if generates := strings.Contains(request.body, `"prompt"`) || strings.Contains(request.body, `put":"a"`) || strings.Contains(request.body, "messages") || strings.Contains(request.body, `"query"`) || strings.Contains(request.body, `"text_1"`); generates {
				require.Equal(t, 403, s.as(t, "scraper", r.method, path, request.body).status, r.path)
			}
		}
	}
	require.Empty(t, s.engine.requests())
	for _, c := range []struct {
		key, method, path, body string
		status                  int
	}{
		{"reader", "POST", "/v1/completions", `{"prompt":"a","model":"sql"}`, 200},
		{"reader", "PUT", "/v1/adapters/sql", "", 403},
		{"reader", "DELETE", "/v1/adapters/sql", "", 403},
		{"team-a", "DELETE", "/v1/adapters/sql", "", 403},
		{"team-a", "POST", "/v1/unload_lora_adapter", `{"lora_name":"sql"}`, 403},
		{"team-a", "PUT", "/v1/adapters/sst2", "", 403},
		{"team-a", "POST", "/v1/adapters/sql/pin", "", 403},
		{"team-a", "POST", "/v1/load_lora_adapter", `{"lora_name":"team-a.x","lora_path":"/adapters/team-b.secret"}`, 403},
		{"globs", "DELETE", "/v1/adapters/cold", "", 404},
		{"globs", "DELETE", "/v1/adapters/team-a.x", "", 404},
		{"root", "POST", "/v1/adapters/sql/pin", "", 200},
		{"root", "DELETE", "/v1/adapters/sql", "", 204},
	} {
		got := s.as(t, c.key, c.method, c.path, c.body)
		require.Equal(t, c.status, got.status, "%s %s %s: %s", c.key, c.method, c.path, got.body)
	}
	got := s.as(t, "team-a", "PUT", "/v1/adapters/sst2", "")
	require.Contains(t, got.body, `the key \"team-a\" may not publish adapter \"sst2\": names that it may publish begin with \"team-a.\"`)
	// One that it may publish and not use is seen.
	s.server.settings.Store(newSettings(readKeys(t, `{name: ci, key: ci-secret, rights: [use, publish], use: sql, publish: "nightly-*"}`), Limits{}))
	s.catalogue.Add("nightly-1", "/adapters/nightly-1")
	require.Equal(t, 200, s.as(t, "ci", "GET", "/v1/adapters/nightly-1", "").status)
	got = s.as(t, "ci", "POST", "/v1/completions", `{"prompt":"a","model":"nightly-1"}`)
	require.Equal(t, 403, got.status)
	require.Contains(t, got.body, `may publish adapter \"nightly-1\" and not use it`)
}

// A key publishes below its prefix, replaces and deletes there, and leaves what is
// another's.
func TestPublishing(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys, c.Adapters = readKeys(t, twoTeams), dir })
	archive := string(zstdOf(t, tarOf(t, good...)))
	got := s.as(t, "team-a", "PUT", "/v1/adapters/team-a.sst2", archive)
	require.Equal(t, 201, got.status, got.body)
	require.Equal(t, `"team-a.sst2"`, member(t, got.body, "source"), "where it lies is not told")
	require.Equal(t, 200, s.as(t, "team-a", "PUT", "/v1/adapters/team-a.sst2", archive).status)
	require.Equal(t, 403, s.as(t, "team-b", "PUT", "/v1/adapters/team-a.sst2", archive).status)
	require.Equal(t, 404, s.as(t, "team-b", "DELETE", "/v1/adapters/team-a.sst2", "").status)
	require.Equal(t, 404, s.as(t, "team-b", "POST", "/v1/unload_lora_adapter", `{"lora_name":"team-a.sst2"}`).status)
	require.DirExists(t, filepath.Join(dir, "team-a.sst2"))
	require.Equal(t, 204, s.as(t, "team-a", "DELETE", "/v1/adapters/team-a.sst2", "").status)
	require.NoDirExists(t, filepath.Join(dir, "team-a.sst2"))
	require.Equal(t, 201, s.as(t, "root", "PUT", "/v1/adapters/team-b.x", archive).status)
}

// A tenant's uploads at once are limited, whichever of its keys they come with.
func TestUploadsAtOnce(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) {
		c.Adapters = t.TempDir()
		c.Keys = readKeys(t, `
- {name: one, key: one-secret, tenant: team, rights: publish, limits: {uploads: 2}}
- {name: two, key: two-secret, tenant: team, rights: publish}
- {name: other, key: other-secret, rights: publish}
`)
	})
	var leave []func()
	for range 2 {
		l, ok := s.server.tenantUploads.enter("team", 2)
		require.True(t, ok)
		leave = append(leave, l)
	}
	got := s.as(t, "two", "PUT", "/v1/adapters/x", "")
	require.Equal(t, 429, got.status)
	require.Equal(t, "1", got.header.Get("Retry-After"))
	require.Contains(t, got.body, `tenant \"team\" has the most uploads at once that its limit \"uploads\" allows, 2: try again later`)
	require.Equal(t, 415, s.as(t, "other", "PUT", "/v1/adapters/x", "").status)
	leave[0]()
	require.Equal(t, 415, s.as(t, "one", "PUT", "/v1/adapters/x", "").status)
	require.Equal(t, 415, s.as(t, "one", "PUT", "/v1/adapters/x", "").status, "what has ended counts no more")
	leave[1]()
	require.Empty(t, s.server.tenantUploads.of)
}

// Requests reach the engine with their tenant, its weight and limits, and the
// scope of what they find in the prefix cache.
func TestTenantsOfRequests(t *testing.T) {
	const team = `
- {name: one, key: one-secret, tenant: team, weight: 3, limits: {running: 4, waiting: 5}}
- {name: two, key: two-secret, tenant: team}
- {name: other, key: other-secret}
`
	bodies := map[string]string{
		"/v1/completions": `{"prompt":"a"}`, "/v1/chat/completions": `{"messages":[{"role":"user","content":"a"}]}`,
		"/generate": `{"inputs":"a"}`, "/v2/models/base-model/generate": `{"text_input":"a"}`,
	}
	for _, share := range []bool{false, true} {
		s := newSite(t, func(c *Config, _ *Parts) { c.Keys, c.SharePrefixes = readKeys(t, team), share })
		for path, body := range bodies {
			for _, key := range []string{"one", "two", "other"} {
				require.Equal(t, 200, s.as(t, key, "POST", path, body).status)
				seen := s.engine.requests()
				r := seen[len(seen)-1]
				want, scope := &runtime.Tenant{Name: "team", Weight: 3, Running: 4, Waiting: 5}, "team"
				if key == "other" {
					want, scope = &runtime.Tenant{Name: "other", Weight: 1}, "other"
				}
				if share {
					scope = ""
				}
				require.Equal(t, want, r.Tenant, path)
				require.Equal(t, scope, r.Scope, path)
			}
		}
	}
	s := newSite(t, nil)
	for path, body := range bodies {
		require.Equal(t, 200, s.post(t, path, body).status)
		seen := s.engine.requests()
		require.Equal(t, &runtime.Tenant{Name: "127.0.0.1"}, seen[len(seen)-1].Tenant)
		require.Empty(t, seen[len(seen)-1].Scope)
	}
}

// What a server and a key let requests ask for, on every dialect.
func TestLengths(t *testing.T) {
	dialects := []struct {
		path, body, field, prompt string
		own, status               int // the dialect's default, and its status of a bad request
	}{
		{"/v1/completions", `{"prompt":"aaaa"%s}`, "max_tokens", "prompt", 16, 400},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"aaaa"}]%s}`, "max_tokens", "messages", -1, 400},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"aaaa"}]%s}`, "max_completion_tokens", "messages", -1, 400},
		{"/v1/generate", `{"inputs":"aaaa","parameters":{%s}}`, "max_new_tokens", "inputs", 100, 400},
		{"/generate", `{"inputs":"aaaa","parameters":{%s}}`, "max_new_tokens", "inputs", 100, 422},
		{"/v2/models/base-model/generate", `{"text_input":"aaaa","parameters":{%s}}`, "max_tokens", "text_input", 20, 422},
	}
	for _, c := range []struct {
		server, limit, key int
		said               int // 0: nothing
		want               int // 0: the dialect's own; below 0: refused
		message            string
	}{
		{0, 0, 0, 0, 0, ""}, {7, 0, 0, 0, 7, ""}, {7, 5, 0, 0, 5, ""}, {0, 5, 0, 0, 5, ""}, {0, 0, 5, 0, 5, ""}, {0, 9, 5, 0, 5, ""}, {7, 0, 0, 9, 9, ""}, {7, 9, 9, 9, 9, ""},
		{0, 5, 0, 6, -1, " is 6: this server's limit is 5 (--max-tokens-limit)"}, {0, 5, 9, 6, -1, " is 6: this server's limit is 5"},
		{0, 9, 5, 6, -1, " is 6: this key's limit completion is 5"},
		{1000, 0, 0, 0, -2, ""}, // what the context has left
	} {
		s := newSite(t, func(cfg *Config, _ *Parts) {
			cfg.Limits = Limits{MaxTokensDefault: c.server, MaxTokensLimit: c.limit}
			text := "{name: it, key: it-secret}"
			if c.key > 0 {
				text = fmt.Sprintf("{name: it, key: it-secret, limits: {completion: %d}}", c.key)
			}
			cfg.Keys = readKeys(t, text)
		})
		for _, d := range dialects {
			said := ""
			if c.said > 0 {
				said = fmt.Sprintf(`"%s":%d`, d.field, c.said)
				if !strings.Contains(d.body, "{%s}") {
					said = "," + said
				}
			}
			got := s.as(t, "it", "POST", d.path, fmt.Sprintf(d.body, said))
			if c.want == -1 {
				require.Equal(t, d.status, got.status, got.body)
				require.Contains(t, got.body, d.field+c.message)
				continue
			}
			require.Equal(t, 200, got.status, got.body)
			seen := s.engine.requests()
			r := seen[len(seen)-1]
			switch want := c.want; want {
			case 0:
				require.Equal(t, d.own, r.MaxTokens, d.path)
			case -2:
				require.Equal(t, 128-len(r.Prompt), r.MaxTokens, d.path)
			default:
				require.Equal(t, want, r.MaxTokens, d.path)
			}
		}
	}
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys = readKeys(t, "{name: it, key: it-secret, limits: {prompt: 3}}") })
	for _, d := range dialects {
		got := s.as(t, "it", "POST", d.path, fmt.Sprintf(d.body, ""))
		require.Equal(t, d.status, got.status, got.body)
		require.Regexp(t, d.prompt+` has \d+ tokens: this key's limit prompt is 3`, got.body)
	}
}

// Where adapters lie on the machine is for admins, in listings and in errors.
func TestPathsAreForAdmins(t *testing.T) {
	dir := t.TempDir()
	s := newSite(t, func(c *Config, _ *Parts) {
		c.Keys, c.Adapters, c.AllowPaths, c.Source, c.Downloads = readKeys(t, twoTeams), dir, []string{"/"}, dir+"/base/model.gguf", []string{"/home/op/hub"}
	})
	s.catalogue.Add("placed", dir+"/placed")
	s.catalogue.with("placed", func(e *catalogue.Entry) error {
		e.Err, e.Warning = fmt.Errorf("open %s/placed/adapter_config.json: no such file", dir), dir+"/placed is of another base"
		return nil
	})
	s.catalogue.Add("hub", "hf://owner/name")
	s.catalogue.with("hub", func(e *catalogue.Entry) error {
		e.Err = fmt.Errorf("open /home/op/hub/models--owner--name/adapter_config.json: no such file")
		return nil
	})
	for _, path := range []string{"/v1/adapters", "/v1/adapters/placed", "/v1/models", "/v1/models/placed", "/v1/models/base-model", "/lora-adapters"} {
		require.Contains(t, s.as(t, "root", "GET", path, "").body, dir, path)
		got := s.as(t, "reader", "GET", path, "")
		require.Equal(t, 200, got.status)
		require.NotContains(t, got.body, dir, path)
	}
	placed := s.as(t, "reader", "GET", "/v1/adapters/placed", "").body
	require.Equal(t, `"open adapter_config.json: no such file"`, member(t, placed, "error"))
	require.Equal(t, `"placed is of another base"`, member(t, placed, "warning"))
	require.Equal(t, `"placed"`, member(t, placed, "source"))
	got := s.as(t, "reader", "GET", "/v1/adapters/hub", "").body
	require.Equal(t, `"hf://owner/name"`, member(t, got, "source"))
	require.Equal(t, `"open models--owner--name/adapter_config.json: no such file"`, member(t, got, "error"))

	s.catalogue.refuse = fmt.Errorf("open %s/placed/adapter_config.json: no such file or directory", dir)
	for _, body := range []string{`{"prompt":"a","model":"placed"}`, `{"prompt":"a","model":"placed","stream":true}`} {
		require.Contains(t, s.as(t, "root", "POST", "/v1/completions", body).body, "open "+dir)
		got := s.as(t, "reader", "POST", "/v1/completions", body)
		require.Equal(t, 422, got.status, got.body)
		require.Contains(t, got.body, `adapter \"placed\" cannot be served: open placed/adapter_config.json: no such file or directory`)
	}
}

// What has a label for names of adapters is for keys with the right metrics.
func TestMetricsNameNoAdapter(t *testing.T) {
	for _, auth := range []bool{false, true} {
		s := newSite(t, func(c *Config, _ *Parts) { c.Keys, c.MetricsAuth = readKeys(t, twoTeams), auth })
		s.server.metrics.Finished("sql", runtime.FinishEOS, runtime.Usage{AdapterDigest: "d", Adapters: []string{"sql"}, FirstToken: 1}, nil)
		for key, may := range map[string]bool{"root": true, "scraper": true, "reader": false, "nobody": false} {
			got := s.as(t, key, "GET", "/metrics", "")
			switch {
			case may:
				require.Equal(t, 200, got.status)
				require.Contains(t, got.body, `adapter="sql"`)
				require.Contains(t, got.body, `running_lora_adapters=`)
			case auth:
				require.Contains(t, []int{401, 403}, got.status)
			default:
				require.Equal(t, 200, got.status)
				require.NotContains(t, got.body, "sql")
				require.NotContains(t, got.body, "cold", "of those that requests wait for")
				require.Contains(t, got.body, "vllm:num_requests_running")
			}
		}
	}
	require.ErrorContains(t, Config{Name: "x", MetricsAuth: true}.Validate(), "MetricsAuth is set, and there are no Keys")
}

// Keys and limits change for the requests that come, and the change is told in
// words, without secrets.
func TestReload(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys = readKeys(t, twoTeams) })
	changes, err := s.server.Reload(readKeys(t, `
- {name: team-b, key: team-b-secret, rights: [use, publish], prefix: team-b.}
- {name: globs, key: globs-secret, use: sql}
- {name: new, key: new-secret}
`), Limits{MaxTokensLimit: 5, Timeout: time.Minute})
	require.NoError(t, err)
	require.Equal(t, "keys: added new; removed reader, root, scraper, team-a; changed globs; request-timeout 0s → 1m0s; max-tokens-limit 0 → 5", changes)
	require.NotContains(t, changes, "secret")
	body := `{"prompt":"a","model":"sql","max_tokens":6}`
	require.Equal(t, 401, s.as(t, "team-a", "POST", "/v1/completions", body).status)
	require.Equal(t, 400, s.as(t, "new", "POST", "/v1/completions", body).status)
	changes, err = s.server.Reload(s.server.settings.Load().keys, Limits{MaxTokensLimit: 5, Timeout: time.Minute})
	require.NoError(t, err)
	require.Empty(t, changes)
	_, err = s.server.Reload(nil, Limits{})
	require.ErrorContains(t, err, "restart it")
	_, err = s.server.Reload(readKeys(t, twoTeams), Limits{MaxTokensLimit: -1})
	require.ErrorContains(t, err, "MaxTokensLimit is -1, below 0")
	require.Equal(t, 401, s.as(t, "root", "GET", "/version", "").status, "nothing of it holds")
}

// llama.cpp's numbers count what the key sees, and are forgotten with it.
func TestNumbersOfKeys(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys = readKeys(t, twoTeams) })
	s.catalogue.Add("a-first", "/adapters/a-first")
	require.Equal(t, `0`, member(t, s.as(t, "globs", "GET", "/lora-adapters", "").body, "0", "id"))
	require.Equal(t, `"sql"`, member(t, s.as(t, "globs", "GET", "/lora-adapters", "").body, "0", "name"))
	require.Equal(t, `"a-first"`, member(t, s.as(t, "root", "GET", "/lora-adapters", "").body, "0", "name"))
	got := s.as(t, "globs", "POST", "/v1/completions", `{"prompt":"a","lora":[{"id":0,"scale":0.5}]}`)
	require.Equal(t, `"sql:0.5"`, member(t, got.body, "model"))
	require.Equal(t, 400, s.as(t, "globs", "POST", "/v1/completions", `{"prompt":"a","lora":[{"id":1,"scale":0.5}]}`).status)
	_, err := s.server.Reload(readKeys(t, `{name: globs, key: globs-secret}`), Limits{})
	require.NoError(t, err)
	require.Len(t, s.server.loras.lists, 1)
}

// What hides an adapter hides one that is in memory, too, from combinations and
// from errors of a catalogue that reads folders.
func TestHiddenInARealCatalogue(t *testing.T) {
	s := realSite(t)
	s.server.settings.Store(newSettings(readKeys(t, `
- {name: some, key: some-secret, use: [dora, prefix, nobody]}
- {name: root, key: root-secret, rights: admin}
`), Limits{}))
	require.Equal(t, 200, s.as(t, "root", "POST", "/v1/completions", `{"prompt":"a","model":"lora","max_tokens":1}`).status)
	for _, model := range []string{"NAME", "NAME:1", "NAME:0.5", "dora:0.5,NAME:0.5", "NAME:0.5,dora:0.5", "NAME:1000", "NAME:1,NAME:1", "NAME,dora:1", "prefix:1,NAME:1"} {
		ask := func(name string) string {
			got := s.as(t, "some", "POST", "/v1/completions", `{"prompt":"a","max_tokens":1,"model":"`+strings.ReplaceAll(model, "NAME", name)+`"}`)
			require.NotEqual(t, 200, got.status)
			return fmt.Sprint(got.status, strings.ReplaceAll(got.body, name, "NAME"))
		}
		hidden := ask("lora")
		require.Equal(t, ask("gone"), hidden, "a name that it does not see")
		require.Equal(t, ask("nobody"), hidden, "a name that it sees")
	}
	require.Equal(t, 200, s.as(t, "some", "POST", "/v1/completions", `{"prompt":"a","max_tokens":1,"model":"dora"}`).status)
}

// What an owner's adapters take of its quota is told to the owner and to admins.
func TestQuotasAreTheirOwners(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) {
		c.Keys = readKeys(t, twoTeams+`
- {name: guest, key: guest-secret, use: team-a.model}
`)
	})
	s.catalogue.Add("team-a.model", "/adapters/team-a.model")
	full := &catalogue.QuotaError{Owner: "team-a", Need: 11, Quota: 7777, Pinned: 22, Used: 33}
	s.catalogue.refuse = full
	s.catalogue.with("team-a.model", func(e *catalogue.Entry) error {
		e.State, e.Err = catalogue.Failed, catalogue.OfAdapter("team-a.model", full)
		return nil
	})
	for key, may := range map[string]bool{"team-a": true, "root": true, "guest": false} {
		for _, got := range []answer{
			s.as(t, key, "POST", "/v1/completions", `{"prompt":"a","model":"team-a.model"}`),
			s.as(t, key, "POST", "/v1/completions", `{"prompt":"a","model":"team-a.model","stream":true}`),
			s.as(t, key, "POST", "/generate", `{"inputs":"a","parameters":{"adapter_id":"team-a.model"}}`),
			s.as(t, key, "GET", "/v1/adapters/team-a.model", ""),
			s.as(t, key, "GET", "/v1/adapters", ""),
		} {
			require.Contains(t, got.body, "no room for the adapter among its owner's")
			require.Equal(t, may, strings.Contains(got.body, "7777"), "%s: %s", key, got.body)
			require.Equal(t, may, strings.Contains(got.body, `\"team-a\"`), "%s: %s", key, got.body)
		}
	}
}

// A number that was given to an adapter which the key sees no more is nobody's.
func TestNumbersOfWhatIsHiddenNow(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys = readKeys(t, twoTeams) })
	require.Contains(t, s.as(t, "reader", "GET", "/lora-adapters", "").body, `"cold"`)
	_, err := s.server.Reload(readKeys(t, `{name: reader, key: reader-secret, use: sql}`), Limits{})
	require.NoError(t, err)
	ask := func(id string) string {
		got := s.as(t, "reader", "POST", "/v1/completions", `{"prompt":"a","lora":[{"id":`+id+`,"scale":1}]}`)
		require.Equal(t, 400, got.status, got.body)
		return strings.ReplaceAll(got.body, "is "+id+",", "is ID,")
	}
	require.Equal(t, ask("77"), ask("1"))
}

// A request keeps the time that it had when it came, whatever is reloaded.
func TestTimeoutOfARequestStays(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys = readKeys(t, twoTeams) })
	s.catalogue.meanwhile = func() {
		_, err := s.server.Reload(readKeys(t, twoTeams), Limits{Timeout: time.Nanosecond})
		require.NoError(t, err)
	}
	body := `{"prompt":"a","model":"sql"}`
	require.Equal(t, 200, s.as(t, "root", "POST", "/v1/completions", body).status)
	require.Equal(t, 504, s.as(t, "root", "POST", "/v1/completions", body).status)
}

// Whether a model is ready is told to who may ask, without what is another tenant's,
// and tried for those alone who may use it.
func TestReadinessIsTheUsers(t *testing.T) {
	tried := &tryingCatalogue{}
	s := newSite(t, func(c *Config, p *Parts) {
		tried.Catalogue = p.Catalogue
		p.Catalogue = tried
		c.Keys = readKeys(t, twoTeams+`
- {name: guest, key: guest-secret, use: team-a.model}
- {name: publisher, key: publisher-secret, rights: publish, publish: ["team-a.*"]}
- {name: looker, key: looker-secret, rights: [use, publish], use: [sql], publish: ["team-a.*"]}
`)
	})
	s.catalogue.Add("team-a.model", "/elsewhere/model")
	full := &catalogue.QuotaError{Owner: "team-a", Need: 11, Quota: 7777, Pinned: 22, Used: 33}
	for _, err := range []error{catalogue.OfAdapter("team-a.model", fmt.Errorf("/elsewhere/model: %w", full)), fmt.Errorf("/elsewhere/model: %w", full)} {
		tried.err = err
		require.NoError(t, s.catalogue.with("team-a.model", func(e *catalogue.Entry) error {
			e.State, e.Err = catalogue.Failed, err
			return nil
		}))
		for _, key := range []struct {
			name         string
			tells, tries bool
		}{{"team-a", true, true}, {"root", true, true}, {"guest", false, true}, {"publisher", false, false}, {"looker", false, false}} {
			tried.names = nil
			got := s.as(t, key.name, "GET", "/v2/models/team-a.model/ready", "")
			require.Equal(t, 503, got.status, got.body)
			require.Contains(t, got.body, "no room for the adapter among its owner's", key.name)
			require.Equal(t, key.tells, strings.Contains(got.body, "7777"), "%s: %s", key.name, got.body)
			require.Equal(t, key.tries, len(tried.names) > 0, key.name)
			require.Equal(t, key.name == "root", strings.Contains(got.body, "/elsewhere"), "%s: %s", key.name, got.body)
		}
	}
}

// tryingCatalogue notes what is tried, which fails.
type tryingCatalogue struct {
	Catalogue
	err   error
	names []string
}

func (c *tryingCatalogue) Try(_ context.Context, e catalogue.Entry) error {
	c.names = append(c.names, e.Name)
	return c.err
}

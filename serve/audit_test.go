package serve

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every attempt to change the adapters leaves an entry: who, from where, which
// versions, and what came of it.
func TestAuditLog(t *testing.T) {
	dir := t.TempDir()
	audit := &logged{}
	s := newSite(t, func(c *Config, _ *Parts) {
		c.Adapters, c.AllowPaths, c.Audit = dir, []string{dir}, audit.logger(slog.LevelInfo)
	})
	archive := string(gzipOf(t, tarOf(t, entry{name: "adapter_config.json", body: "{}"})))
	put := func(name, body string) answer { return s.send(t, http.MethodPut, "/v1/adapters/"+name, body) }
	type line struct{ action, outcome, adapter, old, new any }
	for i, c := range []struct {
		do     func() answer
		status int
		want   line
	}{
		{func() answer { return put("new", archive) }, 201, line{"publish", "done", "new", nil, "digest-of-upload"}},
		{func() answer { return put("new", archive) }, 200, line{"replace", "done", "new", "digest-of-new", "digest-of-upload"}},
		{func() answer { return put("new", "no archive") }, 415, line{"publish", "refused", "new", nil, nil}},
		{func() answer { return put("broken-new", archive) }, 422, line{"publish", "refused", "broken-new", nil, nil}},
		{func() answer { return put("What%20a%20name%21", archive) }, 400, line{"publish", "refused", nil, nil, nil}},
		{func() answer { return s.post(t, "/v1/adapters/new/pin", "") }, 200, line{"pin", "done", "new", nil, "digest-of-new"}},
		{func() answer { return s.post(t, "/v1/adapters/new/unpin", "") }, 200, line{"unpin", "done", "new", nil, "digest-of-new"}},
		{func() answer { return s.post(t, "/v1/adapters/nobody/pin", "") }, 404, line{"pin", "refused", "nobody", nil, nil}},
		{func() answer { return s.send(t, http.MethodDelete, "/v1/adapters/new", "") }, 204, line{"delete", "done", "new", "digest-of-new", nil}},
		{func() answer { return s.send(t, http.MethodDelete, "/v1/adapters/new", "") }, 404, line{"delete", "refused", "new", nil, nil}},
		{func() answer { return s.post(t, "/v1/load_lora_adapter", `{"lora_name":"more","lora_path":"`+dir+`"}`) }, 200, line{"load", "done", "more", nil, "digest-of-more"}},
		{func() answer {
			return s.post(t, "/v1/load_lora_adapter", `{"lora_name":"more","lora_path":"`+dir+`","load_inplace":true}`)
		}, 200, line{"load", "done", "more", "digest-of-more", "digest-of-more"}},
		{func() answer { return s.post(t, "/v1/load_lora_adapter", `{"lora_name":`) }, 400, line{"load", "refused", nil, nil, nil}},
		{func() answer { return s.post(t, "/v1/unload_lora_adapter", `{"lora_name":"more"}`) }, 200, line{"unload", "done", "more", "digest-of-more", nil}},
	} {
		got := c.do()
		require.Equal(t, c.status, got.status, got.body)
		entry := audit.records(t, "adapter", i+1)[i]
		require.Equal(t, c.want, line{entry["action"], entry["outcome"], entry["adapter"], entry["old_digest"], entry["new_digest"]})
		require.Equal(t, []any{float64(c.status), "127.0.0.1", got.header.Get("X-Request-Id")}, []any{entry["status"], entry["client"], entry["request"]})
	}
	s.get(t, "/v1/adapters")
	s.get(t, "/v1/adapters/sql")
	audit.records(t, "adapter", 14)
}

// What is refused before it reaches its handler is there too, and so is what
// ends in a panic; without a log of its own the entry is a line of the log.
func TestAuditOfTheRefused(t *testing.T) {
	s, log := loggedSite(t, slog.LevelInfo, func(c *Config, _ *Parts) { c.Keys = plainKeys(t, "secret-key") })
	require.Equal(t, 401, s.send(t, http.MethodDelete, "/v1/adapters/sql", "").status)
	entry := log.records(t, "adapter", 1)[0]
	require.Equal(t, []any{true, "delete", "refused", "invalid_api_key"}, []any{entry["audit"], entry["action"], entry["outcome"], entry["error"]})

	s, log = loggedSite(t, slog.LevelInfo, func(c *Config, _ *Parts) { c.Keys = readKeys(t, twoTeams) })
	require.Equal(t, 403, s.as(t, "reader", http.MethodPost, "/v1/adapters/sql/pin", "").status)
	require.Equal(t, 200, s.as(t, "root", http.MethodPost, "/v1/adapters/sql/pin", "").status)
	for i, who := range []string{"reader", "root"} {
		require.Equal(t, []any{who, who}, []any{log.records(t, "adapter", 2)[i]["key"], log.records(t, "request", 2)[i]["tenant"]})
	}

	s, log = loggedSite(t, slog.LevelInfo, func(c *Config, _ *Parts) { c.ReadOnly = true })
	require.Equal(t, 403, s.send(t, http.MethodDelete, "/v1/adapters/sql", "").status)
	require.Equal(t, "read_only", log.records(t, "adapter", 1)[0]["error"])

	s, log = loggedSite(t, slog.LevelInfo, func(_ *Config, p *Parts) { p.Catalogue = bursting{p.Catalogue} })
	require.Equal(t, 500, s.send(t, http.MethodPost, "/v1/adapters/sql/unpin", "").status)
	require.Equal(t, "failed", log.records(t, "adapter", 1)[0]["outcome"])
}

type bursting struct{ Catalogue }

func (bursting) Unpin(string) error { panic("boom") }

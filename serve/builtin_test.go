package serve

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
)

// A built-in adapter is listed with its example and answers like any other. It
// cannot be deleted or unloaded; an upload of its name stands in its place until
// that is deleted.
func TestBuiltinAdapter(t *testing.T) {
	within := filepath.Join(t.TempDir(), "within")
	layAdapter(t, "lora", within)
	s := realSiteOf(t, Config{Name: "tiny", Examples: map[string]string{"within://own": "Input: a\nOutput:"}}, func(o *catalogue.Options, _ *Parts) {
		o.Builtin = map[string]string{"own": "within://own"}
		o.Schemes = map[string]catalogue.Scheme{"within": func(context.Context, string) (string, error) { return within, nil }}
	})
	body := func(method, path, body string, status int) string {
		t.Helper()
		got := s.send(t, method, path, body)
		require.Equal(t, status, got.status, got.body)
		return got.body
	}
	asked := func() string {
		t.Helper()
		return s.send(t, http.MethodPost, "/v1/generate?adapter=own", `{"inputs":"a"}`).header.Get("X-Adapter-Digest")
	}
	builtIn := asked()
	require.NotEmpty(t, builtIn)
	require.Equal(t, `"Input: a\nOutput:"`, member(t, body(http.MethodGet, "/v1/adapters/own", "", http.StatusOK), "example"))
	require.Contains(t, body(http.MethodGet, "/v1/adapters", "", http.StatusOK), `"source":"within://own"`)
	require.NotContains(t, body(http.MethodGet, "/v1/adapters/lora", "", http.StatusOK), "example")

	require.Equal(t, `"built_in"`, member(t, body(http.MethodDelete, "/v1/adapters/own", "", http.StatusConflict), "error", "code"))
	require.Contains(t, body(http.MethodPost, "/v1/unload_lora_adapter", `{"lora_name":"own"}`, http.StatusConflict), "is built in")

	require.Equal(t, http.StatusCreated, s.upload(t, "own", "{{ messages[0].content }}").status)
	require.NotContains(t, body(http.MethodGet, "/v1/adapters/own", "", http.StatusOK), "example")
	require.Contains(t, body(http.MethodGet, "/v1/adapters/own", "", http.StatusOK), s.server.config.Adapters)
	body(http.MethodDelete, "/v1/adapters/own", "", http.StatusNoContent)
	require.Equal(t, builtIn, asked())
	require.Contains(t, body(http.MethodGet, "/v1/adapters/own", "", http.StatusOK), `"source":"within://own"`)
}

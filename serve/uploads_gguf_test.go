package serve

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file of llama.cpp's is uploaded in an archive, and served from the folder; one
// that lies there is not replaced by an upload of its name.
func TestUploadedGGUF(t *testing.T) {
	s := realSite(t)
	file, err := os.ReadFile(filepath.Join(goldens, "ggufadapters", "lora.gguf"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(s.server.config.Adapters, "there.gguf"), file, 0o644))
	archive := string(zstdOf(t, tarOf(t, entry{name: "adapter.gguf", body: string(file)})))
	put := func(name string) answer { return s.send(t, http.MethodPut, "/v1/adapters/"+name, archive) }
	got := put("up")
	require.Equal(t, 201, got.status, got.body)
	ask := func(name string) answer {
		return s.post(t, "/v1/completions", `{"model":"`+name+`","prompt":"Hello","max_tokens":4,"temperature":0}`)
	}
	up, there := ask("up"), ask("there")
	require.Equal(t, 200, ask("lora").status)
	require.Equal(t, member(t, ask("lora").body, "choices"), member(t, up.body, "choices"), "the folder of PEFT that it was made of")
	require.Equal(t, 200, up.status, up.body)
	require.Equal(t, 200, there.status, there.body)
	require.Equal(t, up.header.Get("X-Adapter-Digest"), there.header.Get("X-Adapter-Digest"))
	require.Equal(t, member(t, up.body, "choices"), member(t, there.body, "choices"))
	got = put("there")
	require.Equal(t, 409, got.status, got.body)
	require.Equal(t, `"name_taken"`, member(t, got.body, "error", "code"))
	require.Equal(t, 409, s.send(t, http.MethodDelete, "/v1/adapters/there", "").status)
	require.Equal(t, 200, ask("there").status)
}

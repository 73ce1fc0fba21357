package serve

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters/adaptertest"
)

// packed is a folder's adapter as an upload.
func packed(t *testing.T, dir string) string {
	t.Helper()
	var files []entry
	for _, file := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		files = append(files, entry{name: file, body: string(text)})
	}
	return string(zstdOf(t, tarOf(t, files...)))
}

// An adapter that overflows is refused where it is uploaded or loaded, and the
// name keeps its former version; one that was laid by hand is withdrawn by its
// first request, until its folder changes.
func TestOverflow(t *testing.T) {
	s := realSite(t)
	broken := adaptertest.Overflowing(t, filepath.Join(goldens, "adapters", "lora"))
	ask := func(model string) answer {
		return s.post(t, "/v1/completions", fmt.Sprintf(`{"model":%q,"prompt":"Hello","max_tokens":12,"temperature":0}`, model))
	}
	refused := func(got answer) {
		t.Helper()
		require.Equal(t, http.StatusUnprocessableEntity, got.status, got.body)
		require.Regexp(t, `version [0-9a-f]{64} is not served: under it the model computed a value that is not finite`, got.body)
	}
	before, base := ask("lora"), ask("tiny")
	require.Equal(t, 200, before.status, before.body)
	for range 2 { // the second time it is known
		got := s.send(t, http.MethodPut, "/v1/adapters/lora", packed(t, broken))
		refused(got)
		require.Regexp(t, `its largest weight is 3.4e\+38, in base_model.model.model.layers.\d.self_attn.`, got.body)
		got = s.send(t, http.MethodPut, "/v1/adapters/new", packed(t, broken))
		refused(got)
	}
	inside := filepath.Join(s.server.config.Adapters, "by-hand")
	require.NoError(t, os.Rename(broken, inside))
	refused(s.post(t, "/v1/load_lora_adapter", fmt.Sprintf(`{"lora_name":"lora","lora_path":%q,"load_inplace":true}`, inside)))
	require.Equal(t, 404, s.get(t, "/v1/adapters/new").status)
	after := ask("lora")
	require.Equal(t, before.header.Get("X-Adapter-Digest"), after.header.Get("X-Adapter-Digest"))
	require.Equal(t, member(t, before.body, "choices"), member(t, after.body, "choices"))

	require.NoError(t, os.RemoveAll(inside))
	require.NoError(t, os.Rename(adaptertest.Overflowing(t, filepath.Join(goldens, "adapters", "dora")), inside))
	for range 2 {
		refused(ask("by-hand"))
	}
	require.Equal(t, `"failed"`, member(t, s.get(t, "/v1/adapters/by-hand").body, "state"))
	require.Equal(t, member(t, base.body, "choices"), member(t, ask("tiny").body, "choices"))
	require.NoError(t, os.RemoveAll(inside))
	layAdapter(t, "dora", inside)
	require.Equal(t, 200, ask("by-hand").status)
}

// Requests for an adapter of a resized vocabulary may name the tokens that were
// added; requests for others may not.
func TestResizedVocabulary(t *testing.T) {
	s := realSite(t)
	require.Equal(t, 201, s.send(t, http.MethodPut, "/v1/adapters/resized", packed(t, filepath.Join(goldens, "adapters", "resized-save"))).status)
	ask := func(model, rest string) answer {
		return s.post(t, "/v1/completions", fmt.Sprintf(`{"model":%q,"max_tokens":3,"temperature":0,"logprobs":2,%s}`, model, rest))
	}
	for range 2 { // before it is in memory, and after
		for _, rest := range []string{`"prompt":[5,102]`, `"prompt":"Hello","logit_bias":{"101":99}`, `"prompt":"Hello","stop_token_ids":[102]`} {
			got := ask("resized", rest)
			require.Equal(t, 200, got.status, got.body)
			got = ask("lora", rest)
			require.Equal(t, 400, got.status, got.body)
			got = ask("tiny", rest)
			require.Equal(t, 400, got.status, got.body)
		}
		got := ask("resized", `"prompt":[5,103]`)
		require.Equal(t, 400, got.status, got.body)
		require.Contains(t, got.body, "outside the vocabulary of 103")
		got = ask("resized", `"prompt":"Hello","logit_bias":{"103":2}`)
		require.Equal(t, 400, got.status, got.body)
		require.Contains(t, got.body, "token 103")
	}
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A server that holds keys and values in less than float32 says so, and has more
// blocks of them in the same memory.
func TestKVType(t *testing.T) {
	blocks := map[string]int{}
	for _, name := range []string{"f32", "f16", "q8_0"} {
		url, end := runServer(t, io.Discard, "--kv-type", name)
		for path, want := range map[string]string{
			"/version": `"kv_type":"` + name + `"`, "/metrics": `kv_type="` + name + `"`, "/v1/stats": `"kv_cache":{"blocks":`,
		} {
			status, text := send(t, http.MethodGet, url+path, "")
			require.Equal(t, http.StatusOK, status, text)
			require.Contains(t, text, want)
			if path == "/v1/stats" {
				var stats struct {
					Cache struct{ Blocks int } `json:"kv_cache"`
				}
				require.NoError(t, json.Unmarshal([]byte(text), &stats))
				blocks[name] = stats.Cache.Blocks
			}
		}
		end()
	}
	require.Greater(t, blocks["f16"], blocks["f32"])
	require.Greater(t, blocks["q8_0"], blocks["f16"])
}

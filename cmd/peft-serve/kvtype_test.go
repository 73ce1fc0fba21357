package main

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A server that holds keys and values in less than float32 says so, and has more
// blocks of them in the same memory.
func TestKVType(t *testing.T) {
	blocks := map[string]string{}
	for _, name := range []string{"f32", "f16", "q8_0"} {
		url, end := runServer(t, io.Discard, "--kv-type", name)
		for path, want := range map[string]string{
			"/version": `"kv_type":"` + name + `"`, "/metrics": `kv_type="` + name + `"`, "/v1/stats": `"kv_cache":{"blocks":`,
		} {
			status, text := send(t, http.MethodGet, url+path, "")
			require.Equal(t, http.StatusOK, status, text)
			require.Contains(t, text, want)
			if path == "/v1/stats" {
				blocks[name] = text
			}
		}
		end()
	}
	require.NotEqual(t, blocks["f32"], blocks["f16"])
	require.NotEqual(t, blocks["f16"], blocks["q8_0"])
}

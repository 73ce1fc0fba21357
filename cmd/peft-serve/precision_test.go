package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
)

// A server that holds factors in less than the files have says so: in /version, in
// /metrics, and behind the digest of every answer. By that name too a version is found.
func TestAdapterPrecision(t *testing.T) {
	folder, err := adapters.Open("../../testdata/goldens/llama/adapters/lora")
	require.NoError(t, err)
	url, end := runServer(t, io.Discard, "--adapter-precision", "bf16")
	defer end()
	response, err := http.Post(url+"/v1/completions?adapter=lora", "application/json", strings.NewReader(`{"prompt": "a b", "max_tokens": 2}`))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	name := response.Header.Get("X-Adapter-Digest")
	require.Equal(t, folder.Digest()+".bf16", name)
	for path, want := range map[string]string{
		"/version": `"adapter_precision":"bf16"`, "/metrics": `peft_build_info{activations="f32",adapter_precision="bf16"`,
		"/v1/adapters/lora": `"digest":"` + folder.Digest() + `"`, "/v2/models/lora/versions/" + name: `"name":"lora"`,
	} {
		status, text := send(t, http.MethodGet, url+path, "")
		require.Equal(t, http.StatusOK, status, text)
		require.Contains(t, text, want)
	}
}

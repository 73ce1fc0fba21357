package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/builtin"
)

// served runs a server with those arguments and what does not show, and returns
// its address, its log and what ends it.
func served(t *testing.T, args ...string) (url string, log *shared, end func()) {
	t.Helper()
	log = &shared{}
	url, end = startServer(t, console{out: io.Discard, err: log, env: os.Environ(), after: time.After}, append([]string{"--kv-cache", "8MiB", "--threads", "1"}, args...)...)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "or, in a browser") }, 20*time.Second, 5*time.Millisecond, log)
	return url, log, end
}

// commandsIn are the words of each curl command in a text, as a shell reads them.
func commandsIn(t *testing.T, text string) (commands [][]string) {
	t.Helper()
	for line := range strings.Lines(text) {
		_, command, ok := strings.Cut(line, "curl ")
		if !ok {
			continue
		}
		out, err := exec.Command("sh", "-c", `words() { printf '%s\0' "$@"; }; KEY=the-key-of-this-test; words `+command).Output()
		require.NoError(t, err, line)
		commands = append(commands, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"))
	}
	return commands
}

// A server that was told nothing serves what is built in, and every command that
// it shows has an adapter answer.
func TestBuiltinIsServed(t *testing.T) {
	url, log, end := served(t)
	defer end()
	require.Contains(t, log.String(), "base      "+builtin.Name)
	require.Contains(t, log.String(), "6 built in: banking, ")
	commands := commandsIn(t, log.String())
	require.Len(t, commands, len(builtin.Adapters()))
	for i, a := range builtin.Adapters() {
		words := commands[i]
		require.Len(t, words, 4, "%q", words)
		require.Equal(t, []string{"-s", url + "/v1/generate?adapter=" + a.Name, "-d"}, words[:3])
		response, err := http.Post(words[1], "application/x-www-form-urlencoded", strings.NewReader(words[3])) // as curl sends it
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode, string(text))
		require.Contains(t, string(text), "generated_text")
		require.Equal(t, a.Name, response.Header.Get("X-Adapter-Id"))
		folder, err := builtin.Open(a.URI)
		require.NoError(t, err)
		require.Equal(t, folder.Digest(), response.Header.Get("X-Adapter-Digest"))
	}
	status, text := send(t, http.MethodDelete, url+"/v1/adapters/sst2", "")
	require.Equal(t, http.StatusConflict, status, text)
}

// What is uploaded goes to a folder that is there until the server ends.
func TestBuiltinTakesUploads(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	url, log, end := served(t)
	require.Contains(t, log.String(), "gone when the server ends: --adapters DIR keeps them")
	status, text := send(t, http.MethodPut, url+"/v1/adapters/mine", string(packed(t, "../../builtin/adapters/sst2")))
	require.Equal(t, http.StatusCreated, status, text)
	status, text = send(t, http.MethodPost, url+"/v1/generate?adapter=mine", `{"inputs":"Hello"}`)
	require.Equal(t, http.StatusOK, status, text)
	folders, err := filepath.Glob(filepath.Join(tmp, "peft-serve-adapters-*", "mine"))
	require.NoError(t, err)
	require.Len(t, folders, 1)
	end()
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, left)
}

// An adapter of one's own stands in the place of a built-in one of its name; a
// base of one's own has none of them; keys show in the commands.
func TestBuiltinGivesWay(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{adapters.ConfigFile, adapters.SafeFile} {
		text, err := os.ReadFile("../../builtin/adapters/banking/" + file)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "sst2"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "sst2", file), text, 0o644))
	}
	url, log, end := served(t, "--adapters", dir, "--api-key", "the-key-of-this-test", "--pin", "sst2,banking")
	require.Contains(t, log.String(), "5 built in")
	require.Contains(t, log.String(), "1 in "+dir+", up to 1 GiB in memory: sst2 (in the place of the built-in one)")
	commands := commandsIn(t, log.String())
	require.Len(t, commands, 5)
	require.Equal(t, []string{"-s", "-H", "Authorization: Bearer the-key-of-this-test"}, commands[0][:3])
	status, text := send(t, http.MethodGet, url+"/v1/adapters/sst2", "", "Authorization", "Bearer the-key-of-this-test")
	require.Equal(t, http.StatusOK, status, text)
	require.Contains(t, text, filepath.Join(dir, "sst2"))
	end()

	url, end = runServer(t, io.Discard)
	defer end()
	_, text = send(t, http.MethodGet, url+"/v1/adapters", "")
	require.NotContains(t, text, "builtin://")
}

// packed is a folder of adapters' files as .tar.gz.
func packed(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	archive := tar.NewWriter(z)
	require.NoError(t, archive.AddFS(os.DirFS(dir)))
	require.NoError(t, archive.Close())
	require.NoError(t, z.Close())
	return b.Bytes()
}

package serve

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
)

// treeOf is everything below a folder, links as they are.
func treeOf(t *testing.T, dir string) (tree string) {
	t.Helper()
	require.NoError(t, filepath.Walk(dir, func(path string, stat os.FileInfo, err error) error {
		require.NoError(t, err)
		text, link := []byte(nil), ""
		switch {
		case stat.Mode().IsRegular():
			text, err = os.ReadFile(path)
		case stat.Mode()&os.ModeSymlink != 0:
			link, err = os.Readlink(path)
		}
		tree += fmt.Sprintf("%s %s %q %q\n", strings.TrimPrefix(path, dir), stat.Mode(), text, link)
		return err
	}))
	return tree
}

// Neither PUT nor DELETE takes the place of what no PUT wrote, whatever it is.
func TestPublishingSparesWhatItDidNotWrite(t *testing.T) {
	s := realSite(t)
	dir := s.server.config.Adapters
	upload := packed(t, filepath.Join(goldens, "adapters", "dora"))
	elsewhere := t.TempDir()
	layAdapter(t, "lora", filepath.Join(elsewhere, "a"))
	write := func(path, text string) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644))
	}
	for name, there := range map[string]struct {
		code string
		lay  func()
	}{
		"by-hand": {"name_taken", func() { layAdapter(t, "lora", filepath.Join(dir, "by-hand")) }},
		"finished": {"run_folder", func() {
			layAdapter(t, "lora", filepath.Join(dir, "finished"))
			write("finished/"+adapters.RunMark, "{}")
			write("finished/metrics.jsonl", "lines")
		}},
		"beginning": {"run_folder", func() { write("beginning/"+adapters.RunMark, "{}") }},
		"empty":     {"name_taken", func() { require.NoError(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755)) }},
		"file":      {"name_taken", func() { write("file", "text") }},
		"link":      {"name_taken", func() { require.NoError(t, os.Symlink(filepath.Join(elsewhere, "a"), filepath.Join(dir, "link"))) }},
		"dangling":  {"name_taken", func() { require.NoError(t, os.Symlink("/no/such", filepath.Join(dir, "dangling"))) }},
		"written-to": {"name_taken", func() {
			require.Equal(t, 201, s.send(t, http.MethodPut, "/v1/adapters/written-to", upload).status)
			write("written-to/notes.txt", "mine")
		}},
		"trained-into": {"run_folder", func() {
			require.Equal(t, 201, s.send(t, http.MethodPut, "/v1/adapters/trained-into", upload).status)
			write("trained-into/"+adapters.RunMark, "{}")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			there.lay()
			before := treeOf(t, dir)
			got := s.send(t, http.MethodPut, "/v1/adapters/"+name, upload)
			require.Equal(t, http.StatusConflict, got.status, got.body)
			require.Contains(t, got.body, `"code":"`+there.code+`"`)
			require.NotContains(t, got.body, dir)
			require.Equal(t, before, treeOf(t, dir))
			got = s.send(t, http.MethodDelete, "/v1/adapters/"+name, "")
			require.Contains(t, []int{http.StatusConflict, http.StatusNotFound}, got.status, got.body)
			require.Equal(t, before, treeOf(t, dir))
		})
	}
}

// What is found in the place of an upload counts when it has been taken out of
// it: a run that began after the first look loses nothing.
func TestARunThatBeginsMeanwhile(t *testing.T) {
	dir := t.TempDir()
	upload := func() (*staging, string) {
		s, err := newStaging(dir)
		require.NoError(t, err)
		layAdapter(t, "lora", s.files())
		require.NoError(t, mark(s.files()))
		return s, s.files()
	}
	for _, want := range []bool{true, false} {
		s, folder := upload()
		_, created, err := moveInto(s, "new", folder)
		require.NoError(t, err)
		require.Equal(t, want, created)
		require.NoError(t, s.remove())
	}
	begins := func() { require.NoError(t, os.WriteFile(filepath.Join(dir, "new", adapters.RunMark), nil, 0o644)) }
	s, folder := upload()
	looks := 0
	err := s.place(folder, "new", func(old string) error {
		looks++
		require.NoError(t, os.WriteFile(filepath.Join(old, adapters.RunMark), nil, 0o644))
		return nameTaken("new", old)
	})
	require.ErrorContains(t, err, "is where peft-train writes to")
	require.Positive(t, looks)
	require.FileExists(t, filepath.Join(dir, "new", adapters.RunMark))
	require.NoError(t, s.remove())

	begins()
	before := treeOf(t, dir)
	_, err = takeAway(dir, filepath.Join(dir, "new"), func(taken string) error { return nameTaken("new", taken) }) // as it is after DELETE's first look
	require.ErrorContains(t, err, "is where peft-train writes to")
	require.Equal(t, before, treeOf(t, dir))
}

// lateRemoval is a catalogue in which it is a removal's turn when its client has
// left.
type lateRemoval struct {
	Catalogue
	waiting chan struct{}
	removed chan error
}

func (r *lateRemoval) Remove(ctx context.Context, name string, take func(catalogue.Entry) error) error {
	r.waiting <- struct{}{}
	<-ctx.Done()
	err := r.Catalogue.Remove(ctx, name, take)
	r.removed <- err
	return err
}

// A DELETE whose client has left before it was its turn does nothing.
func TestAbandonedDeleteDoesNothing(t *testing.T) {
	late := &lateRemoval{waiting: make(chan struct{}), removed: make(chan error)}
	s := realSite(t, func(_ *catalogue.Options, p *Parts) {
		if p.Catalogue != nil {
			late.Catalogue, p.Catalogue = p.Catalogue, late
		}
	})
	require.Equal(t, 201, s.send(t, http.MethodPut, "/v1/adapters/x", packed(t, filepath.Join(goldens, "adapters", "lora"))).status)
	before := s.get(t, "/v1/adapters/x").body
	for _, request := range []string{
		"DELETE /v1/adapters/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /v1/unload_lora_adapter HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n" + `{"lora_name":"x"}`,
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		require.NoError(t, err)
		_, err = conn.Write([]byte(request))
		require.NoError(t, err)
		<-late.waiting
		require.NoError(t, conn.Close())
		require.ErrorIs(t, <-late.removed, context.Canceled)
		require.Equal(t, before, s.get(t, "/v1/adapters/x").body)
		require.FileExists(t, filepath.Join(s.server.config.Adapters, "x", "adapter_config.json"))
	}
}

// An upload that has stalled holds up no other change of its name, and is given
// up when nothing has come for a while: nothing of it is left.
func TestStalledUploadIsGivenUp(t *testing.T) {
	s := realSite(t, func(_ *catalogue.Options, _ *Parts) {})
	s.server.intake.stall = 200 * time.Millisecond
	noise := make([]byte, 64<<10) // more than fasthttp reads before it calls anybody
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	whole := zstdOf(t, tarOf(t, entry{name: "noise", body: string(noise)}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "PUT /v1/adapters/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(whole), whole[:len(whole)/2])
	require.NoError(t, err)
	lora := packed(t, filepath.Join(goldens, "adapters", "lora"))
	require.Equal(t, 201, s.send(t, http.MethodPut, "/v1/adapters/x", lora).status)
	require.Equal(t, 204, s.send(t, http.MethodDelete, "/v1/adapters/x", "").status)
	require.Equal(t, 201, s.send(t, http.MethodPut, "/v1/adapters/x", lora).status)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusRequestTimeout, response.StatusCode)
	require.Equal(t, 200, s.get(t, "/v1/adapters/x").status)
	found, err := filepath.Glob(filepath.Join(s.server.config.Adapters, incoming+"*"))
	require.NoError(t, err)
	require.Empty(t, found)
}

package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/remote"
	"github.com/peft-serve/peft-serve/adapters/remote/oci"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// What is pushed is found by the URI that is printed, with the digests of its
// bases.
func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	args, _ := tinyRun(t)
	base := args[2]
	adapter := modeltest.Goldens(t, "llama", "adapters", "lora")
	repository := "oci://" + strings.TrimPrefix(server.URL, "http://") + "/team/lora"
	uri := strings.TrimSpace(succeeds(t, repository+"@sha256:", "push", repository+":v1", adapter, "--base", base))

	client, err := oci.New(oci.Config{Client: remote.Client()})
	if err != nil {
		t.Fatal(err)
	}
	var described remote.Described
	store := remote.New(remote.Config{
		Dir: filepath.Join(t.TempDir(), "store"), Limit: 1 << 20, Backoff: time.Millisecond,
		Suits: func(d remote.Described) error { described = d; return nil },
	})
	f, err := store.Fetch(t.Context(), client, uri)
	if err != nil {
		t.Fatal(err)
	}
	m, source, err := models.Open(base, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	if len(described.Bases) != 1 || described.Bases[0] != models.Digest(m) {
		t.Errorf("for the bases %q, want %s", described.Bases, models.Digest(m))
	}
	pushed, err := adapters.Open(adapter)
	if err != nil {
		t.Fatal(err)
	}
	if fetched, err := adapters.Open(f.Dir); err != nil || fetched.Digest() != pushed.Digest() {
		t.Errorf("fetched another adapter: %v", err)
	}

	if code, out, notes := command(t, "push", repository+":v2", adapter); code != 0 || !strings.Contains(notes, "--base") || !strings.Contains(out, repository+"@sha256:") {
		t.Errorf("%d: %s%s", code, out, notes)
	}
	for want, args := range map[string][]string{
		"neither a tag nor a digest": {repository, adapter},
		"does not begin with oci://": {"hf://owner/name", adapter},
		"adapter_config.json":        {repository + ":v3", base},
		"--base":                     {repository + ":v3", adapter, "--base", modeltest.Goldens(t, "gpt2")},
	} {
		code, out, notes := command(t, append([]string{"push"}, args...)...)
		if code == 0 || out != "" || !strings.Contains(notes, want) {
			t.Errorf("%v: %d: %s%s", args, code, out, notes)
		}
	}
}

// A registry may have its tokens given out by another host: inside of a network the
// operator says that it is meant.
func TestPushTrustsHosts(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"given"}`) }))
	defer tokens.Close()
	own := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer given" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="registry"`, tokens.URL))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		own.ServeHTTP(w, r)
	}))
	defer server.Close()
	uri, adapter := "oci://"+strings.TrimPrefix(server.URL, "http://")+"/team/lora:v1", modeltest.Goldens(t, "llama", "adapters", "lora")
	host := strings.TrimPrefix(tokens.URL, "http://")
	code, out, notes := command(t, "push", uri, adapter)
	if code == 0 || out != "" || !strings.Contains(notes, "leads to "+host) || !strings.Contains(notes, "--trust-host") {
		t.Errorf("%d: %s%s", code, out, notes)
	}
	succeeds(t, "/team/lora@sha256:", "push", uri, adapter, "--trust-host", host)
}

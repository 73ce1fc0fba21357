package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/peft-serve/peft-serve/models/modeltest"
)

// hubOf is a hub with one repository, owner/name, that holds a folder's files;
// asked gets the names of those that are fetched.
func hubOf(t *testing.T, folder string) (asked func() []string) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	var mu sync.Mutex
	var names []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, of := strings.CutPrefix(r.URL.Path, "/owner/name/resolve/"+commit+"/")
		if !of {
			reply := map[string]any{"sha": commit}
			entries, _ := os.ReadDir(folder)
			var siblings []map[string]string
			for _, e := range entries {
				siblings = append(siblings, map[string]string{"rfilename": e.Name()})
			}
			reply["siblings"] = siblings
			_ = json.NewEncoder(w).Encode(reply)
			return
		}
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		if r.Method == http.MethodGet {
			mu.Lock()
			names = append(names, name)
			mu.Unlock()
		}
		sum := sha256.Sum256(b)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		_, _ = w.Write(b)
	}))
	t.Cleanup(server.Close)
	cache := t.TempDir()
	t.Setenv("HF_ENDPOINT", server.URL)
	t.Setenv("HF_HUB_CACHE", cache)
	t.Setenv("HF_TOKEN_PATH", filepath.Join(cache, "none"))
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(names)
	}
}

// TestPlanOfTheHub: a plan fetches a base's configuration and nothing else; a run
// fetches the rest, and tells how far it is.
func TestPlanOfTheHub(t *testing.T) {
	args, _ := tinyRun(t)
	asked := hubOf(t, args[slices.Index(args, "--base")+1])
	out := succeeds(t, "hf://owner/name: ", "plan", "--base", "hf://owner/name")
	if !slices.Equal(asked(), []string{"config.json"}) {
		t.Errorf("%q were fetched", asked())
	}
	if local := succeeds(t, "trained", "plan", "--base", args[slices.Index(args, "--base")+1]); strings.SplitN(local, "\n", 2)[1] != strings.SplitN(out, "\n", 2)[1] {
		t.Errorf("%s\nwant\n%s", out, local)
	}
	args[slices.Index(args, "--base")+1] = "hf://owner/name"
	code, _, notes := command(t, args...)
	if code != 0 || !strings.Contains(notes, "owner/name/model.safetensors: ") || !strings.Contains(notes, ", done") {
		t.Errorf("%d: %s", code, notes)
	}
}

// TestPlanLists: the names of models that need no file, each of which can be
// planned for, and the meaning of every column.
func TestPlanLists(t *testing.T) {
	for _, name := range strings.Fields(succeeds(t, "llama-7b\n", "plan", "--list")) {
		succeeds(t, "Memory of 8 × 512 tokens", "plan", "--base", name, "--method", "full")
	}
	succeeds(t, "\nlecture: ", "plan", "--base", "smollm2-135m", "--compare")
	for want, args := range map[string]string{
		"--list has the models":         "plan",
		"did you mean hf://owner/name?": "plan --base owner/name",
		"is an adapter":                 "plan --base " + modeltest.Goldens(t, "llama", "adapters", "lora"),
	} {
		if code, _, notes := command(t, strings.Fields(args)...); code == 0 || !strings.Contains(notes, want) {
			t.Errorf("%s: %d: %s", args, code, notes)
		}
	}
}

// TestMistakenFolders: each command says what it was given, and what to do.
func TestMistakenFolders(t *testing.T) {
	base, adapter := modeltest.Goldens(t, "llama"), modeltest.Goldens(t, "llama", "adapters", "lora")
	for want, args := range map[string][]string{
		"--against BASE":                {"inspect", base},
		"lora is an adapter":            {"extract", "--base", adapter, "--tuned", base, "--output", t.TempDir()},
		"did you mean hf://owner/name?": {"merge", "--base", "owner/name", "--adapter", adapter, "--output", filepath.Join(t.TempDir(), "x")},
		"--overwrite replaces it":       {"merge", "--base", base, "--adapter", adapter, "--output", t.TempDir()},
		"exists: --overwrite":           {"convert", adapter, t.TempDir(), "--form", "peft"},
	} {
		if code, _, notes := command(t, args...); code == 0 || !strings.Contains(notes, want) {
			t.Errorf("%v: %d: %s", args, code, notes)
		}
	}
}

// What is built in is a base of every command that takes one.
func TestBuiltinBase(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	adapter, dir := "../../builtin/adapters/sst2", t.TempDir()
	succeeds(t, "builtin://base", "plan", "--base", "builtin://base")
	succeeds(t, "lora", "inspect", adapter, "--against", "builtin://base")
	succeeds(t, "", "merge", "--base", "builtin://base", "--adapter", adapter, "--dtype", "f32", "--output", filepath.Join(dir, "merged"))
	succeeds(t, "", "extract", "--base", "builtin://base", "--tuned", filepath.Join(dir, "merged"), "--r", "8", "--output", filepath.Join(dir, "extracted"))
}

// Package clients has the test of run.sh.
package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A python of an environment notes what is asked of it, as npm does.
const notes = "#!/bin/sh\necho \"$0 $*\" >>\"$NOTES\"\n"

// Environments are made where they are not whole, and brought up to what is pinned
// each time.
func TestEnvironments(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs a script of the shell")
	}
	dir := t.TempDir()
	bin, environments, log := filepath.Join(dir, "bin"), filepath.Join(dir, "environments"), filepath.Join(dir, "notes")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(bin, "curl"), "#!/bin/sh\n")
	write(filepath.Join(bin, "npm"), notes)
	write(filepath.Join(bin, "node"), notes)
	write(filepath.Join(bin, "notes"), notes)
	write(filepath.Join(bin, "server"), "#!/bin/sh\necho http://127.0.0.1:1\nexec sleep 600\n")
	write(filepath.Join(bin, "python3"), "#!/bin/sh\ncase \"$*\" in '-m venv'*) mkdir -p \"$4/bin\" && cp \""+filepath.Join(bin, "notes")+"\" \"$4/bin/python\";; esac\n")
	write(filepath.Join(environments, "llamaindex", "bin", "python"), "#!/bin/sh\nexit 1\n") // without its pip
	for _, when := range []string{"at first", "again"} {
		write(log, "")
		run := exec.CommandContext(t.Context(), "./run.sh")
		run.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "SERVER="+filepath.Join(bin, "server"),
			"ENVIRONMENTS="+environments, "CLIENTS=openai llamaindex node", "NOTES="+log)
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", when, err, out)
		}
		got, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"openai/bin/python -m pip install --quiet -r ", "llamaindex/bin/python -m pip install --quiet -r ", "npm install ", "node openai_calls.mjs",
		} {
			if !strings.Contains(string(got), want) {
				t.Errorf("%s: no %q in\n%s", when, want, got)
			}
		}
		if err := os.MkdirAll(filepath.Join(environments, "node", "node_modules"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

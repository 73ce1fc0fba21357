package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build builds the server.
func build(t *testing.T) (bin string) {
	t.Helper()
	bin = filepath.Join(t.TempDir(), "peft-serve")
	build := exec.Command("go", "build", "-o", bin, "../../cmd/peft-serve")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		t.Fatal(err)
	}
	return bin
}

// TestKills is the short form of what make soak-kills does.
func TestKills(t *testing.T) {
	var out bytes.Buffer
	if err := kills(t.Context(), []string{"--bin", build(t), "--root", "../..", "-n", "10"}, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if want := "kills 10 torn 0 lost 0 strays 0 "; !strings.HasPrefix(out.String(), want) {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

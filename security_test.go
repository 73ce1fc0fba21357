package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var promised = regexp.MustCompile("`([a-z0-9/-]+)\\.((?:Test|Fuzz)\\w+)`")

// Every promise of SECURITY.md is held by tests that exist.
func TestPromisesAreHeld(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "|---|---|---|\n")
	if !found {
		t.Fatal("SECURITY.md has no table of promises")
	}
	for row := range strings.Lines(table) {
		tests := promised.FindAllStringSubmatch(row, -1)
		if len(tests) == 0 {
			t.Errorf("no test holds this: %s", row)
		}
		for _, test := range tests {
			if !hasTest(t, test[1], test[2]) {
				t.Errorf("SECURITY.md names %s, which %s has not", test[2], test[1])
			}
		}
	}
}

func hasTest(t *testing.T, folder, name string) bool {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}

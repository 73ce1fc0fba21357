package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The table of docs/clients.md is what scripts/clients prints: a row of each call that
// is committed there, of the client that is pinned.
func TestDocumentedClients(t *testing.T) {
	var calls, pins, rows []string
	read := func(pattern string, each *regexp.Regexp, take func(found []string)) {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range each.FindAllStringSubmatch(string(text), -1) {
				take(found)
			}
		}
	}
	read("scripts/clients/*_calls.*", regexp.MustCompile(`(?m)^(?:@\w+\.|await )call\("(.*?)"`), func(found []string) { calls = append(calls, found[1]) })
	read("scripts/clients/requirements-*.txt", regexp.MustCompile(`(?m)^([\w.-]+)(?:\[\w+\])?==(\S+)$`), func(found []string) { pins = append(pins, found[1]+" "+found[2]) })
	read("scripts/clients/package.json", regexp.MustCompile(`"(\w+)": "(\d\S*)"`), func(found []string) { pins = append(pins, found[1]+"-node "+found[2]) })
	read("docs/clients.md", regexp.MustCompile(`(?m)^\| (.*) \| (.*) \| (?:passes|fails: .*) \|$`), func(found []string) {
		if client := strings.ReplaceAll(found[1], "_", "-"); !slices.Contains(pins, client) {
			t.Errorf("%s is not pinned: %q", client, pins)
		}
		rows = append(rows, found[2])
	})
	slices.Sort(calls)
	slices.Sort(rows)
	if len(calls) == 0 || !slices.Equal(calls, rows) {
		t.Errorf("the calls are %q, and the table's %q", calls, rows)
	}
}

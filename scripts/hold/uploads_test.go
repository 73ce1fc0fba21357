package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// TestUploads is the short form of what make soak-uploads does.
func TestUploads(t *testing.T) {
	var out bytes.Buffer
	args := "-root ../.. -clients 4 -for 300ms -patience 1m -memory-limit 4GiB -kinds zstd-windows"
	if err := uploads(t.Context(), strings.Fields(args), &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if !regexp.MustCompile(`(?m)^alone .*\n^zstd-windows .* left behind 0\n`).MatchString(out.String()) {
		t.Error(out.String())
	}
}

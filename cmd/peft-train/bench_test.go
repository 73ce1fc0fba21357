package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// TestFaultsOfMeasuring: eval and bench show everything that is wrong at once.
func TestFaultsOfMeasuring(t *testing.T) {
	for args, wants := range map[string][]string{
		"bench --methods bogus,lora:q_proj --steps 0 --r 0 --max-length 1": {"--base: is missing", `--methods: "bogus"`, "--steps: 0", "--r: 0", "--max-length: 1"},
		"eval --task x --format y --limit -1 --samples 2":                  {"--base: is missing", "--data: is missing", "--task:", "--format:", "--limit: -1", "--samples:"},
	} {
		var out bytes.Buffer
		if code := run(context.Background(), strings.Fields(args), console{out: &out, err: &out}); code != 2 {
			t.Errorf("%s: %d", args, code)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is not in:\n%s", args, want, out.String())
			}
		}
	}
}

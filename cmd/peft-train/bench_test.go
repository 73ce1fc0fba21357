package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// TestFaultsOfMeasuring: eval, bench and plan show everything that is wrong at
// once.
func TestFaultsOfMeasuring(t *testing.T) {
	for args, wants := range map[string][]string{
		"bench --methods bogus,lora:q_proj --steps 0 --r 0 --max-length 1":         {"--base: is missing", `--methods: "bogus"`, "--steps: 0", "--r: 0", "--max-length: 1"},
		"eval --task x --format y --limit -1 --samples 2":                          {"--base: is missing", "--data: is missing", "--task:", "--format:", "--limit: -1", "--samples:"},
		"plan --base llama-7b --lisa-layers 33 --adapter-drop 32 --method houlsby": {"--lisa-layers: 33, the base has 32 blocks", "--adapter-drop: 32 would leave no adapter in 32 blocks"},
		"plan --base llama-7b --method x --batch-size 0 --max-length 1 --labels 9 --r -1 --lora-dropout 2 --reduction-factor -1": {
			`--method: "x"`, "--batch-size: 0", "--max-length: 1", "--labels: 9", "--r: -1", "--lora-dropout: 2", "--reduction-factor: -1",
		},
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

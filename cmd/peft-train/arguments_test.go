package main

import (
	"strings"
	"testing"
)

// TestOtherNames: what other trainers call a flag leads to it, and a flag that is
// there twice is a fault, while one that takes a list may be.
func TestOtherNames(t *testing.T) {
	code, _, notes := command(t, strings.Fields("run --rank 8 --learning-rate=1e-3 --num_train_epochs 2 --bogus 1 --base a --base b --lr 1 --lr=2 --data x --data y --output o")...)
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		"--rank: there is no such flag; did you mean --r?", "--learning-rate: there is no such flag; did you mean --lr?",
		"--num_train_epochs: there is no such flag; did you mean --epochs?", "--bogus: there is no such flag\n",
		"--base: it is there twice", "--lr: it is there twice",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not in:\n%s", want, notes)
		}
	}
	if strings.Contains(notes, "--data: it is there twice") {
		t.Error(notes)
	}
}

// TestAlone: without arguments there is the help.
func TestAlone(t *testing.T) {
	out := succeeds(t, "Usage: peft-train <command>")
	for _, command := range []string{"run", "plan", "extract"} {
		if !strings.Contains(out, "\n  "+command+" ") {
			t.Errorf("%s is not in:\n%s", command, out)
		}
	}
}

// TestPlaceholders: the help names no types of the language.
func TestPlaceholders(t *testing.T) {
	for _, command := range []string{"run", "plan", "merge", "eval", "pretrain"} {
		out := succeeds(t, "Usage: peft-train "+command, command, "--help")
		for _, kind := range []string{"FLOAT", "UINT", "=INT", "STRING"} {
			if strings.Contains(out, kind) {
				t.Errorf("%s --help has %s:\n%s", command, kind, out)
			}
		}
	}
}

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/training"
)

// TestLines: a log gets lines, with the time that is left.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.Start(100, 40)
	if got := p.left(50, 20*time.Second); got != 100*time.Second {
		t.Errorf("%v left, want 1m40s", got)
	}
	p.Step(training.StepReport{Step: 100, Bytes: &training.Account{}})
	if line := out.String(); !strings.Contains(line, "step 100/100") || !strings.Contains(line, "0s left") || strings.Contains(line, "\r") {
		t.Errorf("%q", line)
	}
}

// TestModules: an extraction shows its first and its last module.
func TestModules(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	for done := range 30 {
		p.module(done+1, 30)
	}
	if got := out.String(); !strings.HasPrefix(got, "module 1/30  ") || !strings.HasSuffix(got, "module 30/30  0s left\n") || strings.Contains(got, "\r") {
		t.Errorf("%q", got)
	}
}

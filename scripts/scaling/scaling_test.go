package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCounts(t *testing.T) {
	for processors, want := range map[int][]int{2: {1, 2}, 6: {1, 2, 4}, 16: {1, 2, 4, 8, 16}, 96: {1, 2, 4, 8, 16}} {
		got, err := counts("", processors)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	got, err := counts("2,6,12", 1)
	require.NoError(t, err)
	require.Equal(t, []int{2, 6, 12}, got)
	for list, want := range map[string]string{"": "there is one processor", "2": "two or more", "1,1": "two or more", "4,2": "two or more", "1,x": `"x" is no number`, "0,1": `"0" is no number`, "1,,2": `"" is no number`} {
		_, err := counts(list, 1)
		require.ErrorContains(t, err, want, list)
	}
	require.ErrorContains(t, run(t.Context(), []string{"1,2"}, &bytes.Buffer{}), `"1,2" is no flag`)
}

// program writes a shell script in a program's place.
func program(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o700))
}

// Bases are made once, each number of threads has each load once a round, and a round
// that would be too long is not begun.
func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	serve := `echo "$@" >> ` + calls + `
case "$*" in
*--synthetic*) ;;
*"--threads 1,2 "*) echo '{"scaling": [{"threads": 1, "prefill_tokens_per_second": 100, "decode_tokens_per_second": 10}, {"threads": 2, "prefill_tokens_per_second": 190, "decode_tokens_per_second": 11}]}' ;;
*"--threads 1 "*) echo '{"kernels": "k", "mix": [{"tokens_per_second": 8}, {"tokens_per_second": 7}, {"tokens_per_second": 4}]}' ;;
*"--threads 2 "*) echo '{"kernels": "k", "mix": [{"tokens_per_second": 16}, {"tokens_per_second": 7}, {"tokens_per_second": 6}]}' ;;
esac
`
	program(t, dir, "peft-serve", serve)
	program(t, dir, "peft-train", `case "$*" in *"--threads 1 "*) echo '{"tokens_per_second": 1234.4}' ;; *) echo '{"tokens_per_second": 2469}' ;; esac`)
	var out, log bytes.Buffer
	b := &bench{bin: dir, work: filepath.Join(dir, "work"), threads: []int{1, 2}, limit: 0, rates: map[row][][]float64{}, out: &out, log: &log}
	require.NoError(t, b.measure(t.Context()))
	text, head, _ := strings.Cut(out.String(), "\n")
	require.Contains(t, text, "k kernels")
	require.Contains(t, text, "median of 1; LoRA is of rank 16")
	require.Equal(t, strings.Join([]string{
		"", "| tokens/s by threads | | 1 | 2 |", "|---|---|---:|---:|",
		"| 135m:q8_0 | prefill 512 | 100 | 190 (1.90 ×, 95 %) |",
		"|  | decode 64 | 10.0 | 11.0 (1.10 ×, 55 %) |",
		"|  | 8 requests, 32 + 32, base | 8.00 | 16.0 (2.00 ×, 100 %) |",
		"|  | 8 requests, 32 + 32, 8 adapters | 4.00 | 6.00 (1.50 ×, 75 %) |",
		"|  | LoRA step, 4 × 64 | 1234 | 2469 (2.00 ×, 100 %) |",
		"| 1b:q4_0 | prefill 128 | 100 | 190 (1.90 ×, 95 %) |",
		"|  | decode 16 | 10.0 | 11.0 (1.10 ×, 55 %) |",
		"|  | 8 requests, 16 + 16, base | 8.00 | 16.0 (2.00 ×, 100 %) |",
		"|  | 8 requests, 16 + 16, 8 adapters | 4.00 | 6.00 (1.50 ×, 75 %) |",
		"|  | LoRA step, 2 × 64 | 1234 | 2469 (2.00 ×, 100 %) |", "",
	}, "\n"), head)
	made, err := os.ReadFile(calls)
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(made), "--synthetic"))
	require.Equal(t, 2+2+4, strings.Count(string(made), "\n"))

	// Every other round begins with the most threads.
	program(t, dir, "peft-serve", strings.ReplaceAll(serve, `"--threads 1,2 "`, `"--threads 2,1 "`))
	require.ErrorContains(t, b.round(t.Context(), sizes[0], "x", 3), "--threads 1,2")
	require.NoError(t, b.round(t.Context(), sizes[0], "x", 2))
	require.Equal(t, [][]float64{{100, 100}, {190, 190}}, b.rates[row{"135m:q8_0", "prefill 512"}])
}

// A program that fails, or that says something else, is named.
func TestFailing(t *testing.T) {
	dir := t.TempDir()
	b := &bench{bin: dir, work: dir, threads: []int{1, 2}, limit: time.Hour, rates: map[row][][]float64{}, out: &bytes.Buffer{}, log: &bytes.Buffer{}}
	program(t, dir, "peft-serve", "echo no disk >&2; exit 3")
	require.ErrorContains(t, b.measure(t.Context()), "peft-serve bench --synthetic 135m:q8_0")
	require.ErrorContains(t, b.measure(t.Context()), "exit status 3\nno disk")
	program(t, dir, "peft-serve", `echo '{"scaling": []}'`)
	require.ErrorContains(t, b.measure(t.Context()), "135m:q8_0: peft-serve bench --threads 1,2 tells 0 numbers of threads")
}

// Ratios are of measurements of the same round.
func TestSpeedUp(t *testing.T) {
	require.Equal(t, 2.0, speedUp([]float64{10, 40, 12}, []float64{5, 10, 12}))
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ratios are of turns of the same round, and have an interval from six of them on.
func TestRatio(t *testing.T) {
	one, other := rates{1: 10, 2: 30, 3: 12}, rates{1: 5, 2: 10, 3: 8, 4: 1000}
	median, interval, ok := ratio(one, other)
	require.True(t, ok)
	require.Equal(t, 2.0, median) // of 2, 3 and 1.5
	require.Nil(t, interval)
	for round := range 6 {
		one[round], other[round] = float64(round+1), 2
	}
	median, interval, ok = ratio(one, other)
	require.True(t, ok)
	require.Equal(t, 1.75, median)
	require.Equal(t, []float64{0.5, 3}, interval)
	_, _, ok = ratio(one, rates{9: 1})
	require.False(t, ok)
}

// Larger models stand first, loads in their order, and what has not been measured is empty.
func TestTable(t *testing.T) {
	b := &bench{threads: 1, repetitions: 3, processor: true, out: &bytes.Buffer{}}
	b.turns.path = filepath.Join(t.TempDir(), "made", "turns.jsonl")
	require.ErrorContains(t, b.table(), "turns.jsonl has no turns on so many threads (-threads 1), by this time (-time) and with so many repetitions (-repetitions 3) yet")
	small := setting{"small", 10, decode, 1, true, 3}
	large := setting{"large", 2000, decode, 1, true, 3}
	before := large
	before.Load = prefill
	clock := large
	clock.Processor = false
	once := large
	once.Repetitions = 1
	for round := 1; round <= 2; round++ {
		r := float64(round)
		require.NoError(t, b.turns.add(
			turn{small, oursExact, round, 1000 * r}, turn{large, oursExact, round, 3 * r}, turn{large, llama, round, 2 * r}, turn{large, oursRounded, round, 40 * r},
			turn{before, ik, round, 250 * r}, turn{clock, ik, round, 1}, turn{once, ik, round, 1},
		))
	}
	read, err := readTurns(b.turns.path)
	require.NoError(t, err)
	b.turns = read
	require.NoError(t, b.table())
	require.Equal(t, strings.Join([]string{
		"| tokens/s of a processor | | ours, f32 | ours, i8 | llama.cpp | ik_llama.cpp | rounds | ours, f32 against llama.cpp | ours, i8 against llama.cpp | ours, f32 against ik_llama.cpp | ours, i8 against ik_llama.cpp |",
		"|---|---|---:|---:|---:|---:|---:|---|---|---|---|",
		"| large | prefill 512 | | | | 375 | 2 | | | | |",
		"| | decode 64 | 4.50 | 60.0 | 3.00 | | 2 | 1.50 × | 20.00 × | | |",
		"| small | decode 64 | 1500 | | | | 2 | | | | |",
		"",
	}, "\n"), b.out.(*bytes.Buffer).String())
}

// The order of engines alternates, and what has been taken is not taken again.
func TestTurnsAlternate(t *testing.T) {
	var log bytes.Buffer
	b := &bench{rounds: 3, log: &log}
	b.turns.path = filepath.Join(t.TempDir(), "turns.jsonl")
	var took []string
	engines := func(faulty string) (all []engine) {
		for _, name := range []string{"a", "b"} {
			all = append(all, engine{name, []string{prefill, decode}, func(_ context.Context, round int) (map[string]float64, error) {
				at := fmt.Sprint(name, round)
				if at == faulty {
					return nil, os.ErrDeadlineExceeded
				}
				took = append(took, at)
				return map[string]float64{prefill: 1, decode: 2}, nil
			}})
		}
		return all
	}
	require.ErrorContains(t, b.take(t.Context(), setting{Model: "m"}, engines("a2")), "a: ")
	require.Equal(t, []string{"a1", "b1", "b2"}, took)
	var err error
	b.turns, err = readTurns(b.turns.path)
	require.NoError(t, err)
	require.NoError(t, b.take(t.Context(), setting{Model: "m"}, engines("")))
	require.Equal(t, []string{"a1", "b1", "b2", "a2", "a3", "b3"}, took)
	require.NoError(t, b.take(t.Context(), setting{Model: "m", Repetitions: 3}, engines("")[:1]))
	require.Equal(t, []string{"a1", "a2", "a3"}, took[6:], "of as many repetitions")
	require.Contains(t, log.String(), "m, decode 64, round 3 of 3, b: 2.00 tokens/s")
	require.NoError(t, os.WriteFile(b.turns.path, []byte("{}\n{\n"), 0o600))
	_, err = readTurns(b.turns.path)
	require.ErrorContains(t, err, "turns.jsonl: line 2: ")
}

func TestLlamaBench(t *testing.T) {
	rates, err := llamaBench([]byte(`[{"n_prompt": 512, "n_gen": 0, "avg_ts": 90.5, "samples_ts": [90.5]}, {"n_prompt": 0, "n_gen": 64, "avg_ts": 30.25}]`))
	require.NoError(t, err)
	require.Equal(t, map[string]float64{prefill: 90.5, decode: 30.25}, rates)
	require.NoError(t, whole(rates, prefill, decode))
	rates, err = llamaBench([]byte(`[{"n_prompt": 512, "n_gen": 64, "avg_ts": 1}, {"n_prompt": 512, "n_gen": 0, "avg_ts": 2}]`))
	require.NoError(t, err)
	require.ErrorContains(t, whole(rates, prefill, decode), "decode 64: no tokens/s above 0: 0")
	_, err = llamaBench([]byte("error: no model"))
	require.ErrorContains(t, err, "error: no model")
}

// What is asked for and cannot be done is told before anything runs.
func TestRefused(t *testing.T) {
	for args, want := range map[string]string{
		"":                            "run or table",
		"walk":                        "run or table",
		"run -llama x":                "at least one model",
		"run m.gguf":                  "-llama or -ik",
		"run -ik x -adapters m.gguf":  "with -llama",
		"table -time wall":            `"wall" is neither clock nor processor`,
		"run -threads 0 -llama x m":   "at least 1",
		"run -llama x -bin x 9b:q4_0": "9b:q4_0: ",
	} {
		work := t.TempDir()
		fields := strings.Fields(args)
		if len(fields) > 0 {
			fields = append([]string{fields[0], "-work", work}, fields[1:]...)
		}
		require.ErrorContains(t, run(t.Context(), fields, &bytes.Buffer{}), want, args)
	}
}

// A program that fails is named with what it has said.
func TestFailingProgram(t *testing.T) {
	b := &bench{}
	_, err := b.output(t.Context(), "sh", "-c", "echo no such model >&2; exit 3")
	require.ErrorContains(t, err, "sh -c")
	require.ErrorContains(t, err, "exit status 3\nno such model")
	_, err = start(t.Context(), "http://127.0.0.1:1", []string{"sh", "-c", "echo no memory >&2; exit 3"})
	require.ErrorContains(t, err, "sh -c echo no memory >&2; exit 3 does not become healthy: the server has ended: exit status 3\nno memory")
}

// A server's turn has a rate of every load, and by processor time that one.
func TestAsked(t *testing.T) {
	b := &bench{bin: t.TempDir(), processor: true}
	server := &server{url: "http://x", command: exec.Command("true")}
	require.NoError(t, server.command.Run())
	ask := func(last string) (map[string]float64, error) {
		report := `{"mix": [{"tokens_per_second": 1, "tokens_per_processor_second": 4}, {"tokens_per_second": 2, "tokens_per_processor_second": 5}, ` + last + `]}`
		require.NoError(t, os.WriteFile(filepath.Join(b.bin, "peft-serve"), []byte("#!/bin/sh\necho '"+report+"'\n"), 0o700))
		return b.asked(t.Context(), server, 1, nil)
	}
	rates, err := ask(`{"tokens_per_second": 3, "tokens_per_processor_second": 6}`)
	require.NoError(t, err)
	require.Equal(t, map[string]float64{eightBase: 4, eightSame: 5, eightMixed: 6}, rates)
	_, err = ask(`{"tokens_per_second": 3}`)
	require.ErrorContains(t, err, "8 requests, 8 adapters: no tokens/s above 0: 0")
	_, err = ask(`{}, {}`)
	require.ErrorContains(t, err, "the bench has 4 loads and not 3")

	server.said.WriteString("no memory")
	server.ended = make(chan struct{})
	close(server.ended)
	b.bin = t.TempDir()
	_, err = b.asked(t.Context(), server, 1, nil)
	require.ErrorContains(t, err, "the server has ended: exit status 0\nno memory")
}

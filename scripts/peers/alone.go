package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The loads of one request at a time, and what it has of tokens.
const (
	prefill, decode             = "prefill 512", "decode 64"
	prefillTokens, decodeTokens = 512, 64
)

// loads are those of the table, in its order.
var loads = []string{prefill, decode, eightBase, eightSame, eightMixed}

// model takes the turns of a model that are not there yet.
func (b *bench) model(ctx context.Context, name string) error {
	path, err := b.file(ctx, name)
	if err != nil {
		return err
	}
	file, err := os.Stat(path)
	if err != nil {
		return err
	}
	of := setting{Model: strings.TrimSuffix(filepath.Base(path), ".gguf"), Bytes: file.Size(), Threads: b.threads, Processor: b.processor, Repetitions: b.repetitions}
	all := []engine{
		{oursExact, []string{prefill, decode}, func(ctx context.Context, _ int) (map[string]float64, error) {
			return b.ours(ctx, path, "f32")
		}},
		{oursRounded, []string{prefill, decode}, func(ctx context.Context, _ int) (map[string]float64, error) {
			return b.ours(ctx, path, "i8")
		}},
	}
	if b.llama != "" {
		all = append(all, engine{llama, []string{prefill, decode}, func(ctx context.Context, _ int) (map[string]float64, error) {
			return b.theirs(ctx, filepath.Join(b.llama, "llama-bench"), path, "--no-warmup")
		}})
	}
	if b.ik != "" {
		all = append(all, engine{ik, []string{prefill, decode}, func(ctx context.Context, _ int) (map[string]float64, error) {
			return b.theirs(ctx, filepath.Join(b.ik, "llama-bench"), path, "-w", "0")
		}})
	}
	if err := b.take(ctx, of, all); err != nil {
		return err
	}
	if b.adapters {
		return b.eight(ctx, of, path)
	}
	return nil
}

// file is that of a model; of a synthetic one it is made where it is not there.
func (b *bench) file(ctx context.Context, name string) (string, error) {
	size, format, synthetic := strings.Cut(name, ":")
	if !synthetic {
		return name, nil
	}
	path := filepath.Join(b.work, "synthetic-"+strings.ToLower(size+"-"+format)+".gguf")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	// bench measures what it makes: as little of it as it can.
	_, err := b.output(ctx, filepath.Join(b.bin, "peft-serve"), "bench", "--synthetic", name, "--keep", b.work, "--prompt", "1", "--generate", "1", "--repetitions", "1")
	return path, err
}

// engine is one that takes turns: its loads, and their tokens a second in a turn.
type engine struct {
	name  string
	loads []string
	turn  func(ctx context.Context, round int) (map[string]float64, error)
}

// take has engines take their turns: in every other round in the opposite order, so that
// none is always first.
func (b *bench) take(ctx context.Context, of setting, engines []engine) error {
	for round := 1; round <= b.rounds; round++ {
		order := slices.Clone(engines)
		if round%2 == 0 {
			slices.Reverse(order)
		}
		for _, e := range order {
			of.Load = e.loads[0]
			if b.turns.has(of, e.name, round) {
				continue
			}
			rates, err := e.turn(ctx, round)
			if err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			var taken []turn
			for _, load := range e.loads {
				of.Load = load
				taken = append(taken, turn{of, e.name, round, rates[load]})
				fmt.Fprintf(b.log, "%s, %s, round %d of %d, %s: %s tokens/s\n", of.Model, load, round, b.rounds, e.name, rateText(rates[load]))
			}
			if err := b.turns.add(taken...); err != nil {
				return err
			}
		}
	}
	return nil
}

// ours is a turn of this project, which tells both times itself.
func (b *bench) ours(ctx context.Context, path, activations string) (map[string]float64, error) {
	text, err := b.output(ctx, filepath.Join(b.bin, "peft-serve"), "bench", "--base", path, "--threads", strconv.Itoa(b.threads), "--activations", activations,
		"--prompt", strconv.Itoa(prefillTokens), "--generate", strconv.Itoa(decodeTokens), "--repetitions", strconv.Itoa(b.repetitions), "--json")
	if err != nil {
		return nil, err
	}
	var report struct {
		Speed []struct {
			Phase     string  `json:"phase"`
			Clock     float64 `json:"tokens_per_second"`
			Processor float64 `json:"tokens_per_processor_second"`
		} `json:"speed"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, err
	}
	rates := map[string]float64{}
	for _, s := range report.Speed {
		load := map[string]string{"prefill": prefill, "decode": decode}[s.Phase]
		if rates[load] = s.Clock; b.processor {
			rates[load] = s.Processor
		}
	}
	return rates, whole(rates, prefill, decode)
}

// theirs is a turn of a llama-bench. It tells no processor time: that of a repetition is
// what a run with one more takes longer. cold are the flags that keep it from running
// one before those.
func (b *bench) theirs(ctx context.Context, program, path string, cold ...string) (map[string]float64, error) {
	base := []string{"-m", path, "-t", strconv.Itoa(b.threads), "-o", "json"}
	if !b.processor {
		text, err := b.output(ctx, program, append(base, "-p", strconv.Itoa(prefillTokens), "-n", strconv.Itoa(decodeTokens), "-r", strconv.Itoa(b.repetitions))...)
		if err != nil {
			return nil, err
		}
		rates, err := llamaBench(text)
		return rates, errors.Join(err, whole(rates, prefill, decode))
	}
	rates := map[string]float64{}
	for load, of := range map[string]struct {
		tokens int
		flags  []string
	}{
		prefill: {prefillTokens, []string{"-p", strconv.Itoa(prefillTokens), "-n", "0"}},
		decode:  {decodeTokens, []string{"-p", "0", "-n", strconv.Itoa(decodeTokens)}},
	} {
		var took [2]time.Duration
		for i, repetitions := range []int{1, 1 + b.repetitions} {
			_, spent, err := b.timed(ctx, program, slices.Concat(base, of.flags, cold, []string{"-r", strconv.Itoa(repetitions)})...)
			if err != nil {
				return nil, err
			}
			took[i] = spent
		}
		rates[load] = float64(of.tokens*b.repetitions) / (took[1] - took[0]).Seconds()
	}
	return rates, whole(rates, prefill, decode)
}

// whole reports a load of several that has no rate.
func whole(rates map[string]float64, loads ...string) error {
	for _, load := range loads {
		if !(rates[load] > 0) {
			return fmt.Errorf("%s: no tokens/s above 0: %v", load, rates[load])
		}
	}
	return nil
}

// llamaBench reads tokens a second, by the clock, from what llama-bench -o json says.
func llamaBench(text []byte) (map[string]float64, error) {
	var tests []struct {
		Prompt   int     `json:"n_prompt"`
		Generate int     `json:"n_gen"`
		Rate     float64 `json:"avg_ts"`
	}
	if err := json.Unmarshal(text, &tests); err != nil {
		return nil, fmt.Errorf("llama-bench: %w: %s", err, text)
	}
	rates := map[string]float64{}
	for _, t := range tests {
		switch {
		case t.Prompt == prefillTokens && t.Generate == 0:
			rates[prefill] = t.Rate
		case t.Prompt == 0 && t.Generate == decodeTokens:
			rates[decode] = t.Rate
		}
	}
	return rates, nil
}

// output is what a program writes.
func (b *bench) output(ctx context.Context, program string, args ...string) ([]byte, error) {
	text, _, err := b.timed(ctx, program, args...)
	return text, err
}

// timed is output with the time of the processors that the program has had.
func (b *bench) timed(ctx context.Context, program string, args ...string) ([]byte, time.Duration, error) {
	command := exec.CommandContext(ctx, program, args...)
	var out, wrong bytes.Buffer
	command.Stdout, command.Stderr = &out, &wrong
	if err := command.Run(); err != nil {
		return nil, 0, fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, lastOf(wrong.String()))
	}
	return out.Bytes(), command.ProcessState.UserTime() + command.ProcessState.SystemTime(), nil
}

// lastOf is the end of what a program says, where the reason of its failure is.
func lastOf(said string) string { return said[max(0, len(said)-2000):] }

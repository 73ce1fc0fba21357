package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// size is a base and how much of each load there is. A larger base has less of it, so
// that a round on one slow core and on sixteen stays within minutes.
type size struct {
	name             string // as `peft-serve bench --synthetic` takes it
	prompt, generate int    // tokens of one request at a time
	each             int    // prompt tokens of each of 8 requests, and as many new ones
	batch, length    int    // sequences of a training step, and tokens of each
}

var sizes = []size{
	{"135m:q8_0", 512, 64, 32, 4, 64},
	{"1b:q4_0", 128, 16, 16, 2, 64},
}

// LoRA of this rank is on all linears, in the requests and in training.
const rank = "16"

// adapters are the requests at once, and how many adapters they ask for.
const adapters = 8

// loads are the names of the table's lines for a size, in its order.
func (s size) loads() []string {
	return []string{
		fmt.Sprintf("prefill %d", s.prompt), fmt.Sprintf("decode %d", s.generate),
		fmt.Sprintf("%d requests, %d + %[2]d, base", adapters, s.each), fmt.Sprintf("%d requests, %d + %[2]d, %[1]d adapters", adapters, s.each),
		fmt.Sprintf("LoRA step, %d × %d", s.batch, s.length),
	}
}

// file is a base, made where it is not there.
func (b *bench) file(ctx context.Context, name string) (string, error) {
	path := filepath.Join(b.work, "synthetic-"+strings.ReplaceAll(name, ":", "-")+".gguf")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(b.work, 0o755); err != nil {
		return "", err
	}
	// bench measures what it makes: as little of it as it can.
	_, err := b.output(ctx, "peft-serve", "bench", "--synthetic", name, "--keep", b.work, "--prompt", "1", "--generate", "1", "--repetitions", "1")
	return path, err
}

// round measures every load of a base once on each number of threads. Every other round
// begins with the most threads, so that none is always first.
func (b *bench) round(ctx context.Context, s size, path string, round int) error {
	loads, threads := s.loads(), slices.Clone(b.threads)
	if round%2 == 0 {
		slices.Reverse(threads)
	}
	if err := b.alone(ctx, s, path, threads); err != nil {
		return err
	}
	for _, n := range threads {
		var eight struct {
			Kernels string `json:"kernels"`
			Mix     []struct {
				Rate float64 `json:"tokens_per_second"`
			} `json:"mix"`
		}
		if err := b.told(ctx, &eight, "peft-serve", "bench", "--base", path, "--threads", strconv.Itoa(n), "--adapters", strconv.Itoa(adapters),
			"--requests", strconv.Itoa(adapters), "--rank", rank, "--targets", "all-linear",
			"--prompt", strconv.Itoa(s.each), "--generate", strconv.Itoa(s.each), "--repetitions", "1", "--json"); err != nil {
			return err
		}
		if len(eight.Mix) < 2 {
			return fmt.Errorf("peft-serve bench --adapters %d tells %d loads", adapters, len(eight.Mix))
		}
		b.kernels = eight.Kernels
		b.add(row{s.name, loads[2]}, n, eight.Mix[0].Rate)
		b.add(row{s.name, loads[3]}, n, eight.Mix[len(eight.Mix)-1].Rate)
		var step struct {
			Rate float64 `json:"tokens_per_second"`
		}
		if err := b.told(ctx, &step, "peft-train", "bench", "--base", path, "--threads", strconv.Itoa(n), "--methods", "lora:all-linear", "--r", rank,
			"--batch-size", strconv.Itoa(s.batch), "--max-length", strconv.Itoa(s.length), "--steps", "1", "--json"); err != nil {
			return err
		}
		b.add(row{s.name, loads[4]}, n, step.Rate)
	}
	return nil
}

// alone measures the base alone, which peft-serve bench does on all numbers of threads.
func (b *bench) alone(ctx context.Context, s size, path string, threads []int) error {
	list := strings.ReplaceAll(strings.Trim(fmt.Sprint(threads), "[]"), " ", ",")
	var report struct {
		Scaling []struct {
			Threads int     `json:"threads"`
			Prefill float64 `json:"prefill_tokens_per_second"`
			Decode  float64 `json:"decode_tokens_per_second"`
		} `json:"scaling"`
	}
	if err := b.told(ctx, &report, "peft-serve", "bench", "--base", path, "--threads", list,
		"--prompt", strconv.Itoa(s.prompt), "--generate", strconv.Itoa(s.generate), "--repetitions", "1", "--json"); err != nil {
		return err
	}
	if len(report.Scaling) != len(threads) {
		return fmt.Errorf("peft-serve bench --threads %s tells %d numbers of threads", list, len(report.Scaling))
	}
	loads := s.loads()
	for _, r := range report.Scaling {
		b.add(row{s.name, loads[0]}, r.Threads, r.Prefill)
		b.add(row{s.name, loads[1]}, r.Threads, r.Decode)
	}
	return nil
}

// add notes what a round has measured.
func (b *bench) add(r row, threads int, rate float64) {
	if b.rates[r] == nil {
		b.rates[r] = make([][]float64, len(b.threads))
	}
	i := slices.Index(b.threads, threads)
	b.rates[r][i] = append(b.rates[r][i], rate)
}

// told reads the JSON that a program writes.
func (b *bench) told(ctx context.Context, into any, program string, args ...string) error {
	text, err := b.output(ctx, program, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, text)
	}
	return nil
}

// output is what a program writes.
func (b *bench) output(ctx context.Context, program string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, filepath.Join(b.bin, program), args...)
	var out, wrong bytes.Buffer
	command.Stdout, command.Stderr = &out, &wrong
	if err := command.Run(); err != nil {
		said := wrong.String() // of which the end has the reason
		return nil, fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, said[max(0, len(said)-2000):])
	}
	return out.Bytes(), nil
}

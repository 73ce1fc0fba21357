// Command peers makes the table of docs/performance.md of this project beside llama.cpp
// and ik_llama.cpp: on the same GGUF files and the same threads, turn by turn, medians and
// 95 % intervals of the paired ratios. It is run in the repository's folder, with the
// programs in bin/.
//
//	go run ./scripts/peers run -llama DIR -ik DIR MODEL ...   take the turns that are not there yet, and print the table
//	go run ./scripts/peers table                                print the table of those that are there
//
// A MODEL is a GGUF file, or SIZE:FORMAT such as 1b:q4_0, a base of random weights that
// `peft-serve bench --synthetic` makes. DIR holds llama-bench and, with -adapters,
// llama-server. Each turn is kept as soon as it is over, so that a table that was cut off
// goes on where it stopped. Remove the file of turns when a program has changed.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// bench is how the table is made.
type bench struct {
	llama, ik, bin, work         string
	rounds, repetitions, threads int
	processor, adapters          bool
	turns                        turns
	out, log                     io.Writer
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "run" && args[0] != "table" {
		return fmt.Errorf("say what to do: run or table")
	}
	b := &bench{out: out, log: os.Stderr}
	var time string
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&b.llama, "llama", "", "folder of llama.cpp's programs; empty: without it")
	flags.StringVar(&b.ik, "ik", "", "folder of ik_llama.cpp's programs; empty: without it")
	flags.StringVar(&b.bin, "bin", "bin", "folder of this project's programs")
	flags.StringVar(&b.work, "work", ".base/peers", "folder of the turns, and of what is made for them")
	flags.IntVar(&b.rounds, "rounds", 6, "turns of each; from 6 on the ratios have intervals")
	flags.IntVar(&b.repetitions, "repetitions", 1, "times that a load is run in a turn, after one that is not counted")
	flags.IntVar(&b.threads, "threads", 2, "threads")
	flags.StringVar(&time, "time", "clock", "what seconds are counted by: clock, or processor, the user and system time of the programs, which other work on a machine changes less; with one thread, since those of the peers spin while they wait")
	flags.BoolVar(&b.adapters, "adapters", false, "measure 8 requests over HTTP too: on the base, with one adapter and with 8")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	b.processor = time == "processor"
	if !b.processor && time != "clock" {
		return fmt.Errorf("-time: %q is neither clock nor processor", time)
	}
	if b.rounds < 1 || b.repetitions < 1 || b.threads < 1 {
		return fmt.Errorf("-rounds, -repetitions and -threads have to be at least 1")
	}
	var err error
	if b.turns, err = readTurns(filepath.Join(b.work, "turns.jsonl")); err != nil {
		return err
	}
	if args[0] == "run" {
		if b.llama == "" && b.ik == "" || flags.NArg() == 0 {
			return fmt.Errorf("name the folder of a peer's programs with -llama or -ik, and at least one model behind the flags")
		}
		if b.adapters && b.llama == "" {
			return fmt.Errorf("-adapters are measured beside llama.cpp: name its folder with -llama")
		}
		for _, name := range flags.Args() {
			if err := b.model(ctx, name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return b.table()
}

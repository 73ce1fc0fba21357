// Command builtin makes what the programs carry along: the data of six tasks, an
// adapter for each on a base of `peft-train pretrain`, and the folder builtin/
// with all of it. It is run in the repository's folder.
//
//	go run ./scripts/builtin data -from ../shared -to .base
//	go run ./scripts/builtin make -base .base/gutenberg -data .base -work .base/builtin
//
// Data of others comes from a folder or, where it is not there, from where its
// makers publish it, and is held to its SHA-256. The rest is made here, the same
// each time. An adapter whose training was cut off goes on where it stopped.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "builtin:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("say what to make: data or make")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "data":
		from := flags.String("from", "../shared", "folder in which data of others may lie")
		to := flags.String("to", ".base", "folder to write to")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return writeData(ctx, *from, *to, out)
	case "make":
		m := maker{out: out}
		flags.StringVar(&m.base, "base", ".base/gutenberg", "folder of the base")
		flags.StringVar(&m.data, "data", ".base", "folder that data was written to")
		flags.StringVar(&m.work, "work", ".base/builtin", "folder of the runs")
		flags.StringVar(&m.to, "to", "builtin", "folder to write to")
		flags.StringVar(&m.train, "train", "bin/peft-train", "the program that trains")
		flags.IntVar(&m.steps, "steps", 0, "steps of each run; 0: the recipe's")
		flags.IntVar(&m.limit, "limit", 0, "rows to measure each adapter on; 0: all")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return m.make(ctx)
	}
	return fmt.Errorf("there is no %q: data or make", args[0])
}

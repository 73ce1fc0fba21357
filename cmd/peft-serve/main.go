// Command peft-serve serves one frozen base model with many adapters at once.
//
//	peft-serve --base ./SmolLM2-135M-Instruct --adapters ./adapters
//	peft-serve batch --base MODEL --input requests.jsonl --output answers.jsonl
//	peft-serve pull hf://owner/name
//	peft-serve bench --base model.gguf
//	peft-serve hash-key < key
//	peft-serve version
//
// Flags, PEFT_SERVE_* variables and one YAML file say the same things by the
// same names; a flag wins over a variable, a variable over the file.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/peft-serve/peft-serve/internal/interrupted"
	"github.com/peft-serve/peft-serve/kernels"
)

// version is set when a release is linked.
var version = "dev"

func main() {
	if err := kernels.Choose(os.Getenv("PEFT_KERNELS")); err != nil {
		fmt.Fprintln(os.Stderr, "peft-serve: PEFT_KERNELS:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), stops...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], console{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ(), after: time.After}))
}

// stops are the signals that stop a command.
var stops = []os.Signal{os.Interrupt, syscall.SIGTERM}

// console is where a command reads and writes.
type console struct {
	in       io.Reader
	out, err io.Writer
	env      []string
	args     []string // the command line, without the program
	after    func(time.Duration) <-chan time.Time
}

// say writes to the people at the console: a log has no use for its errors.
func (c console) say(format string, args ...any) { _, _ = fmt.Fprintf(c.err, format, args...) }

// run is the whole command: 0 for success, 1 for a failure, 2 for
// settings that cannot be used, 3 for a batch with rows that
// failed, 4 for one whose files have changed, 128 and the signal's number for what a
// signal has cut short. A server that a signal ends in good order has succeeded.
func run(ctx context.Context, args []string, c console) int {
	c.args = args
	selected, err := parse(args, c)
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		return exit.code
	case err != nil:
		c.say("%s\n", err)
		return statusUsage
	}
	if err := selected.Run(ctx, c); err != nil {
		c.say("peft-serve: %s\n", err)
		var own *statusError
		if errors.As(err, &own) {
			return own.status
		}
		return cmp.Or(interrupted.Status(ctx, stops...), 1)
	}
	return 0
}

// statusUsage is the exit status of arguments that cannot be used.
const statusUsage = 2

// statusError is an error with an exit status of its own.
type statusError struct {
	error
	status int
}

// command is what a subcommand does.
type command interface {
	Run(ctx context.Context, c console) error
}

// commands are the subcommands; without one, serve runs.
type commands struct {
	Serve   serveCommand   `cmd:"" default:"withargs" help:"Serve a base and its adapters over HTTP (the default)."`
	Batch   batchCommand   `cmd:"" help:"Answer a file of requests, in shards if it is large."`
	Pull    pullCommand    `cmd:"" help:"Fetch a model or adapter into the local cache."`
	Bench   benchCommand   `cmd:"" help:"Measure prefill, decode and mixed adapters, here or on a running server."`
	HashKey hashKeyCommand `cmd:"" help:"Print the hash of the key on standard input, to stand in a file of --keys."`
	Version versionCommand `cmd:"" help:"Print the version."`

	PrintVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

type versionCommand struct{}

func (versionCommand) Run(_ context.Context, c console) error {
	_, err := fmt.Fprintf(c.out, "peft-serve %s\n", version)
	return err
}

// Command peft-train fine-tunes a base model, and looks after the adapters
// that come of it.
//
//	peft-train quickstart
//	peft-train tokenizer books/*.txt --vocabulary 4096 --output ./tokenizer
//	peft-train pretrain examples/base/pretrain.yaml --output ./model
//	peft-train export ./model ./model.gguf --dtype q8_0
//	peft-train run --base ./base --data train.jsonl --method lora --output ./adapter
//	peft-train plan --base llama-7b --compare
//	peft-train inspect ./adapter --against ./base
//	peft-train merge --base ./base --adapter ./adapter --output ./merged
//	peft-train merge --adapter ./a --adapter ./b --weights 0.7,0.3 --combine cat --output ./both
//	peft-train extract --base ./base --tuned ./tuned --r 16 --output ./adapter
//	peft-train convert ./adapter ./adapter.gguf --base ./base
//	peft-train push oci://registry.example/team/sst2:v1 ./adapter --base ./base
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/peft-serve/peft-serve/internal/interrupted"
	"github.com/peft-serve/peft-serve/kernels"
)

// version is set when a release is linked.
var version = "dev"

func main() {
	if err := kernels.Choose(os.Getenv("PEFT_KERNELS")); err != nil {
		fmt.Fprintln(os.Stderr, "peft-train: PEFT_KERNELS:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), heeded()...)
	context.AfterFunc(ctx, func() {
		signal.Ignore(syscall.SIGHUP) // the terminal's and the shell's are one
		stop()                        // a second signal of another kind ends the process at once
	})
	os.Exit(run(ctx, os.Args[1:], console{out: os.Stdout, err: os.Stderr}))
}

// stops are the signals that stop a command: a run writes a checkpoint first.
var stops = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// heeded are those of stops that nobody has set aside: nohup, or whoever started
// the process, does so with SIGHUP.
func heeded() []os.Signal {
	if signal.Ignored(syscall.SIGHUP) {
		return stops[:2]
	}
	return stops
}

// console is where a command writes: results to out, notes to err.
type console struct{ out, err io.Writer }

// commands are the subcommands, each in a file of its own. A Run method takes
// any of context.Context and console.
type commands struct {
	Quickstart quickstartCommand `cmd:"" help:"Train a first adapter on the built-in base, in a minute or two, and put it into a server."`
	Run        runCommand        `cmd:"" help:"Train an adapter, or a whole model."`
	Eval       evalCommand       `cmd:"" help:"Measure a base, or an adapter on it."`
	Bench      benchCommand      `cmd:"" help:"Measure tokens/s and memory of training steps, by method."`
	Plan       planCommand       `cmd:"" help:"Count parameters, memory and FLOPs of a method, from a base's configuration alone."`
	Inspect    inspectCommand    `cmd:"" help:"Show what an adapter is, and how far it moves the base."`
	Merge      mergeCommand      `cmd:"" help:"Write a base with an adapter folded into its weights, or several adapters as one."`
	Extract    extractCommand    `cmd:"" help:"Make a low-rank adapter of the difference of two models."`
	Convert    convertCommand    `cmd:"" help:"Convert an adapter between PEFT, AdapterHub, llama.cpp and loralib."`
	Export     exportCommand     `cmd:"" help:"Write a model's folder as a GGUF file, quantised if asked."`
	Push       pushCommand       `cmd:"" help:"Put an adapter into an OCI registry."`
	Tokenizer  tokenizerCommand  `cmd:"" help:"Learn a byte-level BPE from texts."`
	Pretrain   pretrainCommand   `cmd:"" help:"Train a new Llama from random values."`

	PrintVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// exitCode is thrown by kong's help.
type exitCode int

// run is the whole command: 0 for success, 1 for a failure, 2 for arguments
// that cannot be used, 128 and the signal's number for one that was stopped.
// Without arguments it shows the help.
func run(ctx context.Context, args []string, c console) (code int) {
	defer func() {
		if r := recover(); r != nil {
			exit, ok := r.(exitCode)
			if !ok {
				panic(r)
			}
			code = int(exit)
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	var all commands
	recipe, err := findRecipe(args)
	if err != nil {
		c.note("peft-train: %s", err)
		return 2
	}
	wrong := &wrongValues{}
	parser, err := kong.New(&all, append(wrong.mappers(), kong.Resolvers(recipe), kong.Vars(names()), kong.Vars{"version": "peft-train " + version}, kong.ExplicitGroups(groups),
		kong.Name("peft-train"), kong.Description("Train adapters and whole models, and look after what comes of it."),
		kong.Writers(c.out, c.err), kong.Exit(func(n int) { panic(exitCode(n)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))...)
	if err != nil {
		panic(err) // a fault of this program
	}
	placeholders(parser.Model.Node)
	for _, line := range recipe.faults(parser.Model) {
		wrong.add("%s", line)
	}
	selected, err := wrong.parseAll(parser, args)
	if err == nil {
		err = recipe.taken(map[string]string{"run": all.Run.Recipe, "pretrain": all.Pretrain.Recipe}[recipe.command])
	}
	if err = wrong.with(err); err != nil {
		c.note("peft-train: %s", err)
		return 2
	}
	command, _, _ := strings.Cut(selected.Command(), " ") // without its arguments
	selected.BindTo(ctx, (*context.Context)(nil))
	err = selected.Run(c)
	if errors.Is(err, errUsage) {
		c.note("peft-train %s: %s", command, err)
		return 2
	}
	if err != nil {
		c.note("peft-train %s: %s", command, err)
		return cmp.Or(interrupted.Status(ctx, stops...), 1)
	}
	return 0
}

// errUsage is wrapped by errors about arguments that do not go together.
var errUsage = errors.New("usage")

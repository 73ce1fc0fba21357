// Command glue makes the table of GLUE's small tasks on a frozen encoder: how far each
// method comes with the same rows, order and number of tokens, and what it costs. It is
// run in the repository's folder, with the programs in bin/.
//
//	go run ./scripts/glue run                   train the cells that are not there yet
//	go run ./scripts/glue peer -python PYTHON   the same rows by PyTorch and PEFT
//	go run ./scripts/glue check                 serve all adapters at once: scores equal the trainer's
//	go run ./scripts/glue table                 docs/results/glue.md and glue.svg
//
// Each cell is a small JSON file as soon as it is finished, so that a table that was cut
// off goes on where it stopped.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "glue:", err)
		os.Exit(1)
	}
}

// bench is what the table is made of.
type bench struct {
	base, data, work, results string
	train, serve, python      string
	tokens, threads           int
	seed                      uint64
	tasks, methods            []string
	known                     []method // in the order of the table
	out                       io.Writer
}

func run(ctx context.Context, args []string, out io.Writer) error {
	actions := map[string]func(*bench, context.Context) error{
		"run": (*bench).cells, "peer": (*bench).peers, "check": (*bench).check, "table": func(b *bench, _ context.Context) error { return b.table() },
	}
	if len(args) == 0 || actions[args[0]] == nil {
		return fmt.Errorf("say what to do: run, peer, check or table")
	}
	b := &bench{out: out}
	var tasks, methods, tops string
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&b.base, "base", ".base/all-MiniLM-L6-v2", "folder of the encoder")
	flags.StringVar(&b.data, "data", "../shared/data/glue", "folder with a folder for each task")
	flags.StringVar(&b.work, "work", ".base/glue", "folder of the runs")
	flags.StringVar(&b.results, "results", "docs/results", "folder of the cells and the table")
	flags.StringVar(&b.train, "train", "bin/peft-train", "the program that trains")
	flags.StringVar(&b.serve, "serve", "bin/peft-serve", "the program that serves")
	flags.StringVar(&b.python, "python", ".venv/bin/python", "a Python with torch, transformers and peft")
	flags.IntVar(&b.tokens, "tokens", 250_000, "tokens that a cell is trained on, to the next batch")
	flags.IntVar(&b.threads, "threads", 0, "threads; 0: one for each core")
	flags.Uint64Var(&b.seed, "seed", 1, "seed of the initial values and the order")
	flags.StringVar(&tasks, "tasks", "RTE,CoLA,STS-B", "tasks, by the names of their folders")
	flags.StringVar(&methods, "methods", "", "methods; all, if empty")
	flags.StringVar(&tops, "top", "", "numbers of highest blocks, such as 1,2,4: LoRA on those alone is a method, too")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	var err error
	if b.known, err = withTops(tops); err != nil {
		return err
	}
	names := namesOf(b.known)
	if b.tasks, b.methods = strings.Split(tasks, ","), names; methods != "" {
		b.methods = strings.Split(methods, ",")
	}
	for _, name := range b.methods {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-methods: %q is none of %s", name, strings.Join(names, ", "))
		}
	}
	return actions[args[0]](b, ctx)
}

// method is one that is compared.
type method struct {
	name   string
	trains string   // the trainer's method; empty: that of the name
	flags  []string // of peft-train run
	rate   float64
	whole  bool // it makes a model, and no adapter
	peer   bool // PyTorch and PEFT train it too
}

// methodsOf are those of the table, in its order.
var methodsOf = []method{
	{name: "lora", flags: []string{"--r", "8", "--lora-alpha", "16", "--target-modules", "all-linear"}, rate: 5e-4, peer: true},
	{name: "bitfit", rate: 2e-3},
	{name: "houlsby", rate: 1e-3},
	{name: "lisa", rate: 2e-4, whole: true},
	{name: "full", rate: 1e-4, whole: true, peer: true},
}

func namesOf(methods []method) (names []string) {
	for _, m := range methods {
		names = append(names, m.name)
	}
	return names
}

// withTops are the methods of the table with LoRA on so many of the highest blocks behind
// LoRA itself.
func withTops(list string) ([]method, error) {
	all := slices.Clone(methodsOf)
	if list == "" {
		return all, nil
	}
	for i, k := range strings.Split(list, ",") {
		if n, err := strconv.Atoi(k); err != nil || n < 1 || slices.Contains(strings.Split(list, ",")[:i], k) {
			return nil, fmt.Errorf("-top: %q is no number of blocks, or there twice", k)
		}
		lora := methodsOf[0]
		all = slices.Insert(all, 1+i, method{
			name: lora.name + "-top" + k, trains: lora.name, flags: append(slices.Clone(lora.flags), "--top-layers", k), rate: lora.rate,
		})
	}
	return all, nil
}

// chosen are the methods that are asked for.
func (b *bench) chosen() (all []method) {
	for _, m := range b.known {
		if slices.Contains(b.methods, m.name) {
			all = append(all, m)
		}
	}
	return all
}

// made is the folder of a cell's adapter or model.
func (b *bench) made(m method, task string) string {
	kind := "adapters"
	if m.whole {
		kind = "models"
	}
	return filepath.Join(b.work, kind, m.name+"-"+strings.ToLower(task))
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/scripts/hold/mutant"
)

func init() { modes["hostile"] = hostile }

// hostile gives the house mutants of adapters of every family and of bases of
// every architecture, heads and files about embeddings included, and mutants of
// requests. Each is refused by an error that names a thing, or is
// served: then a second load gives the same bits. Time and memory are bounded.
func hostile(ctx context.Context, args []string, out io.Writer) error {
	o := attack{only: -1, onlyRequest: -1}
	flags := flag.NewFlagSet("hostile", flag.ContinueOnError)
	flags.IntVar(&o.n, "n", 5000, "mutants; one in three is a base")
	flags.Uint64Var(&o.seed, "seed", 1, "what they are drawn from")
	flags.IntVar(&o.requests, "requests", 5000, "requests that are changed in the same way")
	flags.IntVar(&o.only, "only", -1, "try this one alone, and say what becomes of it")
	flags.IntVar(&o.onlyRequest, "only-request", -1, "send this request alone, and say what becomes of it")
	flags.StringVar(&o.root, "root", ".", "the repository's folder")
	flags.StringVar(&o.sample, "sample", "", "folder to write some of those that are served to, with their log-probabilities, for testdata/peers/hostile.py")
	flags.IntVar(&o.most, "most", 60, "how many")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return o.run(ctx, out)
}

// attack is what hostile is asked for, and how it goes.
type attack struct {
	n, only, most int
	requests      int
	onlyRequest   int
	seed          uint64
	root, sample  string

	judge                      *judge
	out                        io.Writer
	refused, served            int
	crashed, unnamed           int
	slow, large, wrong, copied int
	worst                      cost
	kinds                      map[string]bool // of what the sample has
}

func (a *attack) run(ctx context.Context, out io.Writer) error {
	seeds, err := readSeeds(a.root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hostile-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if a.onlyRequest >= 0 {
		return a.request(ctx, out, dir)
	}
	a.out, a.kinds, a.judge = out, map[string]bool{}, newJudge(a.root)
	defer a.judge.close()
	for i := range a.n {
		if a.only >= 0 && i != a.only {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		draw := rand.New(rand.NewPCG(a.seed, uint64(i)))
		if err := a.attempt(ctx, seeds.pick(draw, i%3 == 0), draw, i, filepath.Join(dir, fmt.Sprintf("m%d", i))); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%d hostile: refused %d, served %d, crashed %d, unnamed %d, slow %d, large %d, wrong %d; one took at most %s of processors, %d MB\n",
		a.refused+a.served+a.crashed, a.refused, a.served, a.crashed, a.unnamed, a.slow, a.large, a.wrong,
		a.worst.time.Round(time.Millisecond), a.worst.memory>>20)
	var fault error
	if a.crashed+a.unnamed+a.slow+a.large+a.wrong > 0 {
		fault = errors.New("not all were refused by name or served")
	}
	if a.only >= 0 {
		return fault
	}
	return errors.Join(fault, a.request(ctx, out, dir))
}

// request does the same to requests.
func (a *attack) request(ctx context.Context, out io.Writer, dir string) error {
	h, err := serveRequests(a.root, dir)
	if err != nil {
		return err
	}
	h.out, h.seed = out, a.seed
	return errors.Join(h.run(ctx, a.requests, a.onlyRequest), h.close())
}

// The bounds of one mutant, whatever is wrong with it. All of its time is
// counted, that of the tiny base's computing included.
const (
	mostTime   = time.Second // of processors
	mostMemory = 64 << 20    // bytes allocated, and those
	perByte    = 16          // for each of its own
	patience   = time.Minute // until it hangs
)

// attempt tries one mutant of a seed.
func (a *attack) attempt(ctx context.Context, s seed, draw *rand.Rand, i int, dir string) error {
	folder, did := mutant.Mutate(draw, s.files(draw))
	if err := folder.Write(dir); err != nil {
		return fmt.Errorf("mutant %d of %s (%s): %w", i, s.name, did, err)
	}
	before := spent()
	v, err := within(patience, func() verdict { return a.judge.try(ctx, s, dir) })
	if err != nil {
		return fmt.Errorf("mutant %d of %s (%s): %w", i, s.name, did, err)
	}
	cost := spent().less(before)
	a.worst.time, a.worst.memory = max(a.worst.time, cost.time), max(a.worst.memory, cost.memory)
	report := func(what string) {
		fmt.Fprintf(a.out, "%s: -seed %d -only %d: %s: %s: %s\n", what, a.seed, i, s.name, strings.Join(did, "; "), v)
	}
	switch {
	case v.crash != "":
		a.crashed++
		report("crashed")
	case v.err != nil:
		a.refused++
		if !names(v.err, dir, folder) {
			a.unnamed++
			report("unnamed")
		}
	default:
		a.served++
		if err := a.keep(s, did, folder, v, i); err != nil {
			return err
		}
	}
	if v.differs {
		a.wrong++
		report("another answer after another load")
	}
	if cost.time > mostTime {
		a.slow++
		report(fmt.Sprintf("slow, %s", cost.time))
	}
	if cost.memory > mostMemory+perByte*folder.Size() {
		a.large++
		report(fmt.Sprintf("%d MB for %d bytes", cost.memory>>20, folder.Size()))
	}
	if a.only >= 0 {
		report(fmt.Sprintf("%s, %d MB", cost.time, cost.memory>>20))
	}
	return os.RemoveAll(dir)
}

// within waits for f, but not for ever.
func within(d time.Duration, f func() verdict) (verdict, error) {
	done := make(chan verdict, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- verdict{crash: fmt.Sprintf("%v\n%s", r, debug.Stack())}
			}
		}()
		done <- f()
	}()
	select {
	case v := <-done:
		return v, nil
	case <-time.After(d):
		return verdict{}, fmt.Errorf("it hangs for %s", d)
	}
}

// keep writes a served mutant to the sample, where it has none of its kind.
func (a *attack) keep(s seed, did []string, folder mutant.Folder, v verdict, i int) error {
	kind := s.kind(did)
	if a.sample == "" || a.copied >= a.most || a.kinds[kind] || len(v.asked) == 0 || !comparable(did) {
		return nil
	}
	a.kinds[kind] = true
	a.copied++
	dir := filepath.Join(a.sample, fmt.Sprintf("%05d", i))
	if err := folder.Write(dir); err != nil {
		return err
	}
	base, err := filepath.Abs(s.base)
	if err != nil {
		return err
	}
	ours, err := json.MarshalIndent(map[string]any{"seed": s.name, "base": base, "adapter": s.adapter, "mutations": did, "tokens": v.asked, "logprobs": v.logprobs}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.sample, fmt.Sprintf("%05d.json", i)), ours, 0o644)
}

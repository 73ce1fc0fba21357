// Command scaling measures how speed grows with the threads of the machine at hand, in
// five minutes: a prompt, decoding, eight requests on eight adapters and a training step,
// on two bases of random weights. It is run in the repository's folder, with the programs
// in bin/, and prints a table.
//
//	go run ./scripts/scaling                   1, 2, 4, 8 and 16 threads, or as many as there are processors
//	go run ./scripts/scaling -threads 1,6,12   these
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scaling:", err)
		os.Exit(1)
	}
}

// bench is how the table is made.
type bench struct {
	bin, work string
	threads   []int
	limit     time.Duration
	kernels   string // those of the programs, which they tell
	rates     map[row][][]float64
	out, log  io.Writer
}

// row is a line of the table: the rates of a load on a base, by the number of threads and
// the round.
type row struct {
	base, load string
}

func run(ctx context.Context, args []string, out io.Writer) error {
	b := &bench{rates: map[row][][]float64{}, out: out, log: os.Stderr}
	var threads string
	flags := flag.NewFlagSet("scaling", flag.ContinueOnError)
	flags.StringVar(&threads, "threads", "", "numbers of threads, as in 1,2,4; by default 1, 2, 4, 8 and 16, as far as there are processors")
	flags.StringVar(&b.bin, "bin", "bin", "folder of this project's programs")
	flags.StringVar(&b.work, "work", ".base/peers", "folder of the bases, which are made where they are not there, and left there")
	flags.DurationVar(&b.limit, "limit", 5*time.Minute, "no round is begun that would not end within it; one is always taken")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	var err error
	if b.threads, err = counts(threads, runtime.GOMAXPROCS(0)); err != nil {
		return err
	}
	return b.measure(ctx)
}

// counts reads the numbers of threads, or chooses them.
func counts(list string, processors int) (all []int, err error) {
	if list == "" {
		for n := 1; n <= min(processors, 16); n *= 2 {
			all = append(all, n)
		}
		if len(all) < 2 {
			return nil, fmt.Errorf("there is one processor: nothing to compare; -threads 1,2 measures all the same")
		}
		return all, nil
	}
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-threads: %q is no number above 0", text)
		}
		all = append(all, n)
	}
	if !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) < max(2, len(all)) {
		return nil, fmt.Errorf("-threads: %s are not two or more numbers, each larger than the one before", list)
	}
	return all, nil
}

// measure takes as many rounds as there is time for and prints the table.
func (b *bench) measure(ctx context.Context) error {
	paths := make([]string, len(sizes))
	for i, s := range sizes {
		var err error
		if paths[i], err = b.file(ctx, s.name); err != nil {
			return err
		}
	}
	var longest time.Duration
	for began, rounds := time.Now(), 1; ; rounds++ {
		start := time.Now()
		for i, s := range sizes {
			if err := b.round(ctx, s, paths[i], rounds); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		longest = max(longest, time.Since(start))
		fmt.Fprintf(b.log, "round %d took %s\n", rounds, time.Since(start).Round(time.Second))
		if time.Since(began)+longest > b.limit {
			break
		}
	}
	_, err := io.WriteString(b.out, b.table())
	return err
}

// Command hold tries whether the house holds: each mode does to it what no
// test has the time for, and prints one line of figures. It is run in the
// repository's folder, on the tiny bases of testdata/goldens.
//
//	go run ./scripts/hold hostile -n 5000 -seed 1
//	go run ./scripts/hold mixed -n 100000
//
// A mode is one file: a function of its flags, in modes under its name.
package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
)

// A mode reads its flags from args, prints its figures to out and returns an
// error where something did not hold.
type mode func(ctx context.Context, args []string, out io.Writer) error

var modes = map[string]mode{}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hold:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	known := strings.Join(slices.Sorted(maps.Keys(modes)), ", ")
	if len(args) == 0 {
		return fmt.Errorf("name a mode: %s", known)
	}
	m, ok := modes[args[0]]
	if !ok {
		return fmt.Errorf("there is no mode %q: %s", args[0], known)
	}
	return m(ctx, args[1:], out)
}

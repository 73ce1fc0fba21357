package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/peft-serve/peft-serve/training"
)

// runCommand trains.
type runCommand struct {
	Recipe string `arg:"" optional:"" help:"YAML file with settings by the names of the flags; a flag wins." type:"path"`
	training.Config
}

// Run trains.
func (r *runCommand) Run(ctx context.Context, c console) error {
	base, err := openBase(ctx, r.Base, r.BaseConfig, c)
	if err != nil {
		return err
	}
	r.PublishKey = os.Getenv("PEFT_SERVE_API_KEY")
	return train(ctx, r.Config, base, c)
}

// train does a run on a base, which it closes, and prints what came of it.
func train(ctx context.Context, config training.Config, base *training.Opened, c console) error {
	config.Version = version
	defer func() { _ = base.Close() }()
	show := newProgress(c.err)
	observer, tell := inTrainJob(os.Getenv, show)
	complete := false
	defer func() { tell(complete) }()
	run, err := training.NewRun(config, base, observer)
	if err != nil {
		return err
	}
	defer func() { _ = run.Close() }()
	if err := run.Plan(); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // whoever looks on and goes away ends nothing
	summary, err := run.Do(ctx)
	show.end()
	if errors.Is(err, training.ErrFinished) { // nothing is left to do
		c.note("%s", err)
		complete = true
		return nil
	}
	if err != nil {
		return err
	}
	complete = true
	printSummary(c, &config, summary)
	return nil
}

func printSummary(c console, config *training.Config, s *training.Summary) {
	line := func(key, format string, a ...any) { fmt.Fprintf(c.out, "%-12s %s\n", key, fmt.Sprintf(format, a...)) }
	line("method", "%s: %d parameters trained in %d steps", config.Method, s.Parameters, s.Steps)
	line("loss", "%.4f", s.Loss)
	for _, name := range slices.Sorted(maps.Keys(s.Validation)) {
		line(name, "%.4f (validation)", s.Validation[name])
	}
	line("speed", "%.0f tokens/s, %.1f s", s.Speed, s.Seconds)
	for _, a := range []struct {
		name string
		training.Account
	}{{"plan", s.Plan}, {"measured", s.Peak}} {
		line(a.name, "%s: model %s, gradients %s, optimizer %s, activations %s", training.Size(a.Total()),
			training.Size(a.Model), training.Size(a.Gradients), training.Size(a.Optimizer), training.Size(a.Activations))
	}
	if s.Resident > 0 {
		line("resident", "%s at the peak, all told", training.Size(s.Resident))
	}
	line("output", "%s", config.Output)
	if s.Digest != "" {
		line("digest", "%s", s.Digest)
	}
}

// atLeast reports the values by flag that are too small.
func atLeast(least int, values map[string]int) error {
	var wrong []error
	for _, flag := range slices.Sorted(maps.Keys(values)) {
		if values[flag] < least {
			wrong = append(wrong, fmt.Errorf("--%s: %d, want at least %d", flag, values[flag], least))
		}
	}
	return errors.Join(wrong...)
}

// faultsOf is nil where nothing is wrong.
func faultsOf(wrong []error) error {
	if err := errors.Join(wrong...); err != nil {
		return faults(err)
	}
	return nil
}

// faults writes everything that is wrong with the settings, a line each.
func faults(err error) error {
	lines := strings.Split(err.Error(), "\n")
	count := "1 fault"
	if len(lines) > 1 {
		count = fmt.Sprintf("%d faults", len(lines))
	}
	return fmt.Errorf("%w: %s in the settings:\n  %s", errUsage, count, strings.Join(lines, "\n  "))
}

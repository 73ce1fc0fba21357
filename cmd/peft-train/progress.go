package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/peft-serve/peft-serve/training"
)

// progress shows how a run goes on: a bar on a terminal, lines elsewhere.
type progress struct {
	out   io.Writer
	bar   *progressbar.ProgressBar
	tty   bool
	steps int
	from  int
	began time.Time
	last  time.Time
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, tty: ok && term.IsTerminal(int(f.Fd()))}
}

// Note implements training.Observer.
func (p *progress) Note(format string, a ...any) {
	if p.bar != nil {
		_ = p.bar.Clear() // the bar comes back with the next step
	}
	fmt.Fprintf(p.out, format+"\n", a...)
}

// Start implements training.Observer.
func (p *progress) Start(steps, from int) { p.start("steps", steps, from) }

func (p *progress) start(what string, steps, from int) {
	p.steps, p.from, p.began = steps, from, time.Now()
	if p.tty {
		p.bar = progressbar.NewOptions(steps, progressbar.OptionSetWriter(p.out), progressbar.OptionSetItsString(what),
			progressbar.OptionShowIts(), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		_ = p.bar.Set(from) // a terminal that cannot be written to shows nothing
	}
}

// interval is the time between two lines.
const interval = 5 * time.Second

// Step implements training.Observer.
func (p *progress) Step(r training.StepReport) {
	if p.tty {
		p.bar.Describe(fmt.Sprintf("loss %.4f, %.0f tokens/s", r.Loss, r.Speed))
		_ = p.bar.Set(r.Step)
		return
	}
	if !p.due(r.Step) {
		return
	}
	fmt.Fprintf(p.out, "step %d/%d  epoch %.2f  loss %.4f  norm %.3g  %.0f tokens/s  %s  %s left\n",
		r.Step, p.steps, r.Epoch, r.Loss, r.Norm, r.Speed, training.Size(r.Bytes.Total()), p.left(r.Step, time.Since(p.began)))
}

// due reports whether it is time for a line about a step.
func (p *progress) due(step int) bool {
	if time.Since(p.last) < interval && step < p.steps && step > 1 {
		return false
	}
	p.last = time.Now()
	return true
}

// module shows that so many of a model's modules are done.
func (p *progress) module(done, of int) {
	if p.steps == 0 {
		p.start("modules", of, 0)
	}
	switch {
	case p.tty:
		_ = p.bar.Set(done)
	case p.due(done):
		fmt.Fprintf(p.out, "module %d/%d  %s left\n", done, of, p.left(done, time.Since(p.began)))
	}
}

// left is how long the rest takes at the pace so far.
func (p *progress) left(step int, since time.Duration) time.Duration {
	each := since / time.Duration(max(1, step-p.from))
	return (each * time.Duration(p.steps-step)).Round(time.Second)
}

// Validated implements training.Observer.
func (p *progress) Validated(r training.StepReport) {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Validation)) {
		parts = append(parts, fmt.Sprintf("%s %.4f", name, r.Validation[name]))
	}
	p.Note("validation after step %d: %s", r.Step, strings.Join(parts, ", "))
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

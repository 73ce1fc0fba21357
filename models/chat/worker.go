package chat

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// A job is what a worker is asked, in gob, which keeps every byte of a text:
// first to compile a source, then to render conversations.
type job struct {
	Source   Source
	Messages []Message
	Options  Options
}

// An outcome is a worker's answer. The first one, before any job, tells that it
// has confined itself.
type outcome struct {
	Prompt string
	Fault  string // empty: none
	Kind   faultKind
}

type faultKind int

const (
	plainFault faultKind = iota
	raisedFault
	limitFault
)

func (o outcome) err() error {
	switch {
	case o.Kind == raisedFault:
		return &RaisedError{o.Fault}
	case o.Kind == limitFault:
		return fmt.Errorf("%w: %s", ErrLimits, o.Fault)
	case o.Fault != "":
		return errors.New(o.Fault)
	}
	return nil
}

// A worker is a process that renders one source.
type worker struct {
	source Source
	fault  error // of the source; nil: it renders
	waited bool  // it has been kept
	alive  bool

	cmd      *exec.Cmd
	in       io.Closer
	jobs     *gob.Encoder
	outcomes *gob.Decoder
	left     *io.LimitedReader // what an outcome may take
}

var (
	errDied = fmt.Errorf("%w: it took too much memory", ErrLimits)
	errLate = errors.New("too late")
)

// newWorker starts a worker that has compiled source, in the time given.
func newWorker(ctx context.Context, source Source, most time.Duration) (*worker, error) {
	if err := errors.Join(check(source.Text), check(source.Tools)); err != nil {
		return nil, err
	}
	w, err := startWorker(ctx)
	if err != nil {
		return nil, err
	}
	w.source = source
	o, err := w.ask(ctx, most, &job{Source: source})
	if err != nil {
		return nil, tooLate(err, "compiling", most)
	}
	w.fault = o.err()
	return w, nil
}

// startWorker starts a worker that is confined, and has nothing to do yet.
func startWorker(ctx context.Context) (*worker, error) {
	if !entered {
		return nil, fmt.Errorf("%w: this program does not call EnterSandbox", ErrSandbox)
	}
	path, err := executable()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSandbox, err)
	}
	cmd := exec.Command(path, sandboxArgument)
	cmd.Args[0] = os.Args[0]
	// Nothing of the server's environment but for the time zone, which strftime_now tells.
	cmd.Env = []string{"GOMAXPROCS=1", "GOTRACEBACK=none"}
	if zone, ok := os.LookupEnv("TZ"); ok {
		cmd.Env = append(cmd.Env, "TZ="+zone)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSandbox, err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrSandbox, err), in.Close())
	}
	left := &io.LimitedReader{R: out}
	w := &worker{alive: true, cmd: cmd, in: in, jobs: gob.NewEncoder(in), outcomes: gob.NewDecoder(left), left: left}
	o, err := w.ask(ctx, maxStart, nil)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: it does not start: %s", ErrSandbox, w.cmd.ProcessState)
	case o.Fault != "":
		w.end()
		return nil, fmt.Errorf("%w: %s", ErrSandbox, o.Fault)
	}
	return w, nil
}

// render renders one conversation. Afterwards w.alive tells whether w can go on.
func (w *worker) render(ctx context.Context, most time.Duration, j *job) (string, error) {
	o, err := w.ask(ctx, most, j)
	if err != nil {
		return "", tooLate(err, "rendering", most)
	}
	return o.Prompt, o.err()
}

func tooLate(err error, doing string, most time.Duration) error {
	if errors.Is(err, errLate) {
		return fmt.Errorf("%w: %s it took more time than %s", ErrLimits, doing, most)
	}
	return err
}

// ask sends a job, unless it is nil, and waits for the outcome. A worker that
// owes one when the time is over or ctx ends is ended, as is one that died: then
// the error is errLate, ctx's cause or errDied.
func (w *worker) ask(ctx context.Context, most time.Duration, j *job) (o outcome, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, most, errLate)
	defer cancel()
	stop := context.AfterFunc(limited, func() { _ = w.cmd.Process.Kill() })
	if j != nil {
		err = w.jobs.Encode(j)
	}
	if err == nil {
		w.left.N = maxPrompt + 2*maxFault
		err = w.outcomes.Decode(&o)
	}
	if !stop() {
		err = context.Cause(limited)
	} else if err != nil {
		err = errDied
	}
	if err != nil {
		w.end()
	}
	return o, err
}

// end ends the process and waits for that.
func (w *worker) end() {
	w.alive = false
	_ = w.cmd.Process.Kill() // it may have ended
	_ = w.in.Close()
	_ = w.cmd.Wait() // always tells of the kill
}

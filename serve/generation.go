package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/runtime"
)

// A generation is what one HTTP request asks the engine for: one or more
// sequences, the choices, whose events it merges. It ends early when the
// client goes away, when one choice fails, and at the drain deadline.
type generation struct {
	server  *Server
	account *account
	ctx     context.Context
	cancel  context.CancelCauseFunc
	lease   *catalogue.Lease // nil: the base
	choices []*runtime.Request
	events  *backlog
	left    int // choices that have not finished
	workers sync.WaitGroup
	unwatch func()

	submitting sync.Mutex
	accepted   int           // choices that the engine has taken
	begun      chan struct{} // closed when it has taken the first, or refused one before
	refused    error         // why it did; set before begun is closed

	prompts []*sharedPrompt // by choice
}

// A sharedPrompt is the prompt of several choices. The first of them computes it; the
// others wait, and find it in the prefix cache.
type sharedPrompt struct {
	first    int           // choice
	computed chan struct{} // closed when it is, or never will be
	once     sync.Once
}

func (p *sharedPrompt) isComputed() { p.once.Do(func() { close(p.computed) }) }

// promptsOf are the prompts of choices; nil where nothing is found in the cache: there
// is none, the prompt has no whole block, or each choice wants something of all of
// its rows.
func (s *Server) promptsOf(choices []*runtime.Request) []*sharedPrompt {
	r := choices[0]
	if len(choices) == 1 || r.PromptLogprobs >= 0 || s.engine.Options().NoPrefixCache {
		return nil
	}
	prompts := make([]*sharedPrompt, len(choices))
	for i, c := range choices {
		switch {
		case len(c.Prompt) <= kernels.BlockLen:
		case firstOfPrompt(choices, i):
			prompts[i] = &sharedPrompt{first: i, computed: make(chan struct{})}
		default:
			prompts[i] = prompts[i-1]
		}
	}
	return prompts
}

// awaitPrompt waits until the choice's prompt has been computed, if it is another's
// to do that. What it returns is called when the choice has begun, or will not.
func (g *generation) awaitPrompt(index int) (begun func()) {
	if g.prompts == nil || g.prompts[index] == nil {
		return func() {}
	}
	p := g.prompts[index]
	if p.first == index {
		return p.isComputed
	}
	select {
	case <-p.computed:
	case <-g.ctx.Done():
	}
	return func() {}
}

// choiceEvent is an event of one choice, or the error that ended it.
type choiceEvent struct {
	index int
	runtime.Event
	err error
}

// adapterError is an adapter that could not be loaded.
type adapterError struct {
	name string
	err  error
}

func (e *adapterError) Error() string {
	cause := e.err
	var named *catalogue.AdapterError
	if errors.As(cause, &named) {
		cause = named.Err // the name is said once
	}
	return fmt.Sprintf("adapter %q cannot be served: %s", e.name, cause)
}

func (e *adapterError) Unwrap() error { return e.err }

func isBrokenAdapter(err error) bool {
	var broken *adapterError
	return errors.As(err, &broken)
}

// generate starts the choices, which share a lease that the generation holds
// too. The caller takes events by next and must call end, once.
func (s *Server) generate(c *fiber.Ctx, choices []*runtime.Request) (*generation, error) {
	if err := s.requests.begin(); err != nil {
		return nil, err
	}
	ctx, cancel := s.limited(callerOf(c).limits.Timeout, choices[0].Arrived)
	g := &generation{
		server: s, account: accountOf(c), ctx: ctx, cancel: cancel, lease: choices[0].Lease.Hold(), choices: choices, left: len(choices),
		events: newBacklog(), begun: make(chan struct{}), prompts: s.promptsOf(choices),
		unwatch: s.watcher.add(c.Context().Conn(), cancel),
	}
	s.grammars.again(choices[0].Constraint)
	arrived := choices[0].Arrived
	if arrived.IsZero() {
		arrived = time.Now()
	}
	g.account.generation(choices, arrived)
	var next atomic.Int64
	for range min(len(choices), s.config.Parallel) {
		g.workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(choices); i = int(next.Add(1)) - 1 {
				if !g.run(i) {
					return
				}
			}
		})
	}
	return g, nil
}

// limited is a context that ends when a request that arrived then, zero being
// now, has had its time; 0: it has any.
func (s *Server) limited(timeout time.Duration, arrived time.Time) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	if timeout == 0 {
		return ctx, cancel
	}
	if arrived.IsZero() {
		arrived = time.Now()
	}
	ctx, stop := context.WithDeadlineCause(ctx, arrived.Add(timeout), errTimeout)
	return ctx, func(cause error) {
		cancel(cause)
		stop()
	}
}

// errTimeout is why a generation ends that took longer than a request may.
var errTimeout = errors.New("the request took longer than this server allows")

// end gives up what still runs and frees what the generation held.
func (g *generation) end() {
	g.cancel(context.Canceled)
	g.unwatch()
	g.workers.Wait()
	g.server.grammars.release(g.choices[0].Constraint)
	g.lease.Release()
	g.server.requests.end()
}

// start waits until the engine has taken the first choice, and returns its error
// if it refused one.
func (g *generation) start() error {
	select {
	case <-g.begun:
		return g.refused
	case <-g.ctx.Done():
		return context.Cause(g.ctx)
	}
}

// next returns the next event of any choice and runtime.ErrEnd after the last.
func (g *generation) next() (choiceEvent, error) { return g.nextUnless(nil) }

// errQuiet is what nextUnless returns if it was quiet for too long.
var errQuiet = errors.New("there was no event for a while")

// nextUnless is next, or errQuiet if the timer ends first.
func (g *generation) nextUnless(quiet <-chan time.Time) (choiceEvent, error) {
	if g.left == 0 {
		return choiceEvent{}, runtime.ErrEnd
	}
	for g.ctx.Err() == nil {
		if e, ok := g.events.take(); ok {
			return g.taken(e)
		}
		select {
		case <-g.events.ready:
		case <-quiet:
			return choiceEvent{}, errQuiet
		case <-g.ctx.Done():
		}
	}
	return g.failed(context.Cause(g.ctx))
}

// taken notes what an event says of the generation.
func (g *generation) taken(e choiceEvent) (choiceEvent, error) {
	if e.err != nil {
		g.cancel(e.err)
		return g.failed(e.err)
	}
	g.account.event(e, firstOfPrompt(g.choices, e.index))
	if e.Finish != "" {
		g.left--
	}
	return e, nil
}

func (g *generation) failed(err error) (choiceEvent, error) {
	g.account.refused(failureOf(err))
	return choiceEvent{}, err
}

// run is one choice from submission to its end; false ends the worker.
func (g *generation) run(index int) bool {
	begun := g.awaitPrompt(index)
	defer begun()
	stream, err := g.submit(g.choices[index])
	if err != nil {
		return g.send(choiceEvent{index: index, err: g.explain(err)})
	}
	defer stream.Close()
	answered := false
	for {
		event, err := stream.Next(g.ctx)
		switch {
		case errors.Is(err, runtime.ErrEnd) && answered:
			return true
		case errors.Is(err, runtime.ErrQueueFull) && !answered && g.displaced():
			stream.Close()
			return g.run(index)
		case errors.Is(err, runtime.ErrEnd):
			err = errors.New("the engine ended the sequence without an answer")
			fallthrough
		case err != nil:
			return g.send(choiceEvent{index: index, err: g.explain(err)})
		}
		if !g.send(choiceEvent{index: index, Event: event}) {
			return false
		}
		if event.Finish != "" {
			return true
		}
		answered = true
		begun()
	}
}

// submit hands a choice to the engine. A queue that is full refuses the request
// as a whole; once one of its choices is in, the others wait for room.
func (g *generation) submit(r *runtime.Request) (Stream, error) {
	for {
		g.submitting.Lock()
		stream, err := g.server.engine.Submit(g.ctx, r)
		waits := errors.Is(err, runtime.ErrQueueFull) && g.accepted > 0
		if err == nil {
			g.accepted++
		}
		g.note(err)
		g.submitting.Unlock()
		if !waits {
			return stream, err
		}
		select {
		case <-time.After(roomEvery):
		case <-g.ctx.Done():
			return nil, context.Cause(g.ctx)
		}
	}
}

// displaced notes that a choice has lost its place in the queue to another
// request, and reports whether choices remain for whose sake it waits for one again.
func (g *generation) displaced() bool {
	g.submitting.Lock()
	defer g.submitting.Unlock()
	g.accepted--
	return g.accepted > 0
}

// roomEvery is how often a choice looks for room in the queue.
const roomEvery = 10 * time.Millisecond

// note keeps what the engine said of the first choice that it was asked to take;
// g.submitting is held.
func (g *generation) note(err error) {
	select {
	case <-g.begun:
	default:
		if err != nil {
			err = g.explain(err)
		}
		g.refused = err
		close(g.begun)
	}
}

// send hands an event to who takes them, and reports whether the choice goes on.
func (g *generation) send(e choiceEvent) bool {
	if err := g.events.put(e); err != nil {
		g.cancel(err)
	}
	return e.err == nil && g.ctx.Err() == nil
}

// explain tells a cancelled generation from a failed one.
func (g *generation) explain(err error) error {
	if g.ctx.Err() != nil {
		return context.Cause(g.ctx)
	}
	return err
}

// loadFault tells an adapter that cannot be loaded from the server's own
// errors.
func loadFault(name string, err error) error {
	var own *failure
	if errors.As(err, &own) {
		return err
	}
	for _, own := range []error{
		runtime.ErrQueueFull, runtime.ErrClosed, runtime.ErrNotFinite, runtime.ErrPanic,
		catalogue.ErrUnknown, catalogue.ErrName, catalogue.ErrBuiltin, catalogue.ErrBudget, catalogue.ErrClosed, catalogue.ErrPanic,
		catalogue.ErrCombination, catalogue.ErrQuota, memory.ErrFull,
		errClientGone, errTimeout, errDrainDeadline, context.Canceled,
	} {
		if errors.Is(err, own) {
			return err
		}
	}
	return &adapterError{name, err}
}

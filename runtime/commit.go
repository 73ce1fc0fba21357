package runtime

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// commit takes the results of one sequence over: its blocks become findable,
// its token becomes an event.
func (e *Engine) commit(w *work) {
	s := w.s
	err := w.err
	for i := w.from; i < w.to && err == nil; i++ {
		err = e.outputs[i].err
	}
	if err != nil {
		e.end(s, "", e.broken(s, err))
		return
	}
	s.computed += w.count
	if !e.options.NoPrefixCache {
		e.label(s)
	}
	e.giveBack(s)
	finish, err := e.emit(s, e.outputs[w.from:w.to])
	if finish != "" || err != nil {
		e.end(s, finish, e.broken(s, err))
	}
}

// label offers the blocks that are full to the prefix cache.
func (e *Engine) label(s *sequence) {
	for n := s.labelled + 1; n*kernels.BlockLen <= s.computed; n++ {
		tokens := s.tokens[s.labelled*kernels.BlockLen:]
		s.key, s.low = s.identity.next(s.key, s.labelled, tokens), s.identity.below(s.low, tokens)
		e.blocks.label(s.blocks[s.labelled], s.key, s.low, s.identity.shared)
		s.labelled = n
	}
}

// emit turns outputs into events. It returns how the sequence ended, if it
// did, and has then left the last event to end.
func (e *Engine) emit(s *sequence, outputs []output) (finish Finish, err error) {
	defer e.rescue(s, &err)
	for i := range outputs {
		outputs[i].kind.take(&outputs[i])
	}
	if s.pending() > 0 {
		return "", nil
	}
	finish = FinishLength // of the prompt alone
	for _, k := range s.kinds {
		if finish, err = k.computed(e, s); err != nil {
			return "", err
		}
	}
	return finish, nil
}

// generated accounts for a completion token.
func (e *Engine) generated(s *sequence, first bool) {
	e.queue.charge(s, completionPrice)
	e.mu.Lock()
	e.counts.CompletionTokens++
	e.mu.Unlock()
	now := e.now()
	if first {
		s.first = now.Sub(s.submitted)
	}
	e.options.Observer.Token(s.lease.Name(), first, now.Sub(s.latest))
	s.latest = now
}

// end is the last of a sequence: its slot and blocks become free, its adapter
// loses a reference, and its stream ends with s.last or err. Where it waited
// for a slot the caller has taken it out.
func (e *Engine) end(s *sequence, finish Finish, err error) {
	if s.state == running {
		e.vacate(s)
	}
	if s.state == running || s.state == preempted {
		e.queue.leave(s)
	}
	e.forget(s)
	now := e.now()
	u := Usage{
		PromptTokens: len(s.request.Prompt), CachedTokens: s.cached, CompletionTokens: s.generation.done,
		Seed: s.request.Sampling.Seed, AdapterDigest: s.lease.Digest(), Adapters: s.lease.Adapters(), Versioned: s.lease.Versioned(),
		FirstToken: s.first, Total: now.Sub(s.submitted),
	}
	u.Queued = u.Total
	if !s.admitted.IsZero() {
		u.Queued = s.admitted.Sub(s.submitted)
	}
	if err != nil && s.lease != nil {
		err = catalogue.OfAdapter(s.lease.Name(), err)
	}
	e.mu.Lock()
	switch {
	case err == nil:
		e.counts.Finished++
	case errors.Is(err, context.Canceled):
		e.counts.Cancelled++
	default:
		e.counts.Failed++
	}
	e.counts.BlocksUsed, e.counts.BlocksCached = e.blocks.used(), e.blocks.keyed
	e.room.exit(&s.place)
	e.gauges.leave(s)
	e.mu.Unlock()
	s.lease.Release()
	s.last.Finish, s.last.Usage, s.last.Task = finish, &u, s.task
	s.stream.end(s.last, err)
	e.options.Observer.Finished(s.lease.Name(), finish, u, err)
}

// rescue, deferred, turns a panic into an error and gives up the buffers that
// were in use.
func (e *Engine) rescue(s *sequence, err *error) {
	if r := recover(); r != nil {
		stack := debug.Stack()
		if f, ok := r.(*kernels.Fault); ok {
			r, stack = f.Value, f.Stack
		}
		*err = fmt.Errorf("%w: %v", ErrPanic, r)
		e.options.Log.Error("panic in the engine", "adapter", s.lease.Name(), "panic", r, "stack", string(stack))
		e.pass = models.NewPass(e.pool)
	}
}

package runtime

import (
	goruntime "runtime"
	"slices"
)

// loop runs steps while there is something to compute and parks otherwise.
func (e *Engine) loop() {
	defer close(e.done)
	for {
		closing := e.intake()
		if e.step() {
			// Who waits for its events has no processor else, where the pool's
			// threads are as many as the processors and never rest.
			goruntime.Gosched()
			continue
		}
		if closing && e.idle() {
			return
		}
		<-e.wake
	}
}

// idle reports whether the engine has no sequence. It is asked after intake
// saw closing: nothing can have arrived since.
func (e *Engine) idle() bool {
	return len(e.running)+len(e.preempted)+len(e.loading)+len(e.queue.waiting) == 0
}

// intake moves what arrived to where it waits, and drops what left. It reports
// whether the engine is closing.
func (e *Engine) intake() (closing bool) {
	left := e.left.Swap(false) // first: who has left since then is told of again
	e.mu.Lock()
	e.loading = append(e.loading, e.inbox...)
	clear(e.inbox)
	e.inbox = e.inbox[:0]
	closing, killed := e.closing, e.killed
	e.mu.Unlock()

	e.loading = slices.DeleteFunc(e.loading, func(s *sequence) bool {
		if !s.lease.Ready() {
			return false
		}
		e.enqueue(s)
		return true
	})
	e.told.request = nil
	if left || killed {
		e.sweep(killed)
	}
	return closing
}

// enqueue makes a sequence whose adapter is loaded, or failed to, wait its
// turn.
func (e *Engine) enqueue(s *sequence) {
	err := s.lease.Err()
	if a := s.lease.Adapter(); a != nil {
		s.virtual = a.PrefixTokens() + a.VirtualTokens()
		if err = e.fits(s.request, s.virtual); err == nil {
			err = s.within(a.Vocabulary())
		}
		if err == nil {
			err = s.activate(a.Invocation())
		}
		if err == nil {
			err = e.classify(s, a)
		}
	}
	if err != nil {
		e.end(s, "", err)
		return
	}
	e.recognise(s)
	e.queue.push(s)
	e.move(s, queued)
}

// move notes a sequence's new state.
func (e *Engine) move(s *sequence, to state) {
	e.mu.Lock()
	e.gauges.move(s, to)
	if to == running {
		e.room.begin(&s.place)
	}
	e.mu.Unlock()
}

// sweep ends the sequences that were given up, or all of them.
func (e *Engine) sweep(all bool) {
	out := func(s *sequence) bool {
		cause := s.gone.Load()
		switch {
		case all:
			e.end(s, "", ErrClosed)
		case cause != nil:
			e.end(s, "", *cause)
		}
		return all || cause != nil
	}
	e.loading = slices.DeleteFunc(e.loading, out)
	e.queue.remove(out)
	e.preempted = slices.DeleteFunc(e.preempted, out)
	for i := len(e.running) - 1; i >= 0; i-- {
		out(e.running[i])
	}
}

package serve

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/peft-serve/peft-serve/runtime"
)

// loadsMost is how many adapters of one request wait to be loaded: others' have their
// turn.
const loadsMost = 4

// loadsAtOnce is how many do. One waits for room until those before it have answered
// all texts, and not for ever: so they are as many as have no more texts together than
// are in the engine at once, and one alone where there are more texts than that.
func (r *tasksRun) loadsAtOnce() int {
	return min(max(r.server.config.Parallel/len(r.texts), 1), loadsMost)
}

// run answers all tasks: those whose adapters are in memory many at a time, and then
// the others.
func (r *tasksRun) run() error {
	resident, others := r.inTurn()
	for some := range slices.Chunk(resident, r.together()) {
		gone, err := r.beginAll(some)
		if err != nil {
			return err
		}
		others = append(others, gone...)
	}
	most := r.loadsAtOnce()
	for _, t := range others {
		for r.loading+len(r.full) >= most {
			if err := r.wait(); err != nil {
				return err
			}
		}
		if t.lease, t.err = r.server.taskLease(r.c, t.naming); t.err != nil {
			continue
		}
		if !t.lease.Ready() {
			r.load(t)
			continue
		}
		if err := r.begin(t); err != nil {
			return err
		}
	}
	for r.loading+len(r.full)+len(r.flights) > 0 {
		if err := r.wait(); err != nil {
			return err
		}
	}
	return nil
}

// inTurn are the tasks whose adapters are in memory, and the others.
func (r *tasksRun) inTurn() (resident, others []*task) {
	for _, t := range r.tasks {
		if t.resident && !t.base {
			resident = append(resident, t)
		} else {
			others = append(others, t)
		}
	}
	return resident, others
}

// together is how many tasks begin at once: so that others of the request can begin
// before these have ended.
func (r *tasksRun) together() int { return max(r.server.config.Parallel/len(r.texts)/2, 1) }

// beginAll begins tasks, none of which is the base's, and returns those whose adapters
// are not in memory any more, or cannot be had.
func (r *tasksRun) beginAll(some []*task) (gone []*task, err error) {
	names := make([]string, len(some))
	for i, t := range some {
		names[i] = t.name
	}
	leases, _ := r.server.visible(r.c).AcquireAll(names, sessionOf(r.c)) // an error comes again when its task has its turn
	there := make([]*task, 0, len(some))
	for i, t := range some {
		if leases[i] == nil {
			gone = append(gone, t)
			continue
		}
		t.lease = leases[i]
		there = append(there, t)
	}
	return gone, r.begin(there...)
}

// load waits for the task's adapter beside what else goes on.
func (r *tasksRun) load(t *task) {
	r.loading++
	tenant, group := tenantOf(r.c), group(r.c)
	r.loads.Go(func() {
		if t.err = r.server.engine.Await(r.ctx, t.lease, tenant, group); t.err == nil {
			t.err = t.lease.Err()
		}
		r.loaded <- t
	})
}

// wait takes in an adapter that has been loaded, or else what the engine answers next.
func (r *tasksRun) wait() error {
	select {
	case t := <-r.loaded:
		return r.take(t)
	default:
	}
	if len(r.flights) > 0 {
		if err := r.land(); err != nil {
			return err
		}
		r.loadFull()
		return nil
	}
	var room <-chan time.Time
	if len(r.full) > 0 && (r.accepted || r.loading == 0) {
		room = time.After(roomEvery)
	}
	select {
	case t := <-r.loaded:
		return r.take(t)
	case <-room:
		r.loadFull()
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// loadFull has those wait again for whose wait there was no place.
func (r *tasksRun) loadFull() {
	for _, t := range r.full {
		r.load(t)
	}
	r.full = r.full[:0]
}

// take begins a task whose adapter has been loaded, or failed to. Where the engine has
// had no place for the wait, those before it make room; a request for none of whose
// tasks it has had one is refused.
func (r *tasksRun) take(t *task) error {
	r.loading--
	switch {
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case errors.Is(t.err, runtime.ErrClosed):
		return t.err
	case errors.Is(t.err, runtime.ErrQueueFull) && t.lease.Ready():
		t.err = t.lease.Err()
	case errors.Is(t.err, runtime.ErrQueueFull) && !r.accepted && r.loading == 0:
		return t.err
	case errors.Is(t.err, runtime.ErrQueueFull):
		t.err = nil
		r.full = append(r.full, t)
		return nil
	}
	if t.err != nil {
		t.fail(leaseFault(t.naming, t.err))
		return nil
	}
	return r.begin(t)
}

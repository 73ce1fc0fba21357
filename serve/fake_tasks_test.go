package serve

import (
	"context"

	"github.com/peft-serve/peft-serve/runtime"
)

// tasks are streams of one task each.
func (e *fakeEngine) tasks(r *runtime.Request) (Stream, error) {
	all, taken := &fakeTasks{streams: make([]Stream, len(r.Tasks))}, 0
	for i, lease := range r.Tasks {
		one := *r
		one.Lease, one.Tasks = lease, nil
		if stream, err := e.one(&one); err == nil {
			all.streams[i] = stream
			taken++
		}
	}
	if taken == 0 {
		return nil, runtime.ErrQueueFull
	}
	return all, nil
}

// fakeTasks is the stream of several tasks; nil: one for which there is no place.
type fakeTasks struct {
	streams []Stream
	next    int
}

func (t *fakeTasks) Next(ctx context.Context) (e runtime.Event, err error) {
	i := t.next
	if i == len(t.streams) {
		return e, runtime.ErrEnd
	}
	if t.streams[i] == nil {
		t.next++
		return runtime.Event{Task: i, Token: runtime.NoToken, Err: runtime.ErrQueueFull}, nil
	}
	e, err = t.streams[i].Next(ctx)
	if err != nil && ctx.Err() != nil {
		return e, err
	}
	if e.Task, e.Err = i, err; err != nil || e.Finish != "" {
		t.next++
	}
	return e, nil
}

func (t *fakeTasks) Close() {
	for _, s := range t.streams {
		if s != nil {
			s.Close()
		}
	}
}

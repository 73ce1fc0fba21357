package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// leases are on adapters in memory, and on the base by the name "".
func (g *golden) leases(names []string) (all []*catalogue.Lease) {
	g.t.Helper()
	for _, name := range names {
		var l *catalogue.Lease
		if name != "" {
			var err error
			if l, err = g.catalogue.Acquire(name, ""); err != nil {
				g.t.Fatal(err)
			}
			if err := l.Wait(g.t.Context()); err != nil {
				g.t.Fatal(name, err)
			}
			g.t.Cleanup(l.Release)
		}
		all = append(all, l)
	}
	return all
}

// tasks runs the tasks of a stream that an engine has, and returns their last events.
func tasks(t testing.TB, e *Engine, stream *Stream, n int) (last []Event) {
	t.Helper()
	for e.intake(); e.step(); e.intake() {
	}
	last = make([]Event, n)
	for {
		event, err := stream.Next(t.Context())
		if errors.Is(err, ErrEnd) {
			return last
		}
		if err != nil {
			t.Fatal(err)
		}
		if last[event.Task].Finish != "" || last[event.Task].Err != nil {
			t.Fatalf("task %d ends twice", event.Task)
		}
		last[event.Task] = event
	}
}

// TestTasksAreAnsweredAsAlone: each task of a request has the bits of a request of its
// own, and one that fails, since it has no head, touches no other.
func TestTasksAreAnsweredAsAlone(t *testing.T) {
	g, heads, others := openDeep(t, modeltest.Goldens(t, "encoders/bert"))
	for _, c := range []struct {
		what   Encoding
		names  []string
		failed int
	}{
		{EncodeScores, slices.Concat(heads[models.Classify][:4], others[:1], heads[models.Classify][4:], heads[models.Tag]), 1},
		{EncodeTokens, slices.Concat(others[:3], []string{""}, others[3:]), 0},
	} {
		r := Request{Prompt: []int32{7, 8, 9, 10, 11}, Encode: c.what, Logprobs: -1, PromptLogprobs: -1}
		var alone []answer
		for _, name := range c.names {
			alone = append(alone, g.run(g.engine(1, Options{}), []*call{{r, name}}, nil)[0])
		}
		r.Again, r.Tasks = true, g.leases(c.names)
		for _, o := range []Options{{}, {Slots: 5}, {StepTokens: 7}, {Slots: 1000, StepTokens: 1000}} {
			e := g.engine(1, o)
			stream, err := e.Submit(t.Context(), &r)
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for i, event := range tasks(t, e, stream, len(c.names)) {
				if event.Err != nil {
					failed++
					if c.names[i] != others[0] || !errors.Is(event.Err, models.ErrTask) {
						t.Errorf("%+v: %s: %v", o, c.names[i], event.Err)
					}
					continue
				}
				same(t, fmt.Sprintf("%+v: %s", o, c.names[i]), answer{finish: event.Finish, encoded: event.Encoded}, answer{finish: alone[i].finish, encoded: alone[i].encoded})
				if event.Usage.AdapterDigest != r.Tasks[i].Digest() {
					t.Errorf("%s: answered by %q", c.names[i], event.Usage.AdapterDigest)
				}
			}
			if n := e.Snapshot(); failed != c.failed || n.Failed != uint64(failed) || n.Finished != uint64(len(c.names)-failed) || !e.idle() {
				t.Errorf("%d failed: %+v", failed, n)
			}
		}
	}
}

// TestTasksTakePlaces: each task takes a place of the queue. Those for which there is
// none are told of, where there is one for others.
func TestTasksTakePlaces(t *testing.T) {
	g, heads, _ := openDeep(t, modeltest.Goldens(t, "encoders/bert"))
	names := heads[models.Classify][:6]
	e := g.engine(1, Options{Slots: 1, Queue: 3})
	r := &Request{Prompt: []int32{7, 8, 9}, Tasks: g.leases(names), Encode: EncodeScores, Logprobs: -1, PromptLogprobs: -1}
	stream, err := e.Submit(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Submit(t.Context(), r); !errors.Is(err, ErrQueueFull) {
		t.Fatalf("a full queue: %v", err)
	}
	answered, refused := 0, 0
	for _, event := range tasks(t, e, stream, len(names)) {
		switch {
		case event.Finish != "":
			answered++
		case errors.Is(event.Err, ErrQueueFull):
			refused++
		}
	}
	if answered != 4 || refused != 2 {
		t.Errorf("%d answered, %d without a place", answered, refused)
	}
	for _, giveUp := range []func(*Stream, context.CancelFunc){
		func(s *Stream, _ context.CancelFunc) { s.Close() },
		func(_ *Stream, leave context.CancelFunc) { leave() },
	} {
		ctx, leave := context.WithCancel(t.Context())
		if stream, err = e.Submit(ctx, r); err != nil {
			t.Fatal(err)
		}
		giveUp(stream, leave)
		for !e.left.Load() { // the context's end is told in a goroutine of its own, of all tasks at once
		}
		for _, event := range tasks(t, e, stream, len(names)) {
			if !errors.Is(event.Err, context.Canceled) && !errors.Is(event.Err, ErrQueueFull) {
				t.Errorf("a task of one who has left: %+v", event)
			}
		}
		leave()
	}
	if n := e.Snapshot(); n.Finished != 4 || !e.idle() || n.Running+n.Waiting > 0 {
		t.Errorf("%+v", n)
	}
	for i, l := range r.Tasks {
		if err := l.Err(); err != nil || l.Adapter() == nil {
			t.Errorf("%s: its lease has ended: %v", names[i], err)
		}
	}
}

// TestTasksAreToldOfEachStep: who waits is told of the tasks that end in a step at its
// end, though others go on, and may let go of their adapters.
func TestTasksAreToldOfEachStep(t *testing.T) {
	g, _, others := openDeep(t, modeltest.Goldens(t, "encoders/bert"))
	e := g.engine(1, Options{StepTokens: 3}) // one text
	stream, err := e.Submit(t.Context(), &Request{
		Prompt: []int32{7, 8, 9}, Tasks: g.leases(others[:2]), Encode: EncodeTokens, Logprobs: -1, PromptLogprobs: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		e.intake()
		if !e.step() {
			t.Fatal("there is nothing to compute")
		}
		select {
		case <-stream.ready:
		default:
			t.Fatalf("nobody is told that task %d has ended", i)
		}
		if event, err := stream.Next(t.Context()); err != nil || event.Task != i || event.Finish == "" {
			t.Fatalf("task %d: %+v, %v", i, event, err)
		}
	}
	if _, err := stream.Next(t.Context()); !errors.Is(err, ErrEnd) {
		t.Error(err)
	}
}

// doing is a context that has something done when Submit begins to watch it.
type doing struct {
	context.Context
	do func()
}

func (c doing) Done() <-chan struct{} {
	c.do()
	return c.Context.Done()
}

// TestTaskLosesItsPlaceInSubmit: one whose place another gets before the step loop knows
// of it is given up as any other, though the loop has looked meanwhile for who has left.
func TestTaskLosesItsPlaceInSubmit(t *testing.T) {
	g, heads, _ := openDeep(t, modeltest.Goldens(t, "encoders/bert"))
	one, two := heads[models.Classify][0], heads[models.Classify][1]
	names := []string{one, one, one, two} // the last has the place of the one before
	e := g.engine(1, Options{Slots: 1, Queue: 2})
	stream, err := e.Submit(doing{t.Context(), func() { e.intake() }}, &Request{
		Prompt: []int32{7, 8, 9}, Tasks: g.leases(names), Encode: EncodeScores, Logprobs: -1, PromptLogprobs: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, event := range tasks(t, e, stream, len(names)) {
		if lost := i == 2; errors.Is(event.Err, ErrQueueFull) != lost || (event.Finish == "") != lost {
			t.Errorf("task %d: %q, %v", i, event.Finish, event.Err)
		}
	}
	if n := e.Snapshot(); n.Finished != 3 || n.Failed != 1 || !e.idle() || n.Running+n.Waiting > 0 {
		t.Errorf("%+v", n)
	}
}

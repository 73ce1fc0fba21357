package serve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// A tasksRun has the tasks of a request answer its texts. Each text of some tasks is a
// request of the engine, where tasks share what no adapter acts on. Few are there at a
// time: the adapters of those are held and no others, so that more adapters than there
// is memory for take turns, those that are in memory first. A task that fails does not
// touch the others.
type tasksRun struct {
	server  *Server
	c       *fiber.Ctx
	ctx     context.Context
	who     *caller
	texts   []classifiable
	what    *classification
	arrived time.Time

	tasks    []*task
	flights  []flight   // in the engine, the oldest first
	flying   int        // texts of tasks in them
	accepted bool       // the engine has taken one
	loading  int        // tasks whose adapter is being loaded
	loaded   chan *task // of those, the ones that are over
	full     []*task    // for whose wait the engine has had no place
	loads    sync.WaitGroup
	read     []*readTexts // by tokenizer
	numbers  int          // scores, so far
	tokens   int          // of the texts of each task that has answered
	timing   timing
	releases []func() // of memory for the answer
}

// task is one adapter that is to answer.
type task struct {
	naming
	lease   *catalogue.Lease // until all texts are answered; nil: the base
	digest  string
	classes *models.Classes
	text    *tokenizer.Tokenizer
	read    *readTexts
	all     []classified // by text
	left    int          // texts without an answer
	err     error        // why there is none
	unfit   bool         // it is the texts' fault
}

// flight is a text of some tasks in the engine.
type flight struct {
	tasks  []*task
	text   int
	stream Stream
}

// readTexts are the tokens of all texts as a task of that kind takes them.
type readTexts struct {
	text  *tokenizer.Tokenizer
	kind  models.Task
	room  int // tokens beside the adapter's virtual ones
	all   []classified
	types [][]int32
	err   error
}

// textBytes is what each text of a task takes until all have answered, beside its scores.
const textBytes = 256

// answerTasks runs the tasks. An error is of the request as a whole. release is for
// when the answer is written.
func (s *Server) answerTasks(c *fiber.Ctx, named []naming, texts []classifiable, what *classification, arrived time.Time) (_ *tasksRun, release func(), err error) {
	if err := s.requests.begin(); err != nil {
		return nil, nil, err
	}
	defer s.requests.end()
	ctx, done := s.attend(c)
	r := &tasksRun{server: s, c: c, ctx: ctx, who: callerOf(c), texts: texts, what: what, arrived: arrived, loaded: make(chan *task, loadsMost)}
	tasks := make([]task, len(named))
	for i, n := range named {
		tasks[i].naming = n
		r.tasks = append(r.tasks, &tasks[i])
	}
	defer func() {
		for _, f := range r.flights {
			f.stream.Close()
		}
		done()
		r.loads.Wait()
		for _, t := range r.tasks {
			t.release()
		}
		if err != nil {
			r.free()
		}
	}()
	for i := range texts {
		if err := texts[i].given(); err != nil {
			return nil, nil, err
		}
	}
	if err := r.run(); err != nil {
		return nil, nil, err
	}
	return r, r.free, r.unfit()
}

// unfit is what is wrong with the texts, where all tasks say the same of them.
func (r *tasksRun) unfit() error {
	first := r.tasks[0]
	for _, t := range r.tasks {
		if !t.unfit || *failureOf(t.err) != *failureOf(first.err) {
			return nil
		}
	}
	return first.err
}

func (r *tasksRun) free() {
	for _, release := range r.releases {
		release()
	}
}

// release ends the task's hold on its adapter.
func (t *task) release() {
	t.lease.Release()
	t.lease = nil
}

func (t *task) fail(err error) {
	t.err = err
	t.release()
}

// begin hands the texts to the engine, for tasks whose adapters are in memory. Those
// that take the texts in the same tokens go together.
func (r *tasksRun) begin(some ...*task) error {
	var groups [][]*task
	for _, t := range some {
		if !r.ready(t) {
			continue
		}
		at := slices.IndexFunc(groups, func(g []*task) bool { return g[0].read == t.read })
		if at < 0 {
			at, groups = len(groups), append(groups, make([]*task, 0, len(some)))
		}
		groups[at] = append(groups[at], t)
	}
	for _, group := range groups {
		if err := r.count(group); err != nil {
			return err
		}
		for i := range r.texts {
			for r.flying > 0 && r.flying+len(group) > r.server.config.Parallel {
				if err := r.land(); err != nil {
					return err
				}
			}
			if err := r.submit(group, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// ready reads the texts as a task takes them, and reports whether it does.
func (r *tasksRun) ready(t *task) bool {
	t.digest = t.lease.Identity()
	to := selection{lease: t.lease, text: r.server.text, vocabulary: r.server.vocabulary, who: r.who}
	if a := t.lease.Adapter(); a != nil {
		to.text, to.vocabulary = r.server.textOf(a), a.Vocabulary()
	}
	classes, err := r.server.classesOf(to)
	if err != nil {
		t.fail(err)
		return false
	}
	t.classes, t.text, t.left = classes, to.text, len(r.texts)
	t.read = r.readFor(to, classes)
	if err := r.fit(to, t.read); err != nil {
		t.unfit = true
		t.fail(err)
		return false
	}
	return true
}

// fit is why a task does not take the texts.
func (r *tasksRun) fit(to selection, read *readTexts) error {
	if read.err != nil {
		return read.err
	}
	for i := range read.all {
		if err := r.server.fits(to, &runtime.Request{Prompt: read.all[i].ids}, r.texts[i].field, ""); err != nil {
			return err
		}
	}
	return nil
}

// count sets memory aside for the part of some tasks, which read the same, in the answer,
// and gives each its part.
func (r *tasksRun) count(some []*task) error {
	bytes := int64(0)
	for _, t := range some {
		texts := t.read.all
		tokens, numbers := 0, 0
		for i := range texts {
			tokens += len(texts[i].ids)
			rows := 1
			if t.classes.Task == models.Tag {
				rows = len(texts[i].ids)
			}
			numbers += rows * len(t.classes.Names)
		}
		if r.numbers += numbers; r.numbers > maxNumbers {
			return invalid(r.what.field, "%s asks for more than %d scores of all adapters together: give fewer texts at a time, or name fewer adapters", r.what.field, maxNumbers)
		}
		bytes += 4*numberBytes*int64(numbers) + nameBytes(t.classes, len(texts), tokens) + textBytes*int64(len(texts))
	}
	release, err := r.server.takeForBody(memory.Bodies, bytes)
	if err != nil {
		return err
	}
	r.releases = append(r.releases, release)
	for _, t := range some {
		t.all = slices.Clone(t.read.all)
	}
	return nil
}

// readFor are the texts in tokens, as a task takes them.
func (r *tasksRun) readFor(to selection, classes *models.Classes) *readTexts {
	room := to.room(r.server.context)
	for _, k := range r.read {
		if k.text == to.text && k.kind == classes.Task && k.room == room {
			return k
		}
	}
	k := &readTexts{text: to.text, kind: classes.Task, room: room, all: make([]classified, len(r.texts)), types: make([][]int32, len(r.texts))}
	for i, text := range r.texts {
		k.all[i].classifiable = text
		request := &runtime.Request{}
		if k.err = r.server.classifiedTokens(r.c, to, classes, &k.all[i], r.what, request); k.err != nil {
			break
		}
		k.types[i] = request.Types
	}
	r.read = append(r.read, k)
	return k
}

// submit hands a text of some tasks to the engine, but for those that have failed. Where
// that is full, those before them make room; a request of which it has taken nothing is
// refused.
func (r *tasksRun) submit(some []*task, text int) error {
	for {
		some = slices.DeleteFunc(slices.Clone(some), func(t *task) bool { return t.err != nil })
		if len(some) == 0 {
			return nil
		}
		stream, err := r.server.engine.Submit(r.ctx, r.request(some, text))
		switch {
		case err == nil:
			r.accepted = true
			r.flights = append(r.flights, flight{some, text, stream})
			r.flying += len(some)
			return nil
		case !errors.Is(err, runtime.ErrQueueFull):
			for _, t := range some {
				if err := r.failed(t, err); err != nil {
					return err
				}
			}
			return nil
		case !r.accepted:
			return err
		case len(r.flights) > 0:
			if err := r.land(); err != nil {
				return err
			}
			continue
		}
		select {
		case <-time.After(roomEvery):
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
}

// request is a text of some tasks as the engine takes it.
func (r *tasksRun) request(some []*task, text int) *runtime.Request {
	leases, read := make([]*catalogue.Lease, len(some)), some[0].read
	for i, t := range some {
		leases[i] = t.lease
	}
	return &runtime.Request{
		Tasks: leases, Tenant: r.who.tenant, Group: group(r.c), Scope: r.who.scope, Prompt: read.all[text].ids, Types: read.types[text], Again: true,
		Encode: runtime.EncodeScores, Logprobs: -1, PromptLogprobs: -1, Arrived: r.arrived,
	}
}

// failed ends a task, or the request where the reason is its own.
func (r *tasksRun) failed(t *task, err error) error {
	switch {
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case errors.Is(err, runtime.ErrClosed):
		return err
	}
	if t.err == nil {
		t.fail(err)
	}
	return nil
}

// land waits for the answers to the oldest text in the engine.
func (r *tasksRun) land() error {
	f := r.flights[0]
	r.flights = slices.Delete(r.flights, 0, 1)
	r.flying -= len(f.tasks)
	defer f.stream.Close()
	var displaced []*task
	for left := len(f.tasks); left > 0; {
		event, err := f.stream.Next(r.ctx)
		switch {
		case r.ctx.Err() != nil:
			return context.Cause(r.ctx)
		case err != nil:
			return fmt.Errorf("the engine ended a request before all its tasks: %w", err)
		}
		t := f.tasks[event.Task]
		switch {
		case errors.Is(event.Err, runtime.ErrQueueFull): // it has no place, or another request has got it
			displaced = append(displaced, t)
		case event.Err != nil:
			err = r.failed(t, event.Err)
		case event.Finish == "":
			continue
		case t.err == nil: // or another text has failed
			r.answered(t, f.text, event)
		}
		if left--; err != nil {
			return err
		}
	}
	if displaced == nil {
		return nil
	}
	return r.submit(displaced, f.text)
}

// answered takes the scores of a text.
func (r *tasksRun) answered(t *task, text int, event runtime.Event) {
	r.timing.add(choiceEvent{Event: event})
	accountOf(r.c).answered(event)
	activate := activationOf(t.classes, r.what.activation)
	scores := make([][]float64, event.Encoded.Rows)
	for i := range scores {
		scores[i] = activate(event.Encoded.Row(i))
	}
	t.all[text].scores = scores
	r.tokens += len(t.all[text].ids)
	if t.left--; t.left == 0 {
		t.release()
	}
}

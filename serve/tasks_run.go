package serve

import (
	"context"
	"errors"
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

// A tasksRun has the tasks of a request answer its texts. Each text of each task is a
// request of the engine, where texts share what no adapter acts on. Few are there at a
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
	types   [][]int32    // of the tokens, by text
	all     []classified // by text
	left    int          // texts without an answer
	err     error        // why there is none
	unfit   bool         // it is the texts' fault
}

// flight is a text of a task in the engine.
type flight struct {
	task   *task
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
	for _, n := range named {
		r.tasks = append(r.tasks, &task{naming: n})
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

// begin hands the texts to the engine, for a task whose adapter is in memory.
func (r *tasksRun) begin(t *task) error {
	t.digest = t.lease.Identity()
	to := selection{lease: t.lease, text: r.server.text, vocabulary: r.server.vocabulary, who: r.who}
	if a := t.lease.Adapter(); a != nil {
		to.text, to.vocabulary = r.server.textOf(a), a.Vocabulary()
	}
	classes, err := r.server.classesOf(to)
	if err != nil {
		t.fail(err)
		return nil
	}
	t.classes, t.text, t.left = classes, to.text, len(r.texts)
	read := r.readFor(to, classes)
	if err := r.fit(to, read); err != nil {
		t.unfit = true
		t.fail(err)
		return nil
	}
	if err := r.count(classes, read.all); err != nil {
		return err
	}
	t.all, t.types = slices.Clone(read.all), read.types
	for i := range t.all {
		for len(r.flights) >= r.server.config.Parallel {
			if err := r.land(); err != nil {
				return err
			}
		}
		if t.err != nil {
			return nil
		}
		if err := r.submit(t, i); err != nil {
			return err
		}
	}
	return nil
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

// count sets memory aside for a task's part of the answer.
func (r *tasksRun) count(classes *models.Classes, all []classified) error {
	tokens, numbers := 0, 0
	for i := range all {
		tokens += len(all[i].ids)
		rows := 1
		if classes.Task == models.Tag {
			rows = len(all[i].ids)
		}
		numbers += rows * len(classes.Names)
	}
	if r.numbers += numbers; r.numbers > maxNumbers {
		return invalid(r.what.field, "%s asks for more than %d scores of all adapters together: give fewer texts at a time, or name fewer adapters", r.what.field, maxNumbers)
	}
	release, err := r.server.takeForBody(memory.Bodies, 4*numberBytes*int64(numbers)+nameBytes(classes, len(all), tokens)+textBytes*int64(len(all)))
	if err == nil {
		r.releases = append(r.releases, release)
	}
	return err
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

// submit hands a text to the engine. Where that is full, those before it make room; a
// request of which it has taken nothing is refused.
func (r *tasksRun) submit(t *task, text int) error {
	for {
		stream, err := r.server.engine.Submit(r.ctx, r.request(t, text))
		switch {
		case err == nil:
			r.accepted = true
			r.flights = append(r.flights, flight{t, text, stream})
			return nil
		case !errors.Is(err, runtime.ErrQueueFull):
			return r.failed(t, err)
		case !r.accepted:
			return err
		case len(r.flights) > 0:
			if err := r.land(); err != nil || t.err != nil {
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

// request is a text of a task as the engine takes it.
func (r *tasksRun) request(t *task, text int) *runtime.Request {
	return &runtime.Request{
		Lease: t.lease, Tenant: r.who.tenant, Group: group(r.c), Scope: r.who.scope, Prompt: t.all[text].ids, Types: t.types[text], Again: true,
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

// land waits for the answer to the oldest text in the engine.
func (r *tasksRun) land() error {
	f := r.flights[0]
	r.flights = slices.Delete(r.flights, 0, 1)
	defer f.stream.Close()
	t := f.task
	if t.err != nil { // of another text
		return nil
	}
	for {
		event, err := f.stream.Next(r.ctx)
		switch {
		case errors.Is(err, runtime.ErrQueueFull): // the place went to another request
			return r.submit(t, f.text)
		case errors.Is(err, runtime.ErrEnd):
			return r.failed(t, errors.New("the engine ended the sequence without an answer"))
		case err != nil:
			return r.failed(t, err)
		}
		if event.Finish != "" {
			r.answered(t, f.text, event)
			return nil
		}
	}
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

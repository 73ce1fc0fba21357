package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/processor"
	"github.com/peft-serve/peft-serve/internal/sample"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/runtime"
)

// Classification is measured by processor time, of this process or, with --url, of the
// server: texts by adapters of each family beside the base's bare forward, one at a time
// and many at once, and one text through one task and through all.

// classified is one load of a bench of classification. Times are in milliseconds of
// processor time.
type classified struct {
	Name    string    `json:"name"`
	Texts   int       `json:"texts"` // at once
	Tasks   int       `json:"tasks"` // that each goes through
	Each    float64   `json:"milliseconds_a_text"`
	Beside  string    `json:"beside,omitempty"` // the load that its ratio is to
	Ratio   float64   `json:"ratio,omitempty"`
	Samples []float64 `json:"samples"`
}

// classifyLoad is what is run for one.
type classifyLoad struct {
	classified
	here   bool // whatever --url says
	repeat int  // runs of a sample
	run    func(ctx context.Context, round int) error
}

// atOnce is how many texts there are at once, unless --requests says otherwise, and
// textTokens how long they are, unless --prompt does.
const (
	atOnce     = 64
	textTokens = 32
)

// sampleTime is about what a sample takes, so that neither a scrape shows nor the
// steps in which some systems count.
const sampleTime = 600 * time.Millisecond

// measureClassify has a server or the engine classify.
func (b *benchCommand) measureClassify(ctx context.Context, c console, r *report) (err error) {
	if !b.given["requests"] {
		b.Requests = atOnce
	}
	if b.Adapters == 0 {
		b.Adapters = b.Requests
	}
	b.Prompt = b.promptTokens(textTokens)
	dir, remove, err := b.folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	d, err := b.newBed(ctx, c, catalogue.Options{Bytes: boundless, Dir: dir}, b.Requests, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	r.describe(b, d.base)
	made := b.headed()
	t := &texts{bench: b, bed: d, pass: models.NewPass(d.pool), ask: d.classify, spent: processorTime}
	if b.URL != "" {
		if err := t.askServer(ctx, b, r); err != nil {
			return err
		}
	} else {
		if err := b.writeHeaded(d.base.model, dir); err != nil {
			return err
		}
		if err := d.residents(ctx, made); err != nil {
			return err
		}
		r.Rank = b.Rank
	}
	if t.tokens, err = d.base.text.EncodePlain(benchText); err != nil {
		return err
	}
	r.Classified, err = t.measure(ctx, t.loads(made), b.Repetitions)
	return err
}

// residents brings adapters into memory.
func (d *bed) residents(ctx context.Context, made map[string][]string) error {
	for _, names := range made {
		for _, name := range names {
			if _, err := d.catalogue.Load(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// texts are what is classified, and by what.
type texts struct {
	bench  *benchCommand
	bed    *bed
	pass   *models.Pass
	tokens []int32
	first  int                                                             // round, see cut
	ask    func(ctx context.Context, text string, adapters []string) error // several: one text by each
	spent  processorClock
}

// loads are what is measured of families of adapters.
func (t *texts) loads(made map[string][]string) (all []classifyLoad) {
	n := t.bench.Requests
	add := func(name, beside string, count, tasks int, run func(ctx context.Context, round int) error) {
		all = append(all, classifyLoad{classified: classified{Name: name, Texts: count, Tasks: tasks, Beside: beside}, here: beside == "", run: run})
	}
	bare := func(count int) func(context.Context, int) error {
		return func(_ context.Context, round int) error { return t.forward(t.cut(round, count)) }
	}
	const one, batch, only = "bare forward", "bare forward of a batch", "one text, "
	add(one, "", 1, 1, bare(1))
	for _, family := range families {
		add(only+family, one, 1, 1, func(ctx context.Context, round int) error {
			return t.ask(ctx, t.text(t.cut(round, 1)[0]), made[family][:1])
		})
	}
	add(batch, "", n, 1, bare(n))
	for _, family := range families {
		names := made[family]
		add(fmt.Sprintf("%d texts at once, %d %s", n, min(n, len(names)), family), batch, n, 1, func(ctx context.Context, round int) error {
			return t.together(ctx, t.cut(round, n), names)
		})
	}
	if heads := made[families[0]]; len(heads) > 1 {
		add(fmt.Sprintf("%s%d heads", only, len(heads)), only+families[0], 1, len(heads), func(ctx context.Context, round int) error {
			return t.ask(ctx, t.text(t.cut(round, 1)[0]), heads)
		})
	}
	return all
}

// cut returns the tokens of texts, others in each round.
func (t *texts) cut(round, n int) [][]int32 {
	return t.bench.prompts(t.tokens, round, n, t.bench.Prompt)
}

func (t *texts) text(tokens []int32) string { return t.bed.base.text.Decode(tokens, true) }

// forward computes texts as one batch of the base, with the special tokens that a text has
// when it is asked for, and nothing else.
func (t *texts) forward(all [][]int32) error {
	var b models.Batch
	for _, tokens := range all {
		tokens, err := t.bed.base.text.Encode(t.text(tokens), true)
		if err != nil {
			return err
		}
		b.Out = append(b.Out, int32(b.Rows()))
		b.AddText(tokens, nil, 0, nil)
	}
	t.pass.Free(t.bed.base.model.Forward(t.pass, &b, nil))
	return nil
}

// together asks for texts at once, each of another adapter.
func (t *texts) together(ctx context.Context, all [][]int32, names []string) error {
	faults := make([]error, len(all))
	var group sync.WaitGroup
	for i, tokens := range all {
		group.Go(func() { faults[i] = t.ask(ctx, t.text(tokens), names[i%len(names):i%len(names)+1]) })
	}
	group.Wait()
	return errors.Join(faults...)
}

// processorClock is the processor time that who answers has had so far.
type processorClock = func(context.Context) (time.Duration, error)

// processorTime is what this process has had so far.
func processorTime(context.Context) (time.Duration, error) {
	if spent := processor.Time(); spent > 0 {
		return spent, nil
	}
	return 0, errors.New("this system does not tell the processor time: measure on Linux, macOS or a BSD")
}

// measure runs the loads in turn, after a round that tells how often each is run for a
// sample.
func (t *texts) measure(ctx context.Context, loads []classifyLoad, rounds int) (rows []classified, err error) {
	next := t.first
	for round := range rounds + 1 {
		for i := range loads {
			l := &loads[i]
			spent := t.spent
			if l.here {
				spent = processorTime
			}
			runs := max(l.repeat, 1)
			run := func() (time.Duration, error) {
				before, err := spent(ctx)
				if err != nil {
					return 0, err
				}
				for range runs {
					next++
					if err := l.run(ctx, next); err != nil {
						return 0, err
					}
				}
				after, err := spent(ctx)
				return after - before, err
			}
			took, err := run()
			if round == 0 && err == nil { // what is cold is no measure of how often
				took, err = run()
				l.repeat = int(sampleTime/max(took, time.Millisecond)) + 1
			} else if err == nil {
				l.Samples = append(l.Samples, 1000*took.Seconds()/float64(runs*l.Texts))
			}
			if err != nil {
				return nil, err
			}
		}
	}
	for _, l := range loads {
		l.Each = sample.Median(l.Samples)
		if at := slices.IndexFunc(rows, func(r classified) bool { return r.Name == l.Beside }); at >= 0 {
			l.Ratio = l.Each / rows[at].Each
		}
		rows = append(rows, l.classified)
	}
	return rows, nil
}

// A server of as many choices at once as it has by default has tasks of one text go to
// the engine so many together, and so many such chunks at once.
const (
	tasksTogether  = 32
	chunksInFlight = 2
)

// classify has the engine answer by each of several adapters, which go to the engine as
// the tasks of one request of the server's do.
func (d *bed) classify(ctx context.Context, text string, names []string) error {
	tokens, err := d.base.text.Encode(text, true)
	if err != nil {
		return err
	}
	var flights []*flight // the oldest first
	defer func() {
		for _, f := range flights {
			f.end()
		}
	}()
	land := func() error {
		f := flights[0]
		flights = flights[1:]
		return f.land(ctx)
	}
	for some := range slices.Chunk(names, tasksTogether) {
		if len(flights) == chunksInFlight {
			if err := land(); err != nil {
				return err
			}
		}
		f, err := d.classifyTogether(ctx, tokens, some, len(names) > 1)
		if err != nil {
			return err
		}
		flights = append(flights, f)
	}
	for len(flights) > 0 {
		if err := land(); err != nil {
			return err
		}
	}
	return nil
}

// flight is a chunk of tasks that the engine answers.
type flight struct {
	leases []*catalogue.Lease
	stream *runtime.Stream
}

// end gives up what has not been answered.
func (f *flight) end() {
	if f.stream != nil {
		f.stream.Close()
	}
	for _, l := range f.leases {
		l.Release()
	}
}

// classifyTogether begins a flight.
func (d *bed) classifyTogether(ctx context.Context, tokens []int32, names []string, again bool) (*flight, error) {
	f := &flight{}
	var faults []error
	f.leases, faults = d.catalogue.AcquireAll(names, "")
	err := errors.Join(faults...)
	if i := slices.Index(f.leases, nil); err == nil && i >= 0 {
		err = fmt.Errorf("adapter %q is not in memory any more: its files have been changed", names[i])
	}
	if err == nil {
		f.stream, err = d.engine.Submit(ctx, &runtime.Request{
			Prompt: tokens, Tasks: f.leases, Encode: runtime.EncodeScores, Again: again, Logprobs: -1, PromptLogprobs: -1,
		})
	}
	if err != nil {
		f.end()
		return nil, err
	}
	return f, nil
}

// land waits for all answers of a flight.
func (f *flight) land(ctx context.Context) error {
	defer f.end()
	for {
		e, err := f.stream.Next(ctx)
		switch {
		case errors.Is(err, runtime.ErrEnd):
			return nil
		case err != nil || e.Err != nil:
			return errors.Join(err, e.Err)
		}
	}
}

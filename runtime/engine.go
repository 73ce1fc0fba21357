package runtime

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Decoder turns the tokens of one text into that text as they come:
// tokenizer.Decoder. Push returns whole characters only, Flush the rest.
type Decoder interface {
	Push(token int32) string
	Flush() string
	// Show has it show special tokens that it would skip, before the first Push.
	Show(special []int32)
	// Continue has it take the tokens for the middle of a text, before the first Push.
	Continue()
}

// Engine runs sequences over one base model.
//
// One goroutine owns the step loop and all that steps touch; Submit hands
// sequences to it through the inbox, and it answers through their Streams.
type Engine struct {
	model   models.Model
	decoder func(skipSpecial bool) Decoder
	options Options
	encoder bool // the base encodes texts, each computed whole, and keeps no keys and values
	now     func() time.Time

	notFinite error // of a row that the base computes by itself

	wake chan struct{}
	done chan struct{}
	left atomic.Bool // a sequence has been given up since the last sweep

	mu      sync.Mutex
	inbox   []*sequence
	ids     uint64
	closing bool // takes no more requests
	killed  bool // fails those it has
	room    room
	gauges  gauges
	counts  Snapshot

	// The step loop's own.
	pool      *kernels.Pool
	pass      *models.Pass
	cache     *models.Cache
	blocks    *blocks
	root      scopeRoot // of the last sequence that was prepared
	lows      []digest  // scratch of takeRest
	queue     queue
	loading   []*sequence
	preempted []*sequence // ascending by id: they resume before others start
	running   []*sequence // by adapter, then by id
	batch     models.Batch
	texts     map[digest]*sameText // of an encoder
	resting   []*sameText          // of those, kept for requests that follow; the oldest first
	told      told                 // the last text that was recognised
	bytes     []byte               // scratch of textID
	round     uint64               // counts calls of step
	pace      pace
	stretch   float64 // the most that prompts have stretched a step beside answers
	spare     int     // rows that grammars without a choice may still add to the next step
	shared    int     // rows of layers, in a step: see models.Batch.Shared
	works     []work
	outputs   []output
	hidden    models.Value   // some of a batch's hidden states
	kept      kernels.Matrix // rows of a step that are folded
	sampling  samplingTask
}

// New starts an engine that computes m on pool, which it then has to itself.
// decoder returns a Decoder that continues a text, leaving special tokens out
// if asked to; nil gives events without text.
func New(m models.Model, decoder func(skipSpecial bool) Decoder, pool *kernels.Pool, o Options) (*Engine, error) {
	e, err := newEngine(m, decoder, pool, o)
	if err != nil {
		return nil, err
	}
	go e.loop()
	return e, nil
}

// newEngine is New without the step loop.
func newEngine(m models.Model, decoder func(skipSpecial bool) Decoder, pool *kernels.Pool, o Options) (*Engine, error) {
	o, err := o.with(m.Config())
	if err != nil {
		return nil, err
	}
	blocks := newBlocks(o.CacheBlocks, m.Config().Layers)
	e := &Engine{
		model: m, decoder: decoder, options: o, now: time.Now, notFinite: newNotFinite(o.Largest),
		wake: make(chan struct{}, 1), done: make(chan struct{}), room: newRoom(o.Queue, o.Slots), gauges: newGauges(),
		encoder: isEncoder(m.Config()), pool: pool, pass: models.NewPass(pool), cache: models.NewPagedCache(m.Config(), o.CacheFormat, len(blocks.users), blocks.pages),
		blocks: blocks, queue: newQueue(), pace: newPace(o.PromptShare, m),
	}
	e.batch.Out, e.batch.MayKeep, e.texts = make([]int32, 0, o.Slots), o.StepTokens, map[digest]*sameText{}
	e.sampling.choices = make([]choice, pool.Threads())
	e.counts.Blocks = o.CacheBlocks
	return e, nil
}

// Options are the engine's, defaults filled in: Context is the longest
// sequence it runs.
func (e *Engine) Options() Options { return e.options }

// Submit queues a request. It returns at once: ErrPrompt, ErrSampling,
// ErrQueueFull and ErrClosed come from here, everything later from the Stream:
// ErrQueueFull too, where a place in the queue is given to another tenant, and of tasks
// those for which there is no place where there is one for others.
// When ctx ends, so does the sequence. r must not change any more.
func (e *Engine) Submit(ctx context.Context, r *Request) (*Stream, error) {
	all, err := e.newSequences(r)
	if err != nil {
		return nil, err
	}
	taken, err := e.reserve(all)
	if err != nil {
		return nil, err
	}
	for _, s := range taken {
		s.lease.Hold()
	}
	stream := all[0].stream
	stream.unwatch = context.AfterFunc(ctx, stream.cancel)
	e.mu.Lock()
	if e.closing {
		for _, s := range taken {
			e.room.exit(&s.place)
			e.gauges.leave(s)
		}
		e.mu.Unlock()
		stream.unwatch()
		for _, s := range taken {
			s.lease.Release()
		}
		return nil, ErrClosed
	}
	e.counts.Requests += uint64(len(taken))
	e.inbox = append(e.inbox, taken...)
	if slices.ContainsFunc(taken, func(s *sequence) bool { return s.gone.Load() != nil }) {
		e.left.Store(true) // the step loop may have looked for it before it was there
	}
	e.mu.Unlock()
	for _, s := range taken {
		if !s.lease.Ready() {
			s.lease.OnReady(e.rouse)
		}
	}
	e.rouse()
	return stream, nil
}

// isEncoder reports whether a base encodes texts and generates none.
func isEncoder(c *models.Config) bool {
	return c.Architecture != nil && !c.Architecture.Does(models.Generate)
}

// newSequences checks what can be checked of a request before its adapters are
// loaded, and makes its sequences: one, or one for each task.
func (e *Engine) newSequences(r *Request) ([]sequence, error) {
	if err := e.does(r); err != nil {
		return nil, err
	}
	if len(r.Prompt) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrPrompt)
	}
	if err := e.fits(r, 0); err != nil {
		return nil, err
	}
	for _, stop := range r.Stop {
		if stop == "" || !utf8.ValidString(stop) || e.decoder == nil {
			return nil, fmt.Errorf("%w: %q cannot be a stop string", ErrSampling, stop)
		}
	}
	all := make([]sequence, max(len(r.Tasks), 1))
	stream := newStream(len(all), len(r.Tasks) > 0, func() {
		for i := range all {
			all[i].leave(context.Canceled)
		}
		e.someLeft()
	})
	submitted := r.Arrived
	if submitted.IsZero() {
		submitted = e.now()
	}
	for i := range all {
		s := &all[i]
		s.request, s.task, s.lease, s.stream = r, i, r.Lease, stream
		if len(r.Tasks) > 0 {
			s.lease = r.Tasks[i]
		}
		s.party = partyOf(r.Tenant, r.Group, s.lease)
		s.submitted, s.latest = submitted, submitted
		s.place.displaced = s.displaced(e)
		if i > 0 && s.lease != nil { // as of the first
			continue
		}
		if err := e.knowable(s); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// knowable refuses what a sequence asks for that no adapter can make right.
func (e *Engine) knowable(s *sequence) error {
	vocabulary := e.model.Config().Vocabulary
	if s.lease != nil {
		vocabulary = math.MaxInt32 // it is known when the adapter is
	} else if err := e.classify(s, nil); err != nil {
		return err
	}
	return s.within(vocabulary)
}

// displaced is called when the sequence's place in the queue goes to another.
func (s *sequence) displaced(e *Engine) func(error) {
	return func(err error) {
		if !s.stream.tasks {
			s.stream.fail(err) // at once: the step loop may be busy
		}
		s.leave(err)
		e.someLeft()
	}
}

// leave gives a sequence up: the step loop ends it once someLeft has told it.
func (s *sequence) leave(cause error) { s.gone.CompareAndSwap(nil, &cause) }

// someLeft makes the step loop end the sequences that have been given up.
func (e *Engine) someLeft() {
	e.left.Store(true)
	e.rouse()
}

// activate finds where an adapter of those invocation tokens begins to act. A
// prompt without them would be answered by the base, and is refused.
func (s *sequence) activate(invocation []int32) error {
	if len(invocation) == 0 {
		return nil
	}
	if s.from = models.Activation(s.request.Prompt, invocation); s.from < 0 {
		return fmt.Errorf("%w: it has not the invocation tokens %v from which on the adapter acts: end it with them", ErrPrompt, invocation)
	}
	return nil
}

// within gives the sequence's rows their vocabulary, and refuses tokens outside
// of it.
func (s *sequence) within(vocabulary int) (err error) {
	s.vocabulary = vocabulary
	for i, t := range s.request.Prompt {
		if t < 0 || int(t) >= vocabulary {
			return fmt.Errorf("%w: token %d is %d, outside the vocabulary of %d", ErrPrompt, i, t, vocabulary)
		}
	}
	if s.request.Encode == EncodeNothing {
		s.generation.sampler, err = newSampler(s.request, vocabulary)
	}
	return err
}

// fits refuses what the context or the key-value cache can never hold.
func (e *Engine) fits(r *Request, virtual int) error {
	completion := r.MaxTokens
	if completion < 0 {
		completion = 1
	}
	if virtual+len(r.Prompt)+completion > e.options.Context {
		return fmt.Errorf("%w: its %d tokens, %d virtual ones and %d of completion do not fit the context of %d",
			ErrPrompt, len(r.Prompt), virtual, completion, e.options.Context)
	}
	return nil
}

// reserve gives sequences of a request their numbers and their places among those
// waiting, and returns those for which there is one; where there is none for any, it
// says why.
func (e *Engine) reserve(all []sequence) (taken []*sequence, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return nil, ErrClosed
	}
	taken = make([]*sequence, 0, len(all))
	refused := map[*sequence]error{}
	for i := range all {
		s := &all[i]
		if err := e.room.enter(&s.place, s.party); err != nil {
			refused[s] = err
			continue
		}
		e.gauges.join(s)
		e.ids++
		s.id = e.ids
		taken = append(taken, s)
	}
	if len(taken) == 0 {
		return nil, refused[&all[0]]
	}
	for s, err := range refused {
		s.stream.end(Event{Task: s.task}, err)
	}
	return taken, nil
}

// Snapshot returns the present counts.
func (e *Engine) Snapshot() Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	snapshot := e.counts
	e.gauges.describe(&snapshot)
	return snapshot
}

// Close takes no more requests, lets those accepted finish until ctx ends,
// fails the rest with ErrClosed and returns when the step loop has ended. It
// leaves the catalogue and the pool to their owner.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closing = true
	e.mu.Unlock()
	e.rouse()
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
	}
	e.mu.Lock()
	e.killed = true
	e.mu.Unlock()
	e.rouse()
	<-e.done
	return ctx.Err()
}

// rouse wakes the step loop if it is parked.
func (e *Engine) rouse() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

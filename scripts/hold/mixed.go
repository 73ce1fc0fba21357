package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
)

func init() { modes["mixed"] = mixed }

// mixed is law 1 at length: requests of every kind in one engine, each asked
// again alone, and not a bit may differ.
func mixed(ctx context.Context, args []string, out io.Writer) error {
	var o mixing
	flags := flag.NewFlagSet("mixed", flag.ContinueOnError)
	flags.IntVar(&o.n, "n", 100_000, "requests")
	flags.Uint64Var(&o.seed, "seed", 1, "what the requests are drawn from")
	flags.StringVar(&o.root, "root", ".", "the repository's folder")
	base := flags.String("base", "", "a base for which adapters of each family are made; by default the golden bases with theirs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	bases, err := goldenBases(o.root)
	if err != nil {
		return err
	}
	if *base != "" {
		bases = []string{*base}
		if o.adapters, err = os.MkdirTemp("", "mixed-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(o.adapters) }()
		if err := makeAdapters(*base, o.adapters); err != nil {
			return err
		}
	}
	start := time.Now()
	var total tally
	for round, done := 0, 0; done < o.n; round++ {
		n := min(o.n-done, roundLength)
		if err := o.round(ctx, bases[round%len(bases)], round, n, &total); err != nil {
			return err
		}
		done += n
	}
	fmt.Fprintf(out, "%d mixed: differing %d, adapters %d, combined %d, left %d, refused %d, preemptions %d, cached tokens %d, tokens %d, in %s\n",
		total.requests, total.differing, total.adapters, total.combined, total.left, total.refused, total.preemptions, total.cached, total.tokens, time.Since(start).Round(time.Second))
	if total.differing > 0 {
		return fmt.Errorf("%d of %d answers differ; the first: %s", total.differing, total.requests, total.first)
	}
	return nil
}

// mixing is what mixed is asked for.
type mixing struct {
	n              int
	seed           uint64
	root, adapters string // adapters: of all rounds; empty: the base's own
}

// tally is what a run has seen.
type tally struct {
	requests, differing, combined, left, refused int
	adapters, tokens                             int
	preemptions, cached                          uint64
	first                                        string // the first difference
}

// roundLength is how many requests one engine answers: its base, its cache and
// its steps are drawn anew for each round.
const roundLength = 500

// round runs n requests in one engine, and each of them again in another where
// it is alone and finds no prefix.
func (o mixing) round(ctx context.Context, dir string, round, n int, total *tally) (err error) {
	b, err := openBase(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.source.Close()) }()
	known, names, adding, err := loaded(ctx, b, cmp.Or(o.adapters, filepath.Join(dir, "adapters")))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, known.Close()) }()
	draw := rand.New(rand.NewPCG(o.seed, uint64(round)))
	together, stop, err := startEngine(b, 1+draw.IntN(3), runtime.Options{
		Slots: 1 + draw.IntN(48), Queue: 2 * clients, StepTokens: 1 + draw.IntN(200), CacheBlocks: leastBlocks + draw.IntN(16),
	})
	if err != nil {
		return err
	}
	defer stop()
	alone, stopAlone, err := startEngine(b, 1, runtime.Options{NoPrefixCache: true, CacheBlocks: leastBlocks})
	if err != nil {
		return err
	}
	defer stopAlone()

	type asked struct {
		*question
		got answer
	}
	questions, answers := make(chan *question), make(chan asked, clients)
	go func() {
		defer close(questions)
		for i := range n {
			questions <- ask(draw, i, names, adding)
		}
	}()
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for q := range questions {
				answers <- asked{q, q.put(ctx, b, together, known)}
			}
		})
	}
	go func() { running.Wait(); close(answers) }()
	for a := range answers {
		want := a.put(ctx, b, alone, known)
		total.count(a.question, a.got)
		if !a.got.same(want) {
			total.differ(fmt.Sprintf("%s, round %d: %s:\n got %+v\nwant %+v", dir, round, a.question, a.got, want))
		}
	}
	snapshot := together.Snapshot()
	total.preemptions += snapshot.Preemptions
	total.cached += snapshot.CachedTokens
	total.adapters = max(total.adapters, len(names))
	return ctx.Err()
}

// clients ask at the same time: more than an engine has slots for.
const clients = 64

// leastBlocks hold the longest request there is, its virtual tokens included.
const leastBlocks = 4

// loaded is a catalogue of the adapters of a folder that are not refused, and
// of those that can be combined.
func loaded(ctx context.Context, b *base, dir string) (known *catalogue.Catalogue, names, adding []string, err error) {
	known, err = catalogue.New(b.load, catalogue.Options{Dir: dir, Size: b.size, Compose: catalogue.ComposeFor(b.model), Log: silent})
	if err != nil {
		return nil, nil, nil, err
	}
	for _, e := range known.List() {
		if _, err := known.Load(ctx, e.Name); err != nil {
			continue
		}
		names = append(names, e.Name)
		half, err := known.Compose([]catalogue.Part{{Name: e.Name, Weight: 0.5}}, "")
		if err != nil {
			continue
		}
		if half.Wait(ctx) == nil && len(half.Adapter().Invocation()) == 0 {
			adding = append(adding, e.Name)
		}
		half.Release()
	}
	return known, names, adding, nil
}

// question is one request, which can be put to any engine.
type question struct {
	runtime.Request
	parts []catalogue.Part // none: the base
	leave int              // after that many tokens; below 0: never
}

func (q *question) String() string {
	return fmt.Sprintf("%q, %d tokens %v, %+v", catalogue.CombinationName(q.parts), len(q.Prompt), q.Prompt, q.Request)
}

// ask draws a request. Prompts begin alike, so that they find one another's
// blocks.
func ask(draw *rand.Rand, i int, names, adding []string) *question {
	q := &question{leave: -1}
	q.IgnoreEOS, q.Special = draw.IntN(2) == 0, draw.IntN(2) == 0
	q.Logprobs, q.PromptLogprobs = draw.IntN(5)-1, -1
	q.MaxTokens = draw.IntN(40)
	length := 1 + draw.IntN(20)
	if draw.IntN(2) == 0 {
		length, q.MaxTokens = 32+draw.IntN(34), draw.IntN(16)
	}
	beginning := rand.New(rand.NewPCG(uint64(draw.IntN(3)), 0))
	shared := draw.IntN(length + 1)
	if draw.IntN(2) == 0 {
		shared = length
	}
	for j := range length {
		from := draw
		if j < shared {
			from = beginning
		}
		q.Prompt = append(q.Prompt, int32(2+from.IntN(80)))
	}
	if draw.IntN(6) == 0 {
		q.PromptLogprobs = draw.IntN(3)
	}
	if draw.IntN(2) == 0 {
		q.Sampling = sampling(draw, i)
	}
	for range draw.IntN(3) {
		q.Stop = append(q.Stop, string(rune('!'+draw.IntN(94)))+string(rune('!'+draw.IntN(94))))
	}
	if draw.IntN(4) == 0 {
		q.StopIDs = []int32{int32(draw.IntN(80))}
	}
	if draw.IntN(20) == 0 {
		q.leave = draw.IntN(6)
	}
	switch draw.IntN(8) {
	case 0, 1: // the base
	case 2:
		for _, k := range draw.Perm(len(adding))[:min(len(adding), 2+draw.IntN(3))] {
			q.parts = append(q.parts, catalogue.Part{Name: adding[k], Weight: float64(1+draw.IntN(20)) / 10})
		}
	default:
		q.parts = []catalogue.Part{{Name: names[draw.IntN(len(names))], Weight: 1}}
	}
	return q
}

func sampling(draw *rand.Rand, i int) runtime.Sampling {
	s := runtime.Sampling{Temperature: 0.2 + 1.5*draw.Float32(), Seed: uint64(i)}
	switch draw.IntN(5) {
	case 0:
		s.TopK = 1 + draw.IntN(40)
	case 1:
		s.TopP = 0.1 + 0.9*draw.Float32()
	case 2:
		s.MinP, s.Repetition = 0.1*draw.Float32(), 1+draw.Float32()
	case 3:
		s.Presence, s.Frequency = draw.Float32(), draw.Float32()
	case 4:
		s.Bias = map[int32]float32{int32(draw.IntN(80)): 4 * draw.Float32()}
	}
	return s
}

// put asks an engine.
func (q *question) put(ctx context.Context, b *base, e *runtime.Engine, known *catalogue.Catalogue) answer {
	r := q.Request
	if len(q.parts) > 0 {
		lease, err := known.Compose(q.parts, "")
		if err != nil {
			return answer{err: err}
		}
		defer lease.Release()
		if err := lease.Wait(ctx); err != nil {
			return answer{err: err}
		}
		r.Lease = lease
		if own := lease.Adapter().Invocation(); len(own) > 0 {
			at := max(len(r.Prompt)/2-len(own), 0)
			r.Prompt = slices.Concat(r.Prompt[:at], own, r.Prompt[at:])
		}
		if rows := lease.Adapter().Vocabulary(); rows > b.model.Config().Vocabulary { // tokens that the base has not
			r.Prompt = append(slices.Clone(r.Prompt), int32(rows-1))
		}
	}
	stream, err := e.Submit(ctx, &r)
	if err != nil {
		return answer{err: err}
	}
	return collect(ctx, stream, q.leave)
}

func (t *tally) count(q *question, a answer) {
	t.requests++
	t.tokens += len(a.tokens)
	if len(q.parts) > 1 && a.err == nil {
		t.combined++
	}
	if q.leave >= 0 {
		t.left++
	}
	if a.err != nil {
		t.refused++
	}
}

func (t *tally) differ(what string) {
	if t.differing++; t.first == "" {
		t.first = what
	}
}

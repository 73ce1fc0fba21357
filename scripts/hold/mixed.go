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
	"strings"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/runtime"
)

func init() { modes["mixed"] = mixed }

// mixed is law 1 at length: requests of every kind in one engine, each asked
// again alone, and not a bit may differ. Bases that generate text answer in words,
// free or kept to a grammar, and in rows; encoders in rows alone: hidden states,
// embeddings, and scores of heads of different sizes.
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
	bases, err := mixedBases(o.root)
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
	fmt.Fprintf(out, "%s, in %s\n", &total, time.Since(start).Round(time.Second))
	if total.differing > 0 {
		return fmt.Errorf("%d of %d answers differ; the first: %s", total.differing, total.requests, total.first)
	}
	return nil
}

// mixedBases are the golden bases, one that generates text and an encoder by turns.
func mixedBases(root string) ([]string, error) {
	decoders, err := goldenBases(root)
	if err != nil {
		return nil, err
	}
	encoders, err := goldenEncoders(root)
	if err != nil {
		return nil, err
	}
	var bases []string
	for i := range len(decoders) * len(encoders) { // each beside each other's
		bases = append(bases, decoders[i%len(decoders)], encoders[i%len(encoders)])
	}
	return bases, nil
}

// mixing is what mixed is asked for.
type mixing struct {
	n              int
	seed           uint64
	root, adapters string // adapters: of all rounds; empty: the base's own
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
	c, err := o.cast(ctx, b, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.known.Close()) }()
	draw := rand.New(rand.NewPCG(o.seed, uint64(round)))
	if c.grammars, err = drawGrammars(draw, 12); err != nil {
		return err
	}
	options := runtime.Options{
		Slots: 1 + draw.IntN(48), Queue: 2 * clients, StepTokens: 1 + draw.IntN(200), CacheBlocks: leastBlocks + draw.IntN(16),
	}
	together, stop, err := c.stage(1+draw.IntN(3), 16<<10<<draw.IntN(10), options)
	if err != nil {
		return err
	}
	defer stop()
	alone, stopAlone, err := c.stage(1, 64<<20, runtime.Options{NoPrefixCache: true, CacheBlocks: leastBlocks})
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
			questions <- c.ask(draw, i)
		}
	}()
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for q := range questions {
				answers <- asked{q, q.put(ctx, c, together)}
			}
		})
	}
	go func() { running.Wait(); close(answers) }()
	for a := range answers {
		want := a.put(ctx, c, alone)
		total.count(a.question, a.got)
		if !a.got.same(want) {
			total.differ(fmt.Sprintf("%s, round %d: %s:\n got %+v\nwant %+v", dir, round, a.question, a.got, want))
		}
	}
	snapshot := together.engine.Snapshot()
	total.preemptions += snapshot.Preemptions
	total.cached += snapshot.CachedTokens
	total.shared += snapshot.SharedRows
	total.adapters = max(total.adapters, len(c.names))
	return ctx.Err()
}

// clients ask at the same time: more than an engine has slots for.
const clients = 64

// leastBlocks hold the longest request there is, its virtual tokens included.
const leastBlocks = 4

// cast is a base with all that requests name: the adapters of it that are not
// refused, and what answers are kept to.
type cast struct {
	*base
	known    *catalogue.Catalogue
	names    []string // of adapters
	adding   []string // of those that can be combined
	heads    []string // of those that bring a head, and "" where the base has one
	grammars []*form
	encoder  bool // it generates no text
}

// cast loads the adapters of a base: those beside it, and those with heads.
func (o mixing) cast(ctx context.Context, b *base, dir string) (c *cast, err error) {
	config := b.model.Config()
	c = &cast{base: b, encoder: config.Architecture.Check(models.Generate) != nil}
	c.known, err = catalogue.New(b.load, catalogue.Options{
		Dir: cmp.Or(o.adapters, filepath.Join(dir, "adapters")), Size: b.size, Compose: catalogue.ComposeFor(b.model), Log: silent,
	})
	if err != nil {
		return nil, err
	}
	if config.Classes != nil {
		c.heads = append(c.heads, "")
	}
	if o.adapters == "" {
		folders, err := goldenHeads(o.root, dir)
		if err != nil {
			return nil, err
		}
		for _, folder := range folders {
			if _, err := c.known.Swap(ctx, catalogue.Candidate{Name: "head-" + filepath.Base(folder), URI: folder, New: true}); err != nil {
				return nil, err
			}
		}
	}
	for _, e := range c.known.List() {
		if err := c.add(ctx, e.Name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// add adds an adapter, unless it is refused.
func (c *cast) add(ctx context.Context, name string) error {
	lease, err := c.known.Acquire(name, "")
	if err != nil {
		return err
	}
	defer lease.Release()
	if lease.Wait(ctx) != nil {
		return ctx.Err()
	}
	c.names = append(c.names, name)
	if lease.Adapter().Classes() != nil {
		c.heads = append(c.heads, name)
	}
	half, err := c.known.Compose([]catalogue.Part{{Name: name, Weight: 0.5}}, "")
	if err != nil {
		return nil
	}
	defer half.Release()
	if half.Wait(ctx) == nil && len(half.Adapter().Invocation()) == 0 {
		c.adding = append(c.adding, name)
	}
	return ctx.Err()
}

// stage is an engine with the grammars of its own: what they find out about a
// vocabulary, another engine's know nothing of.
type stage struct {
	engine *runtime.Engine
	forms  *forms
}

func (c *cast) stage(threads, grammarBytes int, o runtime.Options) (*stage, func(), error) {
	engine, stop, err := startEngine(c.base, threads, o)
	return &stage{engine, newForms(grammarBytes)}, stop, err
}

// tally is what a run has seen.
type tally struct {
	requests, differing, combined, left, refused int
	formed, encoded, scored                      int
	adapters, tokens                             int
	preemptions, cached, shared                  uint64
	first                                        string // the first difference
}

func (t *tally) String() string {
	return fmt.Sprintf("%d mixed: differing %d, adapters %d, combined %d, kept to a grammar %d, encoded %d, scored by heads %d, left %d, refused %d, preemptions %d, cached tokens %d, shared rows %d, tokens %d",
		t.requests, t.differing, t.adapters, t.combined, t.formed, t.encoded, t.scored, t.left, t.refused, t.preemptions, t.cached, t.shared, t.tokens)
}

func (t *tally) count(q *question, a answer) {
	t.requests++
	t.tokens += len(a.tokens)
	if a.err == nil && len(q.parts) > 1 {
		t.combined++
	}
	if a.err == nil && q.form != nil {
		t.formed++
	}
	switch {
	case len(a.encoded) == 0:
	case q.Encode == runtime.EncodeScores:
		t.scored++
	default:
		t.encoded++
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

// goldenHeads lists the folders of the golden adapters that bring heads for a base.
func goldenHeads(root, base string) (folders []string, err error) {
	all, err := filepath.Glob(filepath.Join(root, goldens, "heads", filepath.Base(base), "*"))
	for _, folder := range all {
		if !strings.HasPrefix(filepath.Base(folder), "own-") { // those are bases
			folders = append(folders, folder)
		}
	}
	return folders, err
}

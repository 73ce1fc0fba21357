package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/runtime"
)

// measured is one concurrent run: the wall time, and of each request its first
// token and its tokens.
type measured struct {
	wall   time.Duration
	first  []time.Duration
	tokens int
}

// bed is the real engine with a base and adapters on it.
type bed struct {
	base      *base
	pool      *kernels.Pool
	catalogue *catalogue.Catalogue
	engine    *runtime.Engine

	made map[string]catalogue.Adapter // that are in no folder: see adopt
}

// newBed opens the base with room for requests, each a prompt and its answer or, alone,
// one of the two, and a catalogue of adapters. The prefix cache is off: a prompt
// measured again is computed again.
func (b *benchCommand) newBed(ctx context.Context, c console, adapters catalogue.Options, requests int, alone bool) (*bed, error) {
	opened, err := openBase(ctx, b.Base, b.options(0), c)
	if err != nil {
		return nil, err
	}
	if !opened.generates() {
		if err := b.refuseOfAnswers(); err != nil {
			return nil, errors.Join(err, opened.source.Close())
		}
	}
	length, err := b.fit(opened.model.Config().Context, alone, b.answers(opened))
	if err != nil {
		return nil, errors.Join(err, opened.source.Close())
	}
	opened.precision = b.precision()
	d := &bed{base: opened, pool: kernels.NewPool(b.threads()), made: map[string]catalogue.Adapter{}}
	if err := b.round(opened, d.pool); err != nil {
		return nil, errors.Join(err, d.close())
	}
	adapters.Schemes = map[string]catalogue.Scheme{benchScheme: func(_ context.Context, uri string) (string, error) { return uri, nil }}
	if d.catalogue, err = catalogue.New(d.load, adapters); err != nil {
		return nil, errors.Join(err, d.close())
	}
	blocks := requests * ((length+kernels.BlockLen-1)/kernels.BlockLen + 1)
	d.engine, err = runtime.New(opened.model, opened.decoder, d.pool, runtime.Options{
		Slots: requests, Queue: max(2*requests, 256), CacheBlocks: blocks, CacheFormat: kvFormat(b.KVType), PromptShare: b.PromptShare, NoPrefixCache: true,
	})
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// boundless is a budget that no bench uses up.
const boundless = 1 << 50

// benchScheme is that of adapters that are in memory alone.
const benchScheme = "bench"

func (d *bed) load(ctx context.Context, s catalogue.Source) (catalogue.Adapter, error) {
	if a := d.made[s.Name]; a != nil {
		return a, nil
	}
	return d.base.load(ctx, s)
}

// adopt has an adapter answer to a name.
func (d *bed) adopt(ctx context.Context, name string, a catalogue.Adapter) error {
	d.made[name] = a
	if err := d.catalogue.Add(name, benchScheme+"://"+name); err != nil {
		return err
	}
	_, err := d.catalogue.Load(ctx, name)
	return err
}

// drop forgets one that has been adopted.
func (d *bed) drop(ctx context.Context, name string) error {
	delete(d.made, name)
	return d.catalogue.Remove(ctx, name, nil)
}

func (d *bed) close() error {
	var wrong []error
	if d.engine != nil {
		wrong = append(wrong, within5Seconds(d.engine.Close))
	}
	if d.catalogue != nil {
		wrong = append(wrong, d.catalogue.Close())
	}
	d.pool.Close()
	return errors.Join(append(wrong, d.base.source.Close())...)
}

// run sends every prompt at once, each with its adapter, and waits for all.
func (d *bed) run(ctx context.Context, prompts [][]int32, adapters []string, generate int) (measured, error) {
	var (
		all    = measured{first: make([]time.Duration, len(prompts))}
		faults = make([]error, len(prompts))
		usages = make([]runtime.Usage, len(prompts))
		group  sync.WaitGroup
		start  = time.Now()
	)
	for i, prompt := range prompts {
		group.Go(func() { usages[i], faults[i] = d.one(ctx, prompt, adapters[i], generate, nil) })
	}
	group.Wait()
	all.wall = time.Since(start)
	for i, u := range usages {
		all.first[i] = u.FirstToken
		all.tokens += u.CompletionTokens
	}
	return all, errors.Join(faults...)
}

// one sends a request. seen, unless nil, is told of each of its tokens.
func (d *bed) one(ctx context.Context, prompt []int32, adapter string, generate int, seen func()) (u runtime.Usage, err error) {
	var lease *catalogue.Lease
	if adapter != "" {
		if lease, err = d.catalogue.Acquire(adapter, ""); err != nil {
			return u, err
		}
		defer lease.Release()
	}
	stream, err := d.engine.Submit(ctx, &runtime.Request{
		Prompt: prompt, Lease: lease, MaxTokens: generate, IgnoreEOS: true, Logprobs: -1, PromptLogprobs: -1,
	})
	if err != nil {
		return u, err
	}
	defer stream.Close()
	for {
		e, err := stream.Next(ctx)
		if errors.Is(err, runtime.ErrEnd) {
			return u, nil
		}
		if err != nil {
			return u, err
		}
		if seen != nil && e.Token != runtime.NoToken {
			seen()
		}
		if e.Usage != nil {
			u = *e.Usage
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
)

// sustainEngine puts the load on the engine, with adapters in a folder and memory for
// a part of them.
func (b *benchCommand) sustainEngine(ctx context.Context, c console, r *report) (err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	slots := b.Clients
	if slots == 0 {
		slots = b.Requests
	}
	names, bytes, err := b.adaptersFor(ctx, c, dir)
	if err != nil {
		return err
	}
	resident := min(len(names), max(int(math.Ceil(float64(len(names))*float64(b.Resident))), slots))
	counts := new(loadCounts)
	d, err := b.newBed(ctx, c, catalogue.Options{Bytes: max(1, resident*bytes), Observer: counts}, slots, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	r.describe(b, d.base)
	r.AdapterPrecision, r.AdapterBytes = b.AdapterPrecision, bytes
	if bytes > 0 {
		r.Rank = b.Rank
	}
	for _, name := range names {
		if err := d.catalogue.Add(name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	text, err := d.base.text.EncodePlain(benchText)
	if err != nil {
		return err
	}
	s, err := b.sustain(ctx, text, names, processorTime, func(ctx context.Context, prompt []int32, adapter string, seen func()) (int, error) {
		usage, err := d.one(ctx, prompt, adapter, b.Generate, seen)
		return usage.CompletionTokens, err
	})
	s.Resident = resident
	s.Loads, s.Evictions = counts.get()
	r.Sustained, r.Stretch = s, d.engine.Snapshot().Stretch
	return err
}

// adaptersFor writes the adapters, and tells what one takes in memory.
func (b *benchCommand) adaptersFor(ctx context.Context, c console, dir string) (names []string, bytes int, err error) {
	if b.Adapters == 0 {
		return nil, 0, nil
	}
	base, err := openBase(ctx, b.Base, b.options(0), c)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, base.source.Close()) }()
	if names, err = b.writeAdapters(base.model, dir); err != nil {
		return nil, 0, err
	}
	folder, err := adapters.Open(filepath.Join(dir, names[0]))
	if err != nil {
		return nil, 0, err
	}
	a, err := adapters.LoadIn(base.model, folder, b.precision())
	if err != nil {
		return nil, 0, fmt.Errorf("an adapter to measure: %w", err)
	}
	return names, a.Bytes(), nil
}

// loadCounts counts what the catalogue does.
type loadCounts struct {
	catalogue.Silent
	mu             sync.Mutex
	loads, evicted int
}

func (l *loadCounts) Loaded(_ string, _ time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.loads++
	}
}

func (l *loadCounts) Evicted(string, string, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.evicted++
}

func (l *loadCounts) get() (loads, evicted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loads, l.evicted
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

func init() { modes["soak"] = soak }

// soak uses two servers in every way for a long time, one on a base that generates
// text and one on an encoder: what they hold at the end has to be what they held when
// they were warm.
func soak(ctx context.Context, args []string, out io.Writer) (err error) {
	var o soakOptions
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.StringVar(&o.root, "root", ".", "the repository's folder")
	flags.DurationVar(&o.length, "for", time.Hour, "how long")
	flags.DurationVar(&o.warm, "warm", 10*time.Minute, "how long before what the servers hold is looked at")
	flags.StringVar(&o.profiles, "profiles", "", "folder to write the heaps' profiles to, at each rest, of which go tool pprof -base tells the difference")
	flags.IntVar(&o.clients, "clients", 12, "clients of each server that do something at the same time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hold-soak-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sites, err := o.prepare(ctx, dir)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, each(sites, func(s *soaking) error { return s.server.stop() }))
	}()
	for i, when := range rests {
		length := o.length / 2
		if i == warm {
			length = o.warm
		}
		err := each(sites, func(s *soaking) error {
			if err := s.use(ctx, length); err != nil {
				return err
			}
			now, err := s.rested(ctx, when)
			s.held = append(s.held, now)
			if i == warm {
				s.done.Store(0)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	var faults []error
	for _, s := range sites {
		if err := s.report(out); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(faults...)
}

// rests are when the servers rest, to look at what they hold: once they are warm, in
// the middle of the soak and at its end.
var rests = [...]string{warm: "warm", half: "halfway", end: "at the end"}

const (
	warm = iota
	half
	end
)

// soakOptions is what soak is asked for.
type soakOptions struct {
	root         string
	length, warm time.Duration
	clients      int
	profiles     string // folder; empty: none are written
}

// each does something with each, all at once.
func each(sites []*soaking, f func(*soaking) error) error {
	faults := make([]error, len(sites))
	var all sync.WaitGroup
	for i, s := range sites {
		all.Go(func() { faults[i] = f(s) })
	}
	all.Wait()
	return errors.Join(faults...)
}

// prepare starts the servers on tiny bases with their adapters.
func (o soakOptions) prepare(ctx context.Context, dir string) ([]*soaking, error) {
	binary, err := buildServer(ctx, o.root, dir)
	if err != nil {
		return nil, err
	}
	if o.profiles != "" {
		if err := os.Setenv("GODEBUG", "memprofilerate=4096"); err != nil { // small things are seen too
			return nil, err
		}
	}
	sites := []*soaking{{soakOptions: o, name: "decoder"}, {soakOptions: o, name: "encoder", encoder: true}}
	for i, s := range sites {
		if err := s.start(ctx, binary, filepath.Join(dir, s.name)); err != nil {
			return nil, errors.Join(err, each(sites[:i], func(s *soaking) error { return s.server.stop() }))
		}
	}
	return sites, nil
}

// report prints what a server held, and reports what has grown.
func (s *soaking) report(out io.Writer) error {
	fmt.Fprintf(out, "soak of %s (%s): %d operations, server errors %d\n", s.length, s.name, s.done.Load(), s.failed.Load())
	for i, held := range s.held {
		fmt.Fprintf(out, "%10s: memory %s, live objects %s, descriptors %d, goroutines %d, series %d (%s)\n",
			rests[i], mebibytes(held.resident), mebibytes(held.heap), held.descriptors, held.goroutines, len(held.series), held.parts)
	}
	before, after := s.held[warm], s.held[end]
	if late := after.without(before); len(late) > 0 {
		fmt.Fprintf(out, "series that came late (%s): %s\n", s.name, strings.Join(late, ", "))
	}
	var faults []error
	// What the allocator keeps follows from the highest load so far, which may come
	// after the warm-up: that it does not grow with use shows in the second half.
	if after.used() > before.used()+before.used()/5 || after.heap > before.heap+before.heap/20 || after.resident > s.held[half].resident+s.held[half].resident/10 {
		faults = append(faults, errors.New("memory in use has grown by more than a fifth, what is referred to by more than a twentieth, or all of it by more than a tenth in the second half"))
	}
	if after.descriptors > before.descriptors || after.goroutines > before.goroutines+2 {
		faults = append(faults, errors.New("descriptors or goroutines have grown"))
	}
	// A rare pair of known values, such as a route with a status, may come late.
	// What must not come is values without an end.
	if late := s.newValues(before, after); len(late) > 0 {
		faults = append(faults, fmt.Errorf("labels have values that they had not: %s", strings.Join(late, ", ")))
	}
	if s.failed.Load() > 0 {
		faults = append(faults, errors.New("the server failed inside"))
	}
	return errors.Join(faults...)
}

// newValues are the values of labels that came after a first look, in order. What
// is resident by then may be any adapters in the folder, and statuses are those of
// HTTP, of which some are rare.
func (s *soaking) newValues(before, after footprint) (late []string) {
	for value := range after.values {
		label, of, _ := strings.Cut(value, "=")
		if before.values[value] || slices.Contains([]string{"digest", "method", "max_lora", "status"}, label) {
			continue
		}
		for name := range strings.SplitSeq(of, ",") { // of one adapter, or of those that are resident
			if !slices.Contains(s.names, name) {
				late = append(late, value)
				break
			}
		}
	}
	slices.Sort(late)
	return late
}

package catalogue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Options are the choices of a Catalogue. The zero value of a field means its
// default.
type Options struct {
	Dir     string            // adapters are its folders; none
	Aliases string            // aliases are its files; AliasesFolder in Dir
	Bytes   int               // budget of loaded adapters; 1 GiB
	Loads   int               // the most adapters read at once, and the most downloads; 2
	Wait    time.Duration     // how long a load waits for room; 30 s
	Retry   time.Duration     // how long a failed load is remembered; 5 s
	Schemes map[string]Scheme // beside "file"

	// Taken is a name that requests mean something else by, the base's: an adapter that
	// comes to have it is told of in the log. "": there is none.
	Taken string

	// Builtin are adapters that are always there, by name, each with its URI. A name
	// stands for one as long as nothing else has it: no folder of Dir, and nothing
	// that was registered.
	Builtin map[string]string

	// Size tells by its files how much memory reading the adapter in a folder
	// takes, so that it is not read before there is room for it; 0: it cannot be
	// told. nil: it is not asked.
	Size func(dir string) (bytes int)
	// Reserve sets memory aside that reading the adapter in a folder takes beside
	// what it takes later, until release; it may wait for it as long as ctx lets
	// it. nil: nothing is set aside.
	Reserve func(ctx context.Context, dir string) (release func(), err error)
	// Owner tells whose adapter has that name, and how many bytes all of its
	// owner's may take in memory together; 0: as many as all. It is asked whenever
	// room is made, under the catalogue's lock, and may answer otherwise each time.
	// nil: nobody's.
	Owner func(name string) (owner string, bytes int)
	// Inspect tells, of the adapter in a folder, what an operator should know
	// though it loads; empty: nothing. nil: it is not asked. It is asked once of
	// each state of a folder, and what it tells is logged.
	Inspect func(dir string) (warning string)

	// Compose makes one adapter of several that have been loaded, and refuses
	// those that cannot be combined. It reads no files. nil: all are refused.
	Compose func(parts []Part, loaded []Adapter) (Adapter, error)

	Observer Observer     // nobody
	Log      *slog.Logger // of loads that fail; slog.Default
}

// Validate reports every fault of the options.
func (o Options) Validate() error {
	var faults []error
	check := func(name string, negative bool) {
		if negative {
			faults = append(faults, fmt.Errorf("%s is below 0", name))
		}
	}
	check("Bytes", o.Bytes < 0)
	check("Loads", o.Loads < 0)
	check("Wait", o.Wait < 0)
	check("Retry", o.Retry < 0)
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
}

func (o Options) withDefaults() Options {
	o.Bytes = cmp.Or(o.Bytes, 1<<30)
	o.Loads = cmp.Or(o.Loads, 2)
	o.Wait = cmp.Or(o.Wait, 30*time.Second)
	o.Retry = cmp.Or(o.Retry, 5*time.Second)
	if o.Compose == nil {
		o.Compose = func([]Part, []Adapter) (Adapter, error) {
			return nil, fmt.Errorf("%w: the catalogue combines none", ErrCombination)
		}
	}
	if o.Observer == nil {
		o.Observer = Silent{}
	}
	o.Log = cmp.Or(o.Log, slog.Default())
	return o
}

// ErrOptions reports options that cannot be used; it wraps one error a fault.
var ErrOptions = errors.New("the catalogue's options are invalid")

// Observer is told what the catalogue does, for metrics. It is called from
// loading goroutines, under their locks: it must neither block nor call back.
type Observer interface {
	// Loaded is the end of loading an adapter: how long it was read, or brought
	// here from elsewhere; 0 where it came to neither.
	Loaded(adapter string, d time.Duration, err error)
	// Waited is how long a load waited for room, told only if it did.
	Waited(adapter string, d time.Duration)
	// Evicted is an adapter version freed to make room or because it was
	// replaced or removed.
	Evicted(adapter, digest string, bytes int)
}

// Silent is an Observer that does nothing; embed it to observe a part.
type Silent struct{}

func (Silent) Loaded(string, time.Duration, error) {}
func (Silent) Waited(string, time.Duration)        {}
func (Silent) Evicted(string, string, int)         {}

var _ Observer = Silent{}

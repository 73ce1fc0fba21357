package serve

import (
	"context"
	"time"

	"github.com/peft-serve/peft-serve/runtime"
)

// Engine runs requests. RuntimeEngine makes one of a runtime.Engine.
type Engine interface {
	Submit(ctx context.Context, r *runtime.Request) (Stream, error)
	Probe(ctx context.Context, name string, a runtime.Adapter) error
	Options() runtime.Options
	Snapshot() runtime.Snapshot
}

// Stream is the answer to one request: see runtime.Stream.
type Stream interface {
	Next(ctx context.Context) (runtime.Event, error)
	Close()
	Digest() string
	Queued() time.Duration
}

// Catalogue knows the adapters: see runtime.Catalogue.
type Catalogue interface {
	Add(name, uri string) error
	Replace(name, uri string) error
	Swap(ctx context.Context, name, uri string, check func(context.Context, runtime.Adapter) error) (runtime.Entry, error)
	Remove(name string) error
	Load(ctx context.Context, name string) (runtime.Entry, error)
	Pin(ctx context.Context, name string) error
	Unpin(name string) error
	Lookup(name string) (runtime.Entry, error)
	List() []runtime.Entry
	Bytes() (used, budget int)
}

var _ Catalogue = (*runtime.Catalogue)(nil)

// RuntimeEngine is a runtime.Engine as an Engine.
func RuntimeEngine(e *runtime.Engine) Engine { return runtimeEngine{e} }

type runtimeEngine struct{ *runtime.Engine }

func (e runtimeEngine) Submit(ctx context.Context, r *runtime.Request) (Stream, error) {
	s, err := e.Engine.Submit(ctx, r)
	if err != nil {
		return nil, err
	}
	return s, nil
}

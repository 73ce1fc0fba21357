package serve

import (
	"context"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
)

// Engine runs requests. RuntimeEngine makes one of a runtime.Engine.
type Engine interface {
	Submit(ctx context.Context, r *runtime.Request) (Stream, error)
	Await(ctx context.Context, lease *catalogue.Lease, t *runtime.Tenant, group string) error
	Probe(ctx context.Context, name string, a catalogue.Adapter) error
	Options() runtime.Options
	Snapshot() runtime.Snapshot
}

// Stream is the answer to one request: see runtime.Stream.
type Stream interface {
	Next(ctx context.Context) (runtime.Event, error)
	Close()
}

// Catalogue knows the adapters: see catalogue.Catalogue.
type Catalogue interface {
	Acquire(name, session string) (*catalogue.Lease, error)
	AcquireAll(names []string, session string) ([]*catalogue.Lease, []error)
	Compose(parts []catalogue.Part, session string) (*catalogue.Lease, error)
	Swap(ctx context.Context, candidate catalogue.Candidate) (catalogue.Entry, error)
	Remove(ctx context.Context, name string, take func(catalogue.Entry) error) error
	Pin(ctx context.Context, name string) error
	Unpin(name string) error
	Lookup(name string) (catalogue.Entry, error)
	Try(ctx context.Context, e catalogue.Entry) error
	Versions(name string) ([]catalogue.Version, catalogue.Alias, error)
	Redirect(ctx context.Context, name string, write func() error) error
	List() []catalogue.Entry
	Entries() []catalogue.Entry
	Match(wanted func(name string) bool) []catalogue.Match
	Bytes() (used, budget int)
	Capacity() int
}

var _ Catalogue = (*catalogue.Catalogue)(nil)

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

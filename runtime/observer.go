package runtime

import "time"

// Observer is told what the engine and the catalogue do, for metrics. It is
// called from the step loop and from loading goroutines, under their locks: it
// must neither block nor call back.
// Adapters are named as in the request; the base is "".
type Observer interface {
	// Step is one pass over a batch: how long it took, its rows, and how many
	// of them belong to prompts.
	Step(d time.Duration, rows, promptRows int)
	// Started is a sequence's first admission: how long it waited for a slot,
	// loading of its adapter included.
	Started(adapter string, queued time.Duration)
	// Token is a completion token and the time since the one before it; the
	// first one counts from Submit.
	Token(adapter string, first bool, since time.Duration)
	// Finished is the end of a request, err being nil unless it failed; a
	// client that left gives context.Canceled.
	Finished(adapter string, finish Finish, u Usage, err error)
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

func (Silent) Step(time.Duration, int, int)          {}
func (Silent) Started(string, time.Duration)         {}
func (Silent) Token(string, bool, time.Duration)     {}
func (Silent) Finished(string, Finish, Usage, error) {}
func (Silent) Loaded(string, time.Duration, error)   {}
func (Silent) Waited(string, time.Duration)          {}
func (Silent) Evicted(string, string, int)           {}

var _ Observer = Silent{}

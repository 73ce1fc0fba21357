package runtime

import "time"

// Observer is told what the engine does, for metrics. It is called from the step
// loop: it must neither block nor call back.
// Adapters are named as their lease is, a combination by its text; the base is "".
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
}

// Silent is an Observer that does nothing; embed it to observe a part.
type Silent struct{}

func (Silent) Step(time.Duration, int, int)          {}
func (Silent) Started(string, time.Duration)         {}
func (Silent) Token(string, bool, time.Duration)     {}
func (Silent) Finished(string, Finish, Usage, error) {}

var _ Observer = Silent{}

package catalogue

import (
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// WithdrawnError is an adapter version that is not served until its folder holds
// another, since what is computed under it is of no use.
type WithdrawnError struct {
	Digest string
	Err    error   // what happened under it
	Tensor string  // that holds its largest value; empty: not looked for
	Value  float32 // that value

	// largest looks for both when the error is read, which may take its time: the
	// engine that withdraws has none. nil: it has been done.
	largest func() (tensor string, value float32)
}

func (e *WithdrawnError) Error() string {
	tensor, value := e.Tensor, e.Value
	if e.largest != nil {
		tensor, value = e.largest()
	}
	text := fmt.Sprintf("version %s is not served: under it %s", e.Digest, e.Err)
	if tensor != "" {
		text += fmt.Sprintf(" (its largest weight is %.3g, in %s)", value, tensor)
	}
	return text
}

func (e *WithdrawnError) Unwrap() error { return e.Err }

// maxVerdicts is how many versions are remembered, the most recent ones.
const maxVerdicts = 4096

func newVerdicts() *lru.Cache[string, error] {
	verdicts, err := lru.New[string, error](maxVerdicts)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return verdicts
}

// accept refuses what has been found to be broken, and what a candidate's checks
// refuse. What a probe finds is remembered by digest.
func (c *Catalogue) accept(l *load, a Adapter) (err error) {
	defer c.rescue(&err, l.record.name)
	if want := l.wants(); want != "" && a.Digest() != want {
		return fmt.Errorf("%w: the folder holds version %s, not %s", ErrVersion, a.Digest(), want)
	}
	known, probed := c.verdicts.Get(a.Digest())
	if known != nil || l.candidate == nil {
		return known
	}
	if check := l.candidate.Check; check != nil {
		if err := check(l.ctx, a); err != nil {
			return err
		}
	}
	if l.candidate.Probe == nil || probed {
		return nil
	}
	err = l.candidate.Probe(l.ctx, a)
	var broken *WithdrawnError
	switch {
	case errors.Is(err, ErrInconclusive):
		return nil
	case err == nil, errors.As(err, &broken):
		c.verdicts.Add(a.Digest(), err)
	}
	return err
}

// withdraw ends the time of a version: who asks for it from now on is refused.
func (c *Catalogue) withdraw(v *version, err error) error {
	digest := v.adapter.Digest()
	found, _ := c.verdicts.Get(digest)
	if found == nil { // by a probe of the same version, say
		found = &WithdrawnError{Digest: digest, Err: err, largest: sync.OnceValues(v.adapter.Largest)}
		c.verdicts.Add(digest, found)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.retired {
		return found
	}
	r := v.record
	r.current, r.failure = nil, failure{found, time.Now().Add(c.options.Retry), v.stamp}
	c.versions.retire(v)
	c.arrange()
	if !c.closed {
		c.work.Go(func() { c.options.Log.Warn("adapter withdrawn", "adapter", r.name, "source", r.uri, "error", found) })
	}
	return found
}

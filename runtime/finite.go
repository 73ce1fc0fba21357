package runtime

import (
	"errors"
	"fmt"
	"sync"
)

// notFinite is the ErrNotFinite of a row that the base computed by itself. What
// in the base may be at fault is looked for when somebody reads the error: not by
// the step loop.
type notFinite struct{ fault func() string }

func (e *notFinite) Error() string { return ErrNotFinite.Error() + e.fault() }

func (e *notFinite) Unwrap() error { return ErrNotFinite }

// newNotFinite returns the error of a base of whose tensors largest tells the
// one with the largest value; nil: nothing is known of them.
func newNotFinite(largest func() (tensor string, value float32)) error {
	if largest == nil {
		return ErrNotFinite
	}
	return &notFinite{sync.OnceValue(func() string {
		tensor, value := largest()
		return fmt.Sprintf(" (the base's largest weight is %.3g, in %s)", value, tensor)
	})}
}

// broken is the error of a sequence whose row is not finite: that of its adapter,
// which is withdrawn, or of the base.
func (e *Engine) broken(s *sequence, err error) error {
	switch {
	case !errors.Is(err, ErrNotFinite):
		return err
	case s.lease == nil:
		return e.notFinite
	}
	return s.lease.Withdraw(err)
}

package runtime

import (
	"errors"
	"fmt"
)

// AdapterError is what went wrong with an adapter, or with a request that used
// it.
type AdapterError struct {
	Name string
	Err  error
}

func (e *AdapterError) Error() string { return fmt.Sprintf("adapter %q: %s", e.Name, e.Err) }

func (e *AdapterError) Unwrap() error { return e.Err }

// ofAdapter says once which adapter an error is about.
func ofAdapter(name string, err error) error {
	var named *AdapterError
	if errors.As(err, &named) {
		return err
	}
	return &AdapterError{name, err}
}

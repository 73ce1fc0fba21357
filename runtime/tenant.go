package runtime

import (
	"errors"
	"fmt"
)

// Tenant is who a request is made for: whoever authenticated, or the address it
// came from. Tenants that wait share the engine's work in proportion to their
// weights. It is its name that makes a tenant: of two with one name the one whose
// request came last says what its weight and limits are.
type Tenant struct {
	Name   string
	Weight int // its share beside the others'; 0: 1

	// Running is the most sequences of the tenant that run at once; more of them
	// wait. Waiting is the most that wait, for a slot or for their adapter; more are
	// refused with a LimitError. 0: no limit but the engine's.
	Running, Waiting int
}

// LimitError is a request that is one too many for its tenant. It is an
// ErrQueueFull.
type LimitError struct {
	Tenant string
	Limit  string // which of the tenant's limits: "waiting"
	Most   int    // what it allows
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("the limit %q of tenant %q, %d requests, is reached", e.Limit, e.Tenant, e.Most)
}

func (e *LimitError) Unwrap() error { return ErrQueueFull }

var _ error = (*LimitError)(nil)

// ErrTenant reports a tenant whose weight or limits are below 0.
var ErrTenant = errors.New("a tenant's weight and limits are 0 or more")

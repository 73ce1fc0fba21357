package runtime

import (
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/peft-serve/peft-serve/catalogue"
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
	return fmt.Sprintf("tenant %q has the most requests that its limit %q allows, %d", e.Tenant, e.Limit, e.Most)
}

// Unwrap is ErrQueueFull.
func (e *LimitError) Unwrap() error { return ErrQueueFull }

// party is who a sequence counts for. Its tenant and its group, which may have
// names of any length, go by hashes of them that nobody can foresee.
type party struct {
	tenant, group uint64
	name          string // the tenant's
	weight        float64
	running       int // the tenant's limits; 0: none
	waiting       int
}

var seed = maphash.MakeSeed()

// partyOf is who a request of that lease counts for.
func partyOf(t *Tenant, group string, lease *catalogue.Lease) party {
	if t == nil {
		t = new(Tenant)
	}
	if group == "" {
		group = strings.Join(lease.Adapters(), ",") // a combination's, whatever its weights
	}
	return party{
		tenant: maphash.String(seed, t.Name), group: maphash.String(seed, group),
		name: t.Name, weight: float64(max(t.Weight, 1)), running: t.Running, waiting: t.Waiting,
	}
}

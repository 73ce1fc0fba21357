package runtime

import (
	"context"

	"github.com/peft-serve/peft-serve/catalogue"
)

// Await waits until a lease is ready, or ctx ends. Whoever has to know the adapter
// before there is a Request waits here: among those of Options.Queue, in a place
// that counts for the tenant and the group that the request is going to have, and
// that it may lose as others do (ErrQueueFull). What became of the lease, the
// lease tells.
func (e *Engine) Await(ctx context.Context, lease *catalogue.Lease, t *Tenant, group string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := place{displaced: cancel}
	if err := e.awaits(&p, partyOf(t, group, lease)); err != nil {
		return err
	}
	defer func() {
		e.mu.Lock()
		e.room.exit(&p)
		e.gauges.awaiting--
		e.mu.Unlock()
	}()
	if err := lease.Wait(ctx); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (e *Engine) awaits(p *place, who party) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return ErrClosed
	}
	if err := e.room.enter(p, who); err != nil {
		return err
	}
	e.gauges.awaiting++
	return nil
}

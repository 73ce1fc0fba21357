package serve

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// While tokens are generated, all who work on something else get so many bytes a
// second together; while none are, nobody waits.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		busy.Store(true)
		p := newPace(1<<20, busy.Load)
		began := time.Now()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 8 * runtime.GOMAXPROCS(0) {
					require.NoError(t, p.spend(t.Context(), 128<<10))
				}
			})
		}
		all.Wait()
		require.InDelta(t, 4*time.Second, time.Since(began), float64(10*time.Millisecond))

		gone, leave := context.WithCancelCause(t.Context())
		leave(errClientGone)
		require.ErrorIs(t, p.spend(gone, 1<<30), errClientGone)

		var refusal *failure
		require.True(t, errors.As(p.spend(t.Context(), 1), &refusal), "more waits than there is time for")
		require.Equal(t, "bodies_full", refusal.code)

		busy.Store(false)
		began = time.Now()
		require.NoError(t, p.spend(t.Context(), 1<<40))
		require.Zero(t, time.Since(began))
	})
}

// An end of generation ends the waiting too.
func TestPaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		busy.Store(true)
		p := newPace(1, busy.Load)
		began := time.Now()
		time.AfterFunc(time.Second, func() { busy.Store(false) })
		require.NoError(t, p.spend(t.Context(), 1<<20))
		require.InDelta(t, time.Second, time.Since(began), float64(100*time.Millisecond))
	})
}

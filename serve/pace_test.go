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

// idlePace is that of a server that generates nothing.
func idlePace() *pace { return newPace(1, func() bool { return false }) }

// While tokens are generated, whoever works on something else gets so many units a
// second; while none are, nobody waits.
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
					require.NoError(t, p.spend(t.Context(), "a", 128<<10))
				}
			})
		}
		all.Wait()
		require.InDelta(t, 4*time.Second, time.Since(began), float64(10*time.Millisecond))

		gone, leave := context.WithCancelCause(t.Context())
		leave(errClientGone)
		require.ErrorIs(t, p.spend(gone, "a", 1<<30), errClientGone)

		var refusal *failure
		require.True(t, errors.As(p.spend(t.Context(), "a", 1), &refusal), "more waits than there is time for")
		require.Equal(t, "bodies_full", refusal.code)

		busy.Store(false)
		began = time.Now()
		require.NoError(t, p.spend(t.Context(), "a", 1<<40))
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
		require.NoError(t, p.spend(t.Context(), "a", 1<<20))
		require.InDelta(t, time.Second, time.Since(began), float64(100*time.Millisecond))
	})
}

// Who sends much keeps nobody else waiting, and takes no more than its part.
func TestPaceOfSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		busy.Store(true)
		p := newPace(1<<20, busy.Load)
		second := 1 << 20 * runtime.GOMAXPROCS(0)
		p.spent("much", 1000*second)
		var refusal *failure
		require.True(t, errors.As(p.spend(t.Context(), "much", 1), &refusal))
		require.Equal(t, 1001, refusal.retry)
		began := time.Now()
		require.NoError(t, p.spend(t.Context(), "little", second))
		require.InDelta(t, 2*time.Second, time.Since(began), float64(10*time.Millisecond), "half of the rate is each one's")

		busy.Store(false)
		require.NoError(t, p.spend(t.Context(), "much", 1))
		busy.Store(true)
		require.NoError(t, p.spend(t.Context(), "much", 1), "what was owed is forgotten once nothing is generated")
	})
}

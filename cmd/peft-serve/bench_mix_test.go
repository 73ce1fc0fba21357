package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Loads are compared turn by turn, by the clock and by the processor time of who answers;
// one that does not tell that is compared by the clock alone, but for --pid.
func TestCompareByProcessorTime(t *testing.T) {
	b := &benchCommand{Requests: 2, Generate: 5, Repetitions: 8}
	spent := time.Second
	clock := func(context.Context) (time.Duration, error) { return spent, nil }
	run := func(_ int, v load) (measured, error) {
		m := measured{wall: time.Second, first: []time.Duration{time.Second}, tokens: 10}
		spent += time.Second
		if v.name == "dear" {
			m.wall = 2 * time.Second
			spent += 3 * time.Second
		}
		return m, nil
	}
	all := []load{{name: "base"}, {name: "dear"}}
	var r report
	require.NoError(t, b.compare(t.Context(), all, 3, &r, clock, run))
	require.Nil(t, r.Mix[0].Interval)
	require.Nil(t, r.Mix[0].ProcessorInterval)
	require.InDelta(t, 1, r.Mix[0].ProcessorRatio, 1e-12)
	require.InDelta(t, 0.5, r.Mix[1].Ratio, 1e-12)
	require.InDeltaSlice(t, []float64{0.5, 0.5}, r.Mix[1].Interval, 1e-12)
	require.InDelta(t, 0.25, r.Mix[1].ProcessorRatio, 1e-12)
	require.InDeltaSlice(t, []float64{0.25, 0.25}, r.Mix[1].ProcessorInterval, 1e-12)

	silent := func(context.Context) (time.Duration, error) { return 0, errors.New("no such metric") }
	require.NoError(t, b.compare(t.Context(), all, 3, &r, silent, run))
	require.InDelta(t, 0.5, r.Mix[1].Ratio, 1e-12)
	require.Zero(t, r.Mix[1].ProcessorRatio)
	require.Nil(t, r.Mix[1].ProcessorInterval)

	b.PID = 1 << 30 // above what Linux numbers
	const gone = "--pid: there is no process 1073741824 here"
	require.ErrorContains(t, b.compare(t.Context(), all, 3, &r, b.serverClock(nil), run), gone)
	_, err := b.sustain(t.Context(), nil, nil, b.serverClock(nil), nil)
	require.ErrorContains(t, err, gone)
}

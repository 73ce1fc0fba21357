package main

import (
	"io"
	"math"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models"
)

// Of a memory limit the weights, which are mapped, have their part: Go's heap keeps
// to nine tenths of the rest, unless the operator has said otherwise.
func TestHeapLeavesRoomForTheWeights(t *testing.T) {
	m, source, err := models.Open("../../testdata/goldens/llama", models.Options{})
	require.NoError(t, err)
	require.NoError(t, source.Close())
	weights := int64(m.Config().WeightBytes)
	require.Positive(t, weights)
	for own, want := range map[int64]int64{math.MaxInt64: int64(0.9 * float64(4<<30-weights)), 3 << 30: 3 << 30} {
		before := debug.SetMemoryLimit(own)
		_, end := runServer(t, io.Discard, "--memory-limit", "4GiB")
		end()
		require.Equal(t, want, debug.SetMemoryLimit(before))
	}
}

package serve

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTokensOfTheLastMinute(t *testing.T) {
	now := time.Unix(1000, 0)
	p := perSecond{now: func() time.Time { return now }}
	count := func(seconds, tokens, want int) {
		t.Helper()
		now = now.Add(time.Duration(seconds) * time.Second)
		p.add(tokens)
		require.Equal(t, want, p.sum())
	}
	count(0, 5, 5)
	count(1, 3, 8)
	count(58, 2, 10)
	count(1, 0, 5)
	count(1, 1, 3)
	count(57, 0, 3)
	count(1, 0, 1)
	count(1000, 7, 7)
	count(-5, 1, 8)
	require.Zero(t, testing.AllocsPerRun(10, func() { p.add(1) }))
}

//go:build unix

package grammar

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What compiling the schemas that people write takes of a processor, the collector's
// work included: the median, the 95th of a hundred and the most.
func BenchmarkPeoplesSchemas(b *testing.B) {
	schemas := schemasOfPeople(b)
	took := make([]time.Duration, len(schemas))
	for n, schema := range schemas {
		_, err := Schema([]byte(schema)) // what is made once, is
		require.NoError(b, err)
		took[n] = time.Hour
	}
	for b.Loop() {
		for n, schema := range schemas {
			start := processorTime(b)
			_, err := Schema([]byte(schema))
			require.NoError(b, err)
			took[n] = min(took[n], processorTime(b)-start)
		}
	}
	slices.Sort(took)
	for _, of := range []struct {
		name string
		rank int
	}{{"median", len(took) / 2}, {"p95", len(took) * 95 / 100}, {"max", len(took) - 1}} {
		b.ReportMetric(float64(took[of.rank].Microseconds())/1000, of.name+"-ms")
	}
}

// processorTime is what the process has had so far.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

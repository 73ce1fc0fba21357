package grammar

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// What compiling a schema costs, of those that people write.
func BenchmarkSchema(b *testing.B) {
	for n, schema := range schemasOfPeople(b) {
		if n > 30 {
			return
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var g *Grammar
			for b.Loop() {
				var err error
				g, err = Schema([]byte(schema))
				require.NoError(b, err)
			}
			b.ReportMetric(float64(len(g.states)), "states")
			b.ReportMetric(float64(g.Bytes()), "bytes")
		})
	}
}

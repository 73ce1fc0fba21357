package serve

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/internal/processor"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// BenchmarkManyHeads asks 200 heads over MiniLM of one text, over HTTP, in turn with one
// head. What it tells is processor time, client and server, of the least runs.
func BenchmarkManyHeads(b *testing.B) {
	const heads = 200
	s, _ := headsSite(b, headsLoad{base: modeltest.Real(b, "all-MiniLM-L6-v2"), adapters: heads, alone: true}, func(c *Config, _ *Parts) { c.Log = slog.New(slog.DiscardHandler) })
	texts := 0
	ask := func(adapter string, least *time.Duration) {
		texts++
		body := fmt.Sprintf(`{"input":"text %d: %s"}`, texts, "the quick brown fox jumps over the lazy dog and the lazy dog sleeps on the old brown mat in")
		before := processor.Time()
		got, err := s.client.Post(s.url+"/v1/classify?adapter="+adapter, "application/json", strings.NewReader(body))
		require.NoError(b, err)
		_, err = io.Copy(io.Discard, got.Body)
		require.NoError(b, errors.Join(err, got.Body.Close()))
		if took := processor.Time() - before; *least == 0 || took < *least {
			*least = took
		}
		require.Equal(b, 200, got.StatusCode)
	}
	var warm, one, all time.Duration
	ask("*", &warm)
	for b.Loop() {
		ask("task-000", &one)
		ask("*", &all)
	}
	b.ReportMetric(float64(one.Microseconds()), "µs/head")
	b.ReportMetric(float64(all)/float64(one), "heads/head")
	b.ReportMetric(float64((all-one).Microseconds())/(heads-1), "µs/further-head")
}

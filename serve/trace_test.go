package serve

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/peft-serve/peft-serve/catalogue"
)

// newTracer keeps the spans it is told of.
func newTracer() (trace.Tracer, *tracetest.InMemoryExporter) {
	spans := tracetest.NewInMemoryExporter()
	return sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test"), spans
}

func attributesOf(s tracetest.SpanStub) map[string]any {
	all := map[string]any{}
	for _, a := range s.Attributes {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}

// A request is a span with children that follow each other; it is the client's
// child, and its line in the access log names the trace.
func TestTraces(t *testing.T) {
	tracer, spans := newTracer()
	s, log := loggedSite(t, slog.LevelInfo, func(_ *Config, p *Parts) { p.Tracer, p.Catalogue = tracer, newCold(t, p.Catalogue) })
	const parent = "0af7651916cd43dd8448eb211c80319c"
	answer := s.post(t, "/v1/chat/completions", `{"model":"sql","messages":[{"role":"user","content":"Hi"}],"n":2,"max_tokens":4}`, "traceparent", "00-"+parent+"-b7ad6b7169203331-01")
	require.Equal(t, 200, answer.status, answer.body)
	require.Equal(t, parent, log.records(t, "request", 1)[0]["trace"])
	byName := map[string][]tracetest.SpanStub{}
	for _, span := range spans.GetSpans() {
		require.Equal(t, parent, span.SpanContext.TraceID().String())
		byName[span.Name] = append(byName[span.Name], span)
	}
	request := byName["POST /v1/chat/completions"][0]
	require.Equal(t, "b7ad6b7169203331", request.Parent.SpanID().String())
	require.Equal(t, trace.SpanKindServer, request.SpanKind)
	require.Equal(t, codes.Unset, request.Status.Code)
	got := attributesOf(request)
	for key, want := range map[string]any{
		"http.request.method": "POST", "http.route": "/v1/chat/completions", "http.response.status_code": int64(200), "client.address": "127.0.0.1",
		"peft.adapter": "sql", "peft.adapter.digest": "digest-of-sql",
		"gen_ai.operation.name": "chat", "gen_ai.request.model": "sql", "gen_ai.usage.output_tokens": int64(8),
		"gen_ai.response.finish_reasons": []string{"length", "length"},
	} {
		require.Equal(t, want, got[key], key)
	}
	require.Len(t, byName["load"], 1)
	for _, name := range []string{"load", "prefill", "decode"} {
		for _, child := range byName[name] {
			require.Equal(t, request.SpanContext.SpanID(), child.Parent.SpanID())
		}
	}
	require.Len(t, byName["prefill"], 2)
	require.Len(t, byName["decode"], 2)
	for i, decode := range byName["decode"] {
		prefill := byName["prefill"][i]
		require.Equal(t, 2*time.Millisecond, prefill.EndTime.Sub(prefill.StartTime))
		require.Equal(t, 7*time.Millisecond, decode.EndTime.Sub(decode.StartTime))
		require.Equal(t, prefill.EndTime, decode.StartTime)
		require.Equal(t, int64(1), attributesOf(prefill)["gen_ai.usage.cache_read.input_tokens"])
		require.Equal(t, int64(4), attributesOf(decode)["gen_ai.usage.output_tokens"])
		require.Equal(t, attributesOf(prefill)["peft.choice"], attributesOf(decode)["peft.choice"])
	}
}

// cold is a catalogue with an adapter that is read a moment after it is asked for.
type cold struct {
	Catalogue
	known *catalogue.Catalogue
}

func newCold(t *testing.T, other Catalogue) cold {
	dir := t.TempDir()
	layAdapter(t, "lora", filepath.Join(dir, "sql"))
	known, err := catalogue.New(func(context.Context, catalogue.Source) (catalogue.Adapter, error) {
		time.Sleep(time.Millisecond)
		return fakeAdapter{digest: "digest-of-sql", bytes: 1}, nil
	}, catalogue.Options{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, known.Close()) })
	return cold{other, known}
}

func (c cold) Acquire(name, session string) (*catalogue.Lease, error) {
	return c.known.Acquire(name, session)
}

// What failed is marked; a client that asks for no trace gets none; probes are
// none.
func TestTracesOfFailures(t *testing.T) {
	tracer, spans := newTracer()
	s, log := loggedSite(t, slog.LevelInfo, func(_ *Config, p *Parts) { p.Tracer = tracer })
	s.engine.refuse = catalogue.ErrPanic
	s.post(t, "/v1/completions", `{"prompt":"x"}`)
	s.post(t, "/v1/completions", `{"prompt":3}`)
	s.get(t, "/no/such/route")
	s.get(t, "/ready")
	s.post(t, "/v1/completions", `{"prompt":"x"}`, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	log.records(t, "request", 4)
	all := spans.GetSpans()
	require.Len(t, all, 3)
	require.Equal(t, codes.Error, all[0].Status.Code)
	require.Equal(t, codes.Unset, all[1].Status.Code)
	require.Equal(t, invalidRequest, attributesOf(all[1])["error.type"])
	require.Equal(t, "GET", all[2].Name)
	require.NotContains(t, attributesOf(all[2]), "http.route")
}

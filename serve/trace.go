package serve

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceParent is the client's span, by W3C's traceparent and tracestate.
func traceParent(c *fiber.Ctx) trace.SpanContext {
	if len(c.Request().Header.Peek("traceparent")) == 0 {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), headers{c})
	return trace.SpanContextFromContext(ctx)
}

// headers are a request's, to read.
type headers struct{ *fiber.Ctx }

func (h headers) Get(key string) string { return h.Ctx.Get(key) }
func (headers) Set(string, string)      {}
func (headers) Keys() []string          { return nil }

// trace tells a tracer of a request that is over: all of it is known only then,
// so that tracing costs nothing while tokens are computed. Its children follow
// each other: the wait for the adapter (load) and for a slot (queue), the
// prompt (prefill) and the completion (decode) of every choice.
//
// Names of attributes are OpenTelemetry's, of HTTP and of generative AI, where
// it has them.
func (s *Server) trace(a *account, ended time.Time) {
	a.trace = a.parent.TraceID()
	if s.tracer == nil || a.quiet {
		return
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), a.parent)
	ctx, span := s.tracer.Start(ctx, spanName(a), trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(a.began))
	defer span.End(trace.WithTimestamp(ended))
	a.trace = span.SpanContext().TraceID()
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(s.spanAttributes(a)...)
	if a.status >= 500 || a.status < 400 && a.code != "" {
		span.SetStatus(codes.Error, a.code)
	}
	child := func(name string, from, to time.Time, attributes ...attribute.KeyValue) {
		if to.After(from) {
			_, span := s.tracer.Start(ctx, name, trace.WithTimestamp(from), trace.WithAttributes(attributes...))
			span.End(trace.WithTimestamp(to))
		}
	}
	child("load", a.loaded.from, a.loaded.to, attribute.String("peft.adapter", a.adapter))
	for _, choice := range a.choices {
		u, index := choice.usage, attribute.Int("peft.choice", choice.index)
		waited := a.arrived
		if a.loaded.to.After(waited) {
			waited = a.loaded.to
		}
		admitted, first, last := a.arrived.Add(u.Queued), a.arrived.Add(u.FirstToken), a.arrived.Add(u.Total)
		if u.FirstToken == 0 { // the prompt alone
			first = last
		}
		child("queue", waited, admitted, index)
		child("prefill", admitted, first, index, attribute.Int("gen_ai.usage.input_tokens", u.PromptTokens),
			attribute.Int("gen_ai.usage.cache_read.input_tokens", u.CachedTokens))
		child("decode", first, last, index, attribute.Int("gen_ai.usage.output_tokens", u.CompletionTokens))
	}
}

// spanName is as OpenTelemetry wants it of a server: the method and the route.
func spanName(a *account) string {
	if a.route == "" {
		return a.method
	}
	return a.method + " " + a.route
}

func (s *Server) spanAttributes(a *account) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, 20)
	text := func(name, value string) {
		if value != "" {
			all = append(all, attribute.String(name, value))
		}
	}
	number := func(name string, value int) { all = append(all, attribute.Int(name, value)) }
	text("http.request.method", a.method)
	text("http.route", a.route)
	text("error.type", a.code)
	text("client.address", a.client)
	text("peft.request", a.request)
	text("peft.key", a.key)
	text("peft.tenant", a.tenant)
	text("peft.adapter", a.adapter)
	text("peft.adapter.digest", a.digest)
	number("http.response.status_code", a.status)
	number("http.response.body.size", a.sent)
	if !a.generates {
		return all
	}
	operation, model := "text_completion", a.adapter
	switch a.route {
	case chatRoute, "/chat/completions", responsesRoute, "/responses":
		operation = "chat"
	case embeddingsRoute, "/embeddings", poolingRoute, "/embed", "/embed_all":
		operation = "embeddings"
	case classifyPath, "/classify", "/predict", inferPath:
		operation = "classify"
	}
	if model == "" {
		model = s.config.Name
	}
	text("gen_ai.operation.name", operation)
	text("gen_ai.provider.name", "peft-serve")
	text("gen_ai.request.model", model)
	text("gen_ai.response.model", model)
	number("gen_ai.usage.input_tokens", a.prompt)
	number("gen_ai.usage.cache_read.input_tokens", a.cached)
	number("gen_ai.usage.output_tokens", a.completion)
	reasons := make([]string, 0, len(a.choices))
	for _, choice := range a.choices {
		reasons = append(reasons, *finishReason(choice.finish))
	}
	return append(all, attribute.StringSlice("gen_ai.response.finish_reasons", reasons))
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// openTelemetry are OpenTelemetry's own variables, as far as they choose what
// is done. Those that say how are read by its library.
type openTelemetry map[string]string

func openTelemetryOf(env []string) openTelemetry {
	o := openTelemetry{}
	for _, pair := range env {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "OTEL_") {
			o[name] = strings.TrimSpace(value)
		}
	}
	return o
}

// first returns the first of the variables that is set; those of traces alone
// come before those of all signals.
func (o openTelemetry) first(names ...string) (name, value string) {
	for _, name = range names {
		if value = o[name]; value != "" {
			return name, value
		}
	}
	return name, ""
}

// exports reports whether traces are to be sent somewhere, and refuses what the
// variables say and this server does not do.
func (o openTelemetry) exports() (bool, error) {
	if disabled, _ := strconv.ParseBool(o["OTEL_SDK_DISABLED"]); disabled {
		return false, nil
	}
	where, endpoint := o.first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	switch exporter := o["OTEL_TRACES_EXPORTER"]; {
	case exporter == "none", exporter == "" && endpoint == "":
		return false, nil
	case exporter != "" && exporter != "otlp":
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER: %q: there is otlp, and none", exporter)
	}
	if name, protocol := o.first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return false, fmt.Errorf("%s: %q: there is http/protobuf", name, protocol)
	}
	if u, err := url.Parse(endpoint); endpoint != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return false, fmt.Errorf("%s: %q is no URL of a collector, as http://127.0.0.1:4318", where, endpoint)
	}
	for p := range strings.SplitSeq(o["OTEL_PROPAGATORS"], ",") {
		if p = strings.TrimSpace(p); p != "" && p != "tracecontext" && p != "baggage" {
			return false, fmt.Errorf("OTEL_PROPAGATORS: %q: there is tracecontext", p)
		}
	}
	return true, o.sampler()
}

// sampler refuses a sampler in whose place the library would take its default.
func (o openTelemetry) sampler() error {
	known := []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}
	sampler, argument := o["OTEL_TRACES_SAMPLER"], o["OTEL_TRACES_SAMPLER_ARG"]
	if sampler != "" && !slices.Contains(known, sampler) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER: %q is none of %s", sampler, strings.Join(known, ", "))
	}
	if share, err := strconv.ParseFloat(argument, 64); argument != "" && (err != nil || !(share >= 0 && share <= 1)) {
		return fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: %q is no share of the traces, from 0 to 1", argument)
	}
	return nil
}

// tracing returns the tracer that the variables ask for, nil where they ask for
// none, and what sends the rest of the traces and ends it.
func tracing(ctx context.Context, env []string, log *slog.Logger) (tracer trace.Tracer, end func(context.Context) error, err error) {
	wanted, err := openTelemetryOf(env).exports()
	if err != nil || !wanted {
		return nil, func(context.Context) error { return nil }, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", "error", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "peft-serve"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return provider.Tracer("github.com/peft-serve/peft-serve"), provider.Shutdown, nil
}

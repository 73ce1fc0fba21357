package serve

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
)

// Metrics counts what engine, catalogue and server do. It is made before
// them, as their Observer, and read at /metrics.
//
// Its series are bounded, whatever is asked for and published, and go back to
// where they began when the adapters do.
type Metrics struct {
	registry *prometheus.Registry
	scrape   http.Handler
	adapters *adapterSeries
	versions *versionSeries
	rate     tokenRate

	// As vLLM names them, whatever the adapter.
	between  prometheus.Histogram
	queued   prometheus.Histogram
	firstAny prometheus.Histogram
	total    prometheus.Histogram
	stopped  prometheus.Counter // requests that were answered, and why they ended
	cut      prometheus.Counter

	step     prometheus.Histogram
	stepRows *prometheus.CounterVec // kind
	loads    *prometheus.CounterVec // outcome
	loading  prometheus.Histogram
	room     prometheus.Histogram
	evicted  prometheus.Counter
	freed    prometheus.Counter
	http     *prometheus.CounterVec // method, route, status

	templates atomic.Pointer[templates] // which leave with their adapters
}

var (
	_ runtime.Observer   = (*Metrics)(nil)
	_ catalogue.Observer = (*Metrics)(nil)
)

// NewMetrics returns metrics that nothing has been counted in. model is the
// base's name, a label of the series that are named as vLLM's are.
func NewMetrics(model string) *Metrics {
	r := prometheus.NewRegistry()
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	plain := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
		r.MustRegister(h)
		return h
	}
	asVLLM := prometheus.Labels{"model_name": model}
	vLLM := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets, ConstLabels: asVLLM})
		r.MustRegister(h)
		return h
	}
	latency := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	fine := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}
	m := &Metrics{
		registry: r,
		adapters: newAdapterSeries(r, latency),
		versions: newVersionSeries(r, latency),
		between:  vLLM("vllm:inter_token_latency_seconds", "Time between two tokens of a sequence.", fine),
		queued:   vLLM("vllm:request_queue_time_seconds", "Time a request waited for a slot, loading of its adapter included.", latency),
		firstAny: vLLM("vllm:time_to_first_token_seconds", "From a request's arrival at the engine to its first token.", latency),
		total:    vLLM("vllm:e2e_request_latency_seconds", "From a request's arrival at the engine to its last token.", latency),
		step:     histogram("peft_step_seconds", "Time of one step of the engine.", fine),
		stepRows: counter("peft_step_rows_total", "Rows of the engine's steps: tokens of prompts, and of completions.", "kind"),
		loads:    counter("peft_adapter_loads_total", "Adapter loads by outcome.", "outcome"),
		loading:  histogram("peft_adapter_load_seconds", "Time to read an adapter, and to download it.", latency),
		room:     histogram("peft_adapter_wait_seconds", "Time that adapters waited for room in memory, of those that had to.", latency),
		evicted:  plain("peft_adapter_evictions_total", "Adapter versions freed, to make room or because they were replaced or removed."),
		freed:    plain("peft_adapter_freed_bytes_total", "Memory of the adapter versions freed."),
		http:     counter("peft_http_requests_total", "HTTP answers by route and status.", "method", "route", "status"),
	}
	succeeded := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vllm:request_success_total", Help: "Requests that were answered, by why they ended.", ConstLabels: asVLLM,
	}, []string{"finished_reason"})
	m.stopped, m.cut = succeeded.WithLabelValues("stop"), succeeded.WithLabelValues("length")
	r.MustRegister(succeeded, collectors.NewGoCollector(), newProcessCollector())
	m.scrape = promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	return m
}

// attach adds what is read from the server's parts when metrics are read.
func (m *Metrics) attach(s *Server) error {
	m.templates.Store(s.templates)
	return errors.Join(m.registry.Register(&stateCollector{s}), m.registry.Register(&memoryCollector{s.memory, s.intake}))
}

// metricsHandler answers with all series, once those of adapters that are gone
// are too.
func (s *Server) metricsHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := s.known()
		s.metrics.adapters.prune(known)
		s.metrics.versions.prune(known)
		s.metrics.scrape.ServeHTTP(w, r)
	})
}

// exposeMetrics is it as a route.
func (s *Server) exposeMetrics(c *fiber.Ctx) error {
	return adaptor.HTTPHandler(s.metricsHandler())(c)
}

func (m *Metrics) answered(method, route string, status int) {
	m.http.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
}

// Step implements runtime.Observer, as do the following until Finished.
func (m *Metrics) Step(d time.Duration, rows, promptRows int) {
	m.step.Observe(d.Seconds())
	m.stepRows.WithLabelValues("prompt").Add(float64(promptRows))
	m.stepRows.WithLabelValues("completion").Add(float64(rows - promptRows))
	m.rate.prompt.add(promptRows)
}

func (m *Metrics) Started(_ string, queued time.Duration) { m.queued.Observe(queued.Seconds()) }

func (m *Metrics) Token(_ string, first bool, since time.Duration) {
	m.rate.completion.add(1)
	if !first {
		m.between.Observe(since.Seconds())
	}
}

func (m *Metrics) Finished(adapter string, finish runtime.Finish, u runtime.Usage, err error) {
	outcome := string(finish)
	switch {
	case errors.Is(err, context.Canceled):
		outcome = "cancelled"
	case err != nil:
		outcome = "failed"
	}
	m.adapters.finished(adapter, outcome, u)
	m.versions.finished(adapter, outcome, u)
	if u.FirstToken > 0 {
		m.firstAny.Observe(u.FirstToken.Seconds())
	}
	if err == nil {
		if finish == runtime.FinishLength {
			m.cut.Inc()
		} else {
			m.stopped.Inc()
		}
		m.total.Observe(u.Total.Seconds())
	}
}

// Loaded implements catalogue.Observer, as do the following.
func (m *Metrics) Loaded(_ string, d time.Duration, err error) {
	outcome := "loaded"
	switch {
	case errors.Is(err, context.Canceled): // nobody waits for it any more
		outcome = "cancelled"
	case err != nil:
		outcome = "failed"
	}
	m.loads.WithLabelValues(outcome).Inc()
	if d > 0 {
		m.loading.Observe(d.Seconds())
	}
}

func (m *Metrics) Waited(_ string, d time.Duration) { m.room.Observe(d.Seconds()) }

func (m *Metrics) Evicted(adapter, digest string, bytes int) {
	if t := m.templates.Load(); t != nil {
		t.forget(adapter, digest)
	}
	m.evicted.Inc()
	m.freed.Add(float64(bytes))
}

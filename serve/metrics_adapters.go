package serve

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
)

// maxLabelled is the most adapters with series of their own.
const maxLabelled = 256

// Labels that stand for many; they are no adapters' names.
const (
	otherAdapters    = "(other)"        // those for which no room was left
	combinedAdapters = "(combinations)" // of which anybody may name new ones without end
)

// adapterSeries are the counts by adapter, by name alone: which version a name
// stands for is peft_serve_adapter_info's to tell. They go with their adapter.
type adapterSeries struct {
	requests   *prometheus.CounterVec // adapter, outcome
	prompt     *prometheus.CounterVec // adapter
	cached     *prometheus.CounterVec
	completion *prometheus.CounterVec
	first      *prometheus.HistogramVec

	mu    sync.Mutex // held while counting, lest what is forgotten comes back
	known map[string]bool
}

func newAdapterSeries(r prometheus.Registerer, latency []float64) *adapterSeries {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"adapter"}, labels...))
	}
	a := &adapterSeries{
		requests:   counter("peft_requests_total", "Finished requests to the engine by adapter and outcome.", "outcome"),
		prompt:     counter("peft_prompt_tokens_total", "Prompt tokens of finished requests."),
		cached:     counter("peft_cached_prompt_tokens_total", "Of those, tokens taken from the prefix cache."),
		completion: counter("peft_completion_tokens_total", "Completion tokens of finished requests."),
		first: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "peft_time_to_first_token_seconds", Help: "From the request's arrival at the engine to its first token, by adapter.", Buckets: latency,
		}, []string{"adapter"}),
		known: map[string]bool{},
	}
	r.MustRegister(a.requests, a.prompt, a.cached, a.completion, a.first)
	return a
}

// finished counts a request that was answered under that name, by those
// adapters.
func (a *adapterSeries) finished(name, outcome string, u runtime.Usage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	label := a.label(name, u.Adapters)
	a.requests.WithLabelValues(label, outcome).Inc()
	a.prompt.WithLabelValues(label).Add(float64(u.PromptTokens))
	a.cached.WithLabelValues(label).Add(float64(u.CachedTokens))
	a.completion.WithLabelValues(label).Add(float64(u.CompletionTokens))
	if u.FirstToken > 0 {
		a.first.WithLabelValues(label).Observe(u.FirstToken.Seconds())
	}
}

// label is an adapter's own name while there is room; the base's is "".
func (a *adapterSeries) label(name string, adapters []string) string {
	switch {
	case name == "" || a.known[name]:
		return name
	case len(adapters) != 1 || adapters[0] != name:
		return combinedAdapters
	case len(a.known) >= maxLabelled:
		return otherAdapters
	}
	a.known[name] = true
	return name
}

// prune forgets the adapters of which the catalogue has no version any more.
func (a *adapterSeries) prune(entries []catalogue.Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	present := map[string]bool{}
	for _, e := range entries {
		present[e.Name] = true
	}
	for name := range a.known {
		if present[name] {
			continue
		}
		delete(a.known, name)
		for _, v := range []interface {
			DeletePartialMatch(prometheus.Labels) int
		}{a.requests, a.prompt, a.cached, a.completion, a.first} {
			v.DeletePartialMatch(prometheus.Labels{"adapter": name})
		}
	}
}

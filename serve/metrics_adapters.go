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

	mu     sync.Mutex // held while counting, lest what is forgotten comes back
	known  map[string]*ownSeries
	shared map[string]*ownSeries // of the base, and of adapters that have none of their own
}

// ownSeries are the series of one label, which are found once.
type ownSeries struct {
	requests                   map[string]prometheus.Counter // by outcome
	prompt, cached, completion prometheus.Counter
	first                      prometheus.Observer
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
		known: map[string]*ownSeries{}, shared: map[string]*ownSeries{},
	}
	r.MustRegister(a.requests, a.prompt, a.cached, a.completion, a.first)
	return a
}

// finished counts a request that was answered under that name, by those
// adapters.
func (a *adapterSeries) finished(name, outcome string, u runtime.Usage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	label, own := a.of(name, u.Adapters)
	requests := own.requests[outcome]
	if requests == nil {
		requests = a.requests.WithLabelValues(label, outcome)
		own.requests[outcome] = requests
	}
	requests.Inc()
	own.prompt.Add(float64(u.PromptTokens))
	own.cached.Add(float64(u.CachedTokens))
	own.completion.Add(float64(u.CompletionTokens))
	if u.FirstToken > 0 {
		if own.first == nil {
			own.first = a.first.WithLabelValues(label)
		}
		own.first.Observe(u.FirstToken.Seconds())
	}
}

// of are the series of an adapter, which has a label of its own while there is room;
// the base's is "".
func (a *adapterSeries) of(name string, adapters []string) (label string, own *ownSeries) {
	label, in := name, a.shared
	switch {
	case name == "":
	case a.known[name] != nil:
		return name, a.known[name]
	case len(adapters) != 1 || adapters[0] != name:
		label = combinedAdapters
	case len(a.known) >= maxLabelled:
		label = otherAdapters
	default:
		in = a.known
	}
	if in[label] == nil {
		in[label] = &ownSeries{
			requests: map[string]prometheus.Counter{},
			prompt:   a.prompt.WithLabelValues(label), cached: a.cached.WithLabelValues(label), completion: a.completion.WithLabelValues(label),
		}
	}
	return label, in[label]
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

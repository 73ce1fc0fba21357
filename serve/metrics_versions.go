package serve

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
)

// versionSeries are the counts by version, of adapters that have an alias, so that
// a canary can be compared with the live version. They go with their version.
type versionSeries struct {
	requests   *prometheus.CounterVec // adapter, digest, outcome
	completion *prometheus.CounterVec // adapter, digest
	first      *prometheus.HistogramVec
	total      *prometheus.HistogramVec

	mu    sync.Mutex // held while counting, lest what is forgotten comes back
	known map[adapterVersion]bool
}

type adapterVersion struct{ name, digest string }

func newVersionSeries(r prometheus.Registerer, latency []float64) *versionSeries {
	labels := []string{"adapter", "digest"}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latency}, labels)
	}
	v := &versionSeries{
		requests:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "peft_version_requests_total", Help: "Finished requests by version and outcome, of adapters that have an alias."}, append(labels, "outcome")),
		completion: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "peft_version_completion_tokens_total", Help: "Their completion tokens."}, labels),
		first:      histogram("peft_version_time_to_first_token_seconds", "From their arrival at the engine to their first token."),
		total:      histogram("peft_version_request_seconds", "From their arrival at the engine to their last token."),
		known:      map[adapterVersion]bool{},
	}
	r.MustRegister(v.requests, v.completion, v.first, v.total)
	return v
}

// finished counts a request under an adapter of that name, if there is room for
// its version.
func (v *versionSeries) finished(name, outcome string, u runtime.Usage) {
	if !u.Versioned || u.AdapterDigest == "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if version := (adapterVersion{name, u.AdapterDigest}); !v.known[version] {
		if len(v.known) >= maxLabelled {
			return
		}
		v.known[version] = true
	}
	v.requests.WithLabelValues(name, u.AdapterDigest, outcome).Inc()
	v.completion.WithLabelValues(name, u.AdapterDigest).Add(float64(u.CompletionTokens))
	if u.FirstToken > 0 {
		v.first.WithLabelValues(name, u.AdapterDigest).Observe(u.FirstToken.Seconds())
	}
	v.total.WithLabelValues(name, u.AdapterDigest).Observe(u.Total.Seconds())
}

// prune forgets the versions that the catalogue has no more.
func (v *versionSeries) prune(entries []catalogue.Entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	present := map[adapterVersion]bool{}
	for _, e := range entries {
		present[adapterVersion{e.Name, e.Digest}] = true
	}
	for version := range v.known {
		// What has left the memory and is named by no alias, the folder of its name does not tell.
		if present[version] || present[adapterVersion{version.name, ""}] {
			continue
		}
		delete(v.known, version)
		labels := prometheus.Labels{"adapter": version.name, "digest": version.digest}
		v.requests.DeletePartialMatch(labels)
		v.completion.DeletePartialMatch(labels)
		v.first.DeletePartialMatch(labels)
		v.total.DeletePartialMatch(labels)
	}
}

// collectShares emits the share of the sessions that the versions of adapters with a
// canary answer.
func collectShares(entries []catalogue.Entry, gauge func(name, help string, v float64, labels ...string)) {
	percent := map[string]float64{}
	for _, e := range entries {
		if e.Percent > 0 && len(percent) < maxLabelled/2 {
			percent[e.Name] = e.Percent
		}
	}
	for _, e := range entries {
		share, tried := e.Percent, percent[e.Name] > 0
		if answers(e) {
			share = 100 - percent[e.Name]
		}
		if tried && e.State != catalogue.Draining && e.Digest != "" {
			gauge("peft_version_share", "Share of the sessions that a version answers, of adapters that have a canary.", share/100, "adapter", e.Name, "digest", e.Digest)
		}
	}
}

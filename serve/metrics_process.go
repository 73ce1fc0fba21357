package serve

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/peft-serve/peft-serve/internal/processor"
)

// processCollector is Prometheus's collector of what a process takes. That reads its
// processor time where Linux tells it in steps of 10 ms: here it is exact.
type processCollector struct{ prometheus.Collector }

func newProcessCollector() processCollector {
	return processCollector{collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}
}

// Collect implements prometheus.Collector.
func (p processCollector) Collect(to chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		p.Collector.Collect(all)
		close(all)
	}()
	for m := range all {
		if spent := processor.Time(); spent > 0 && strings.Contains(m.Desc().String(), `"process_cpu_seconds_total"`) {
			m = prometheus.MustNewConstMetric(m.Desc(), prometheus.CounterValue, spent.Seconds())
		}
		to <- m
	}
}

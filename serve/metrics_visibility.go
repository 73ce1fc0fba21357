package serve

import (
	"slices"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/peft-serve/peft-serve/serve/keys"
)

// metricsFor answers with all metrics whoever has the right metrics, and others
// with those that name no adapter or, where --metrics-auth asks for it, not.
func (s *Server) metricsFor(all fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		switch {
		case callerOf(c).may(keys.Metrics):
			return all(c)
		case s.config.MetricsAuth:
			return lacks(c, keys.Metrics)
		}
		nameless := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			families, err := s.metrics.registry.Gather()
			return slices.DeleteFunc(families, namesAdapters), err
		})
		return adaptor.HTTPHandler(promhttp.HandlerFor(nameless, promhttp.HandlerOpts{}))(c)
	}
}

// namesAdapters reports whether a metric has a label for names of adapters.
func namesAdapters(f *dto.MetricFamily) bool {
	return slices.ContainsFunc(f.Metric, func(m *dto.Metric) bool {
		return slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool {
			return slices.Contains([]string{"adapter", "running_lora_adapters", "waiting_lora_adapters"}, l.GetName())
		})
	})
}

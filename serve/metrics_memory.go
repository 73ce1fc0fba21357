package serve

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/peft-serve/peft-serve/memory"
)

// memoryCollector tells the account of the process's memory, part by part.
type memoryCollector struct {
	account *memory.Account
	uploads *uploads
}

func (c *memoryCollector) Describe(chan<- *prometheus.Desc) {} // unchecked: labels come with the values

func (c *memoryCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(name, help string, v int64, labels ...string) {
		send(out, prometheus.GaugeValue, name, help, float64(v), labels)
	}
	gauge("peft_uploads", "Uploads that are being received, and those that wait for a place.", int64(len(c.uploads.places)), "state", "receiving")
	gauge("peft_uploads", "Uploads that are being received, and those that wait for a place.", int64(len(c.uploads.queue)), "state", "waiting")
	if c.account == nil {
		return
	}
	limit := c.account.Limit()
	gauge("peft_memory_limit_bytes", "Memory that the process may take; 0: not known.", limit.Bytes, "from", limit.From)
	gauge("peft_memory_used_bytes", "Memory that counts towards the limit, by the system; pages of mapped files do not.", c.account.Used())
	for _, l := range c.account.Lines() {
		gauge("peft_memory_part_bytes", "The account of the process's memory: what is in use.", l.Used, "part", l.Name)
		gauge("peft_memory_part_budget_bytes", "The account of the process's memory: what may be in use. What comes and goes shares what the rest leaves.", l.Most, "part", l.Name)
	}
}

package serve

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
)

// stateCollector reads gauges from the engine and the catalogue at the moment
// they are asked for, so that they are never stale. The vllm: names are those
// that gateways route by.
type stateCollector struct{ server *Server }

// known are the adapters as far as they are known: no folder is read.
func (s *Server) known() []catalogue.Entry {
	if s.catalogue == nil {
		return nil
	}
	return s.catalogue.Entries()
}

func (c *stateCollector) Describe(chan<- *prometheus.Desc) {} // unchecked: labels come with the values

func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	s := c.server
	o, now := s.engine.Options(), s.engine.Snapshot()
	entries := s.known()
	model := []string{"model_name", s.config.Name}
	gauge := func(name, help string, v float64, labels ...string) {
		send(out, prometheus.GaugeValue, name, help, v, labels)
	}
	counter := func(name, help string, v uint64, labels ...string) {
		send(out, prometheus.CounterValue, name, help, float64(v), labels)
	}

	gauge("vllm:num_requests_running", "Sequences with a slot.", float64(now.Running), model...)
	gauge("vllm:num_requests_waiting", "Requests without one.", float64(now.Waiting), model...)
	gauge("vllm:kv_cache_usage_perc", "Share of the key-value blocks held by running sequences; 1 is all.", share(now.BlocksUsed, now.Blocks), model...)
	gauge("vllm:cache_config_info", "Shape of the key-value cache.", 1,
		"block_size", strconv.Itoa(kernels.BlockLen), "num_gpu_blocks", strconv.Itoa(now.Blocks))
	counter("vllm:prompt_tokens_total", "Prompt tokens of sequences admitted.", now.PromptTokens, model...)
	counter("vllm:generation_tokens_total", "Completion tokens.", now.CompletionTokens, model...)
	counter("vllm:num_preemptions_total", "Sequences that lost their blocks and started over.", now.Preemptions, model...)
	counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", now.LookedUpTokens, model...)
	counter("vllm:prefix_cache_hits_total", "Prompt tokens found there.", now.CachedTokens, model...)

	resident, waited, byState, pinned := []string{}, now.WaitingAdapters, map[catalogue.State]int{}, 0
	for _, e := range entries {
		byState[e.State]++
		switch e.State {
		case catalogue.Resident:
			resident = append(resident, e.Name)
		case catalogue.Loading:
			waited = append(waited, e.Name)
		}
		if e.Pinned && answers(e) {
			pinned++
		}
	}
	sort.Strings(resident)
	resident = slices.Compact(resident) // a canary has the name of the live version
	slices.Sort(waited)
	waited = slices.Compact(waited)
	gauge("vllm:lora_requests_info", "The adapters in memory and those that requests wait for, at a time.", float64(time.Now().UnixMilli())/1000,
		"max_lora", strconv.Itoa(max(s.residents(o.Slots), len(resident))), "running_lora_adapters", strings.Join(resident, ","), "waiting_lora_adapters", strings.Join(missing(waited, resident), ","))

	shown := map[[2]string]bool{}
	for _, e := range entries {
		version := [2]string{e.Name, e.Digest}
		if e.Digest == "" || e.State != catalogue.Resident && e.State != catalogue.Draining || shown[version] || len(shown) == maxLabelled {
			continue
		}
		shown[version] = true
		gauge("peft_serve_adapter_info", "The adapter versions in memory.", 1, "adapter", e.Name, "digest", e.Digest, "method", e.Method)
	}
	collectShares(entries, gauge)
	for _, state := range []catalogue.State{catalogue.Known, catalogue.Loading, catalogue.Resident, catalogue.Failed, catalogue.Draining} {
		gauge("peft_adapters", "Adapter versions by state.", float64(byState[state]), "state", string(state))
	}
	gauge("peft_adapters_pinned", "Adapters kept in memory by request.", float64(pinned))
	if s.catalogue != nil {
		used, budget := s.catalogue.Bytes()
		gauge("peft_adapter_bytes", "Memory of loaded adapter versions, draining ones included.", float64(used))
		gauge("peft_adapter_budget_bytes", "Memory that adapters may take.", float64(budget))
	}
	gauge("peft_kv_blocks", "Key-value blocks by use.", float64(now.BlocksUsed), "use", "running")
	gauge("peft_kv_blocks", "Key-value blocks by use.", float64(now.BlocksCached), "use", "prefix")
	gauge("peft_kv_blocks", "Key-value blocks by use.", float64(max(now.Blocks-now.BlocksUsed-now.BlocksCached, 0)), "use", "free")
	gauge("peft_requests_loading", "Requests whose adapter is being loaded.", float64(now.Loading))
	gauge("peft_draining", "1 while the server shuts down.", flag(s.requests.isLeaving()))
	gauge("peft_build_info", "The version that runs.", 1, "version", s.config.Version, "base", s.config.Name, "precision", s.base.Precision, "activations", s.base.Activations.String(), "adapter_precision", s.config.Precision.String(), "kv_type", s.kvType())
	counter("peft_steps_total", "Steps of the engine.", now.Steps)
}

// residents is how many adapters there is room for in memory at once: as many of
// the largest as the budget holds. Where none has been there it is as many as can
// run at once.
func (s *Server) residents(slots int) int {
	if s.catalogue == nil {
		return 0
	}
	if n := s.catalogue.Capacity(); n > 0 {
		return n
	}
	return slots
}

// send emits one value; labels are names and values in turn.
func send(out chan<- prometheus.Metric, kind prometheus.ValueType, name, help string, v float64, labels []string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
}

// missing are the names that are not in memory.
func missing(names, resident []string) []string {
	var m []string
	for _, n := range names {
		if i := sort.SearchStrings(resident, n); i == len(resident) || resident[i] != n {
			m = append(m, n)
		}
	}
	return m
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

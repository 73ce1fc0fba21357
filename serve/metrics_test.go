package serve

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
)

// Gateways route by these; they say what is, at the moment they are asked.
func TestMetricsOfGateways(t *testing.T) {
	s := newSite(t, nil)
	_, err := s.catalogue.Load(context.Background(), "sql")
	require.NoError(t, err)
	text := s.get(t, "/metrics").body
	for _, line := range []string{
		`vllm:num_requests_running{model_name="base-model"} 0`,
		`vllm:num_requests_waiting{model_name="base-model"} 2`,
		`vllm:kv_cache_usage_perc{model_name="base-model"} 0.25`,
		`vllm:cache_config_info{block_size="32",num_gpu_blocks="16"} 1`,
		`vllm:lora_requests_info{max_lora="4",running_lora_adapters="sql",waiting_lora_adapters="cold"} 1.`,
		`peft_adapters{state="resident"} 1`,
		`peft_adapters{state="known"} 2`,
		`peft_adapter_bytes 1000`,
		`peft_build_info{base="base-model",precision="F32",version="1.2.3"} 1`,
	} {
		require.Contains(t, text, "\n"+line)
	}
	require.NoError(t, s.catalogue.Remove("sql", nil))
	require.Contains(t, s.get(t, "/metrics").body, `running_lora_adapters="",waiting_lora_adapters="cold,sql"`)
}

func TestMetricsByAdapter(t *testing.T) {
	s := newSite(t, nil)
	m := s.server.metrics
	m.Finished("sql", runtime.FinishLength, runtime.Usage{PromptTokens: 5, CachedTokens: 2, CompletionTokens: 7, AdapterDigest: "d1", FirstToken: time.Second}, nil)
	m.Finished("sql", "", runtime.Usage{AdapterDigest: "d2"}, context.Canceled)
	m.Loaded("sql", time.Second, nil)
	m.Loaded("sql", 0, catalogue.ErrBudget) // waited, and was not read
	m.Loaded("sql", 0, context.Canceled)
	m.Waited("sql", 2*time.Second)
	m.Evicted("sql", "d1", 500)
	s.post(t, "/v1/completions", `{"n":0}`)
	text := s.get(t, "/metrics").body
	for _, line := range []string{
		`peft_requests_total{adapter="sql",digest="d1",outcome="length"} 1`,
		`peft_requests_total{adapter="sql",digest="d2",outcome="cancelled"} 1`,
		`peft_completion_tokens_total{adapter="sql",digest="d1"} 7`,
		`peft_cached_prompt_tokens_total{adapter="sql",digest="d1"} 2`,
		`peft_time_to_first_token_seconds_count{adapter="sql",digest="d1"} 1`,
		`vllm:time_to_first_token_seconds_count{model_name="base-model"} 1`,
		`vllm:e2e_request_latency_seconds_count{model_name="base-model"} 1`,
		`vllm:request_success_total{finished_reason="length",model_name="base-model"} 1`,
		`peft_adapter_loads_total{outcome="loaded"} 1`,
		`peft_adapter_loads_total{outcome="failed"} 1`,
		`peft_adapter_loads_total{outcome="cancelled"} 1`,
		`peft_adapter_load_seconds_sum 1`,
		`peft_adapter_load_seconds_count 1`,
		`peft_adapter_wait_seconds_sum 2`,
		`peft_adapter_freed_bytes_total 500`,
		`peft_http_requests_total{method="POST",route="/v1/completions",status="400"} 1`,
	} {
		require.Contains(t, text, "\n"+line)
	}
}

// However many adapters come, the series stay few; what is forgotten makes
// room.
func TestMetricsAreBounded(t *testing.T) {
	s := newSite(t, nil)
	for i := range 3 * maxLabelled {
		s.catalogue.Add(fmt.Sprintf("a%d", i), "/x")
		name := fmt.Sprintf("a%d", i)
		s.server.metrics.Finished(name, runtime.FinishEOS, runtime.Usage{AdapterDigest: "d", Adapters: []string{name}}, nil)
	}
	text := s.get(t, "/metrics").body
	require.Equal(t, maxLabelled+1, strings.Count(text, "\npeft_requests_total{"))
	require.Contains(t, text, fmt.Sprintf(`peft_requests_total{adapter="(other)",digest="",outcome="eos"} %d`, 2*maxLabelled))
	for i := range 3 * maxLabelled {
		_ = s.catalogue.Remove(fmt.Sprintf("a%d", i), nil)
	}
	require.NotContains(t, s.get(t, "/metrics").body, `adapter="a1"`)
	s.server.metrics.Finished("new", runtime.FinishEOS, runtime.Usage{AdapterDigest: "d", Adapters: []string{"new"}}, nil)
	require.Contains(t, s.get(t, "/metrics").body, `peft_requests_total{adapter="new",digest="d",outcome="eos"} 1`)
}

// However many combinations are asked for, adapters keep series of their own;
// those of a combination go with its parts.
func TestCombinationsInMetricsAreBounded(t *testing.T) {
	s := newSite(t, nil)
	finished := func(name string, adapters ...string) {
		s.server.metrics.Finished(name, runtime.FinishEOS, runtime.Usage{AdapterDigest: "of " + name, Adapters: adapters}, nil)
	}
	for i := range 3 * maxLabelled {
		finished(fmt.Sprintf("sql:0.%d,cold:1", i), "cold", "sql")
		finished(fmt.Sprintf("sql:0.%d", i), "sql")
	}
	finished("sql", "sql")
	text := s.get(t, "/metrics").body
	require.Equal(t, maxCombined+2, strings.Count(text, "\npeft_requests_total{"))
	require.Contains(t, text, `peft_requests_total{adapter="sql",digest="of sql",outcome="eos"} 1`)
	require.Contains(t, text, `peft_requests_total{adapter="sql:0.1,cold:1",digest="of sql:0.1,cold:1",outcome="eos"} 1`)
	require.Contains(t, text, fmt.Sprintf(`peft_requests_total{adapter="(other)",digest="",outcome="eos"} %d`, 6*maxLabelled-maxCombined))
	require.NoError(t, s.catalogue.Remove("cold", nil))
	s.get(t, "/metrics")
	text = s.get(t, "/metrics").body
	require.NotContains(t, text, "cold:1")
	require.Contains(t, text, `adapter="sql:0.1"`)
}

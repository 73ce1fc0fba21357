package serve

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
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
		`vllm:lora_requests_info{max_lora="1048",running_lora_adapters="sql",waiting_lora_adapters="cold"} 1.`,
		`peft_adapters{state="resident"} 1`,
		`peft_serve_adapter_info{adapter="sql",digest="digest-of-sql",method="lora"} 1`,
		`peft_adapters{state="known"} 2`,
		`peft_adapter_bytes 1000`,
		`peft_build_info{activations="f32",adapter_precision="stored",base="base-model",kv_type="f32",precision="F32",version="1.2.3"} 1`,
	} {
		require.Contains(t, text, "\n"+line)
	}
	require.NoError(t, s.catalogue.Remove(t.Context(), "sql", nil))
	require.Contains(t, s.get(t, "/metrics").body, `running_lora_adapters="",waiting_lora_adapters="cold,sql"`)
}

func TestMetricsByAdapter(t *testing.T) {
	s := newSite(t, nil)
	m, sql := s.server.metrics, []string{"sql"}
	m.Finished("sql", runtime.FinishLength, runtime.Usage{PromptTokens: 5, CachedTokens: 2, CompletionTokens: 7, AdapterDigest: "d1", Adapters: sql, FirstToken: time.Second}, nil)
	m.Finished("sql", "", runtime.Usage{AdapterDigest: "d2", Adapters: sql}, context.Canceled)
	m.Loaded("sql", time.Second, nil)
	m.Loaded("sql", 0, catalogue.ErrBudget) // waited, and was not read
	m.Loaded("sql", 0, context.Canceled)
	m.Waited("sql", 2*time.Second)
	m.Evicted("sql", "d1", 500)
	s.post(t, "/v1/completions", `{"n":0}`)
	text := s.get(t, "/metrics").body
	for _, line := range []string{
		`peft_requests_total{adapter="sql",outcome="length"} 1`,
		`peft_requests_total{adapter="sql",outcome="cancelled"} 1`,
		`peft_completion_tokens_total{adapter="sql"} 7`,
		`peft_cached_prompt_tokens_total{adapter="sql"} 2`,
		`peft_time_to_first_token_seconds_count{adapter="sql"} 1`,
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
// room, and no combination takes any.
func TestMetricsAreBounded(t *testing.T) {
	s := newSite(t, nil)
	finished := func(name string, adapters ...string) {
		s.server.metrics.Finished(name, runtime.FinishEOS, runtime.Usage{AdapterDigest: "of " + name, Adapters: adapters}, nil)
	}
	for i := range 3 * maxLabelled {
		name := fmt.Sprintf("a%d", i)
		s.catalogue.Add(name, "/x")
		_, err := s.catalogue.Load(context.Background(), name)
		require.NoError(t, err)
		finished(fmt.Sprintf("sql:0.%d,cold:1", i), "cold", "sql")
		finished(fmt.Sprintf("sql:0.%d", i), "sql")
		finished(name, name)
	}
	text := s.get(t, "/metrics").body
	require.Equal(t, maxLabelled+2, strings.Count(text, "\npeft_requests_total{"))
	require.Equal(t, maxLabelled, strings.Count(text, "\npeft_serve_adapter_info{"))
	require.Contains(t, text, fmt.Sprintf(`peft_requests_total{adapter="(other)",outcome="eos"} %d`, 2*maxLabelled))
	require.Contains(t, text, fmt.Sprintf(`peft_requests_total{adapter="(combinations)",outcome="eos"} %d`, 6*maxLabelled))
	for i := range 3 * maxLabelled {
		require.NoError(t, s.catalogue.Remove(t.Context(), fmt.Sprintf("a%d", i), nil))
	}
	require.NotContains(t, s.get(t, "/metrics").body, `adapter="a1"`)
	finished("sql", "sql")
	require.Contains(t, s.get(t, "/metrics").body, `peft_requests_total{adapter="sql",outcome="eos"} 1`)
}

// Two versions of the same weights, one of them draining, are one line.
func TestMetricsOfTwinVersions(t *testing.T) {
	s := newSite(t, func(_ *Config, p *Parts) { p.Catalogue = twins{p.Catalogue} })
	require.Equal(t, 1, strings.Count(s.get(t, "/metrics").body, "\npeft_serve_adapter_info{"))
}

type twins struct{ Catalogue }

func (twins) Entries() []catalogue.Entry {
	twin := catalogue.Entry{Name: "a", Digest: "d", Method: "lora", State: catalogue.Resident}
	draining := twin
	draining.State = catalogue.Draining
	return []catalogue.Entry{twin, draining}
}

// Whatever is published, asked for and removed again, the series are in the end
// those of the beginning.
func TestSeriesGoWithTheirAdapters(t *testing.T) {
	if testing.Short() {
		t.Skip("publishes 600 adapters")
	}
	s := realSite(t)
	config, err := os.ReadFile(filepath.Join(goldens, "adapters", "lora", "adapter_config.json"))
	require.NoError(t, err)
	weights, err := os.ReadFile(filepath.Join(goldens, "adapters", "lora", "adapter_model.safetensors"))
	require.NoError(t, err)
	var digests sync.Map
	publish := func(name string, version int) {
		t.Helper()
		alpha := regexp.MustCompile(`"lora_alpha": *[\d.]+`).ReplaceAllString(string(config), fmt.Sprintf(`"lora_alpha": %d`, version+1))
		got := s.send(t, http.MethodPut, "/v1/adapters/"+name, string(gzipOf(t, tarOf(t,
			entry{name: "adapter_config.json", body: alpha}, entry{name: "adapter_model.safetensors", body: string(weights)}))))
		require.Less(t, got.status, 300, got.body)
		digests.Store(got.header.Get("X-Adapter-Digest"), true)
	}
	ask := func(name string, status int) {
		t.Helper()
		got := s.post(t, "/v1/completions", `{"model":"`+name+`","prompt":"Hi","max_tokens":1,"ignore_eos":true}`)
		require.Equal(t, status, got.status, got.body)
	}
	remove := func(name string) {
		t.Helper()
		require.Equal(t, 204, s.send(t, http.MethodDelete, "/v1/adapters/"+name, "").status)
	}
	one := func(name string) {
		publish(name, 0)
		ask(name, 200)
		ask("no-"+name, 404)
		ask(name+":0.5,lora:1", 200)
		remove(name)
	}
	publish("first", 1)
	one("first") // whatever a route makes on its first use is there now
	s.get(t, "/metrics")
	before := s.series(t)

	const many = 300
	for i := range many {
		publish("versions", i)
		ask("versions", 200)
		ask(fmt.Sprintf("versions:0.%d,lora:1", i+1), 200)
	}
	versions := 0
	digests.Range(func(any, any) bool { versions++; return true })
	require.Equal(t, many, versions)
	require.Less(t, len(s.series(t)), len(before)+40, "a version more is no series more")
	remove("versions")
	var workers sync.WaitGroup
	for w := range 6 {
		workers.Go(func() {
			for i := w; i < many; i += 6 {
				one(fmt.Sprintf("name-%d", i))
				s.get(t, "/metrics")
			}
		})
	}
	workers.Wait()
	require.Equal(t, before, s.series(t))
}

// series are the names and labels of all series.
func (s *site) series(t *testing.T) (all []string) {
	t.Helper()
	for line := range strings.Lines(s.get(t, "/metrics").body) {
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			all = append(all, line[:at])
		}
	}
	slices.Sort(all)
	return all
}

// max_lora is how many adapters fit into memory at once: the budget divided by the
// largest, before one has been loaded the slots, and never fewer than there are.
func TestResidencyLimit(t *testing.T) {
	for _, c := range []struct {
		bytes int
		want  string
	}{{0, "4"}, {1 << 20, "1"}, {1 << 18, "4"}, {100_000, "10"}} {
		known, err := catalogue.New(func(context.Context, catalogue.Source) (catalogue.Adapter, error) {
			return fakeAdapter{digest: "d", bytes: c.bytes}, nil
		}, catalogue.Options{Dir: t.TempDir(), Bytes: 1 << 20})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, known.Close()) })
		if c.bytes > 0 {
			dir := t.TempDir()
			layAdapter(t, "lora", filepath.Join(dir, "x"))
			require.NoError(t, known.Add("x", filepath.Join(dir, "x")))
			_, err = known.Load(t.Context(), "x")
			require.NoError(t, err)
		}
		s := newSite(t, func(_ *Config, p *Parts) { p.Catalogue = known })
		require.Contains(t, s.get(t, "/metrics").body, `vllm:lora_requests_info{max_lora="`+c.want+`"`)
	}
	s := newSite(t, func(_ *Config, p *Parts) { p.Catalogue = crowded{p.Catalogue} })
	require.Contains(t, s.get(t, "/metrics").body, `max_lora="2"`)
}

// crowded has more in memory than the largest of them would have room for.
type crowded struct{ Catalogue }

func (crowded) Capacity() int { return 1 }
func (crowded) Entries() []catalogue.Entry {
	return []catalogue.Entry{{Name: "a", Digest: "d", State: catalogue.Resident}, {Name: "b", Digest: "e", State: catalogue.Resident}}
}

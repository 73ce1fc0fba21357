package serve

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// adminSite is a site with an admin address, and what asks there.
func adminSite(t *testing.T, change func(*Config, *Parts)) (s *site, ask func(path string, headers ...string) answer) {
	t.Helper()
	s = newSite(t, change)
	s.get(t, "/health") // it serves: a shutdown finds it
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.server.ServeAdmin(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.server.Shutdown(ctx)
		require.NoError(t, <-served)
	})
	url := "http://" + listener.Addr().String()
	return s, func(path string, headers ...string) answer {
		t.Helper()
		request, err := http.NewRequest(http.MethodGet, url+path, http.NoBody)
		require.NoError(t, err)
		for i := 0; i < len(headers); i += 2 {
			if request.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
				request.Host = headers[i+1]
			}
		}
		response, err := s.client.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return answer{response.StatusCode, response.Header, string(body)}
	}
}

func TestAdmin(t *testing.T) {
	s, ask := adminSite(t, nil)
	require.JSONEq(t, `{"status":"ok"}`, ask("/health").body)
	require.JSONEq(t, `{"status":"ready"}`, ask("/ready").body)
	require.Contains(t, ask("/metrics").body, "vllm:num_requests_running")
	require.Contains(t, ask("/debug/pprof/goroutine?debug=1").body, "goroutine profile: total")
	require.Contains(t, ask("/debug/pprof/").body, "heap")
	require.Equal(t, 404, ask("/debug/pprof/cmdline").status, "keys may stand there")
	require.Equal(t, 404, ask("/v1/adapters").status)

	cycles := func(path string) int {
		var vars processCounters
		require.NoError(t, json.Unmarshal([]byte(ask(path).body), &vars))
		return vars.GC.Cycles
	}
	before := cycles("/debug/vars")
	require.Greater(t, cycles("/debug/vars?gc=1"), before)
	got := ask("/debug/vars")
	require.Equal(t, 200, got.status)
	var vars processCounters
	require.NoError(t, json.Unmarshal([]byte(got.body), &vars))
	require.Greater(t, vars.Goroutines, 5)
	require.Positive(t, vars.Threads)
	require.Positive(t, vars.Processors)
	require.Positive(t, vars.Heap.Bytes)
	require.Positive(t, vars.Heap.Live)
	require.Greater(t, vars.Heap.Allocated, vars.Heap.Bytes/2)
	require.Greater(t, vars.Memory.Go, vars.Heap.Bytes)
	require.LessOrEqual(t, vars.GC.Median, vars.GC.P99)
	require.LessOrEqual(t, vars.GC.P99, vars.GC.Max)
	if before := vars.Descriptors.Open; before > 0 {
		require.GreaterOrEqual(t, vars.Descriptors.Limit, uint64(before))
		for range 40 {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer listener.Close()
		}
		require.InDelta(t, before+40, countProcess().Descriptors.Open, 20)
	}

	go func() { _ = s.server.requests.drain(context.Background()) }()
	require.Eventually(t, func() bool { return ask("/ready").status == 503 }, 5*time.Second, time.Millisecond)
	require.Equal(t, 200, ask("/health").status)
}

// With keys, metrics need one with the right metrics, and whatever shows the
// inside of the process one with the right admin.
func TestAdminNeedsKeys(t *testing.T) {
	_, ask := adminSite(t, func(c *Config, _ *Parts) { c.Keys = readKeys(t, twoTeams) })
	as := func(name string) []string { return []string{"Authorization", "Bearer " + name + "-secret"} }
	for _, path := range []string{"/metrics", "/debug/vars", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/profile", "/debug/pprof/symbol", "/debug/pprof/trace"} {
		got := ask(path)
		require.Equal(t, 401, got.status, path)
		require.Contains(t, got.body, "invalid_api_key")
		require.Equal(t, 401, ask(path, as("nobody")...).status)
		require.Equal(t, 403, ask(path, as("reader")...).status)
	}
	require.Equal(t, 200, ask("/debug/vars", as("root")...).status)
	require.Equal(t, 200, ask("/metrics", as("scraper")...).status)
	require.Equal(t, 403, ask("/debug/vars", as("scraper")...).status)
	for _, path := range []string{"/health", "/ready"} {
		require.Equal(t, 200, ask(path).status, path)
	}
}

// Without keys it is not opened to other machines.
func TestAdminStaysOnThisMachine(t *testing.T) {
	listener, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer listener.Close()
	s := newSite(t, nil)
	s.get(t, "/health")
	require.ErrorContains(t, s.server.ServeAdmin(listener), "there are no keys")
}

// A web page elsewhere reads nothing, by whatever name it reaches this machine.
func TestAdminRefusesForeignPages(t *testing.T) {
	_, ask := adminSite(t, nil)
	for _, headers := range [][]string{
		{"Origin", "http://evil.example"}, {"Origin", "null"}, {"Origin", "://"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
		{"Host", "evil.example"}, {"Host", "evil.example:80"}, {"Host", "127.0.0.1.evil.example"}, {"Host", "10.1.2.3"},
	} {
		for _, path := range []string{"/debug/vars", "/debug/pprof/heap", "/metrics"} {
			require.Equal(t, 403, ask(path, headers...).status, "%s %v", path, headers)
		}
	}
	for _, headers := range [][]string{
		{"Host", "localhost:9"}, {"Host", "[::1]:9"}, {"Host", "localhost"}, {"Origin", "http://localhost:9", "Host", "localhost:9"}, {"Sec-Fetch-Site", "same-origin"},
	} {
		require.Equal(t, 200, ask("/debug/vars", headers...).status, "%v", headers)
	}
}

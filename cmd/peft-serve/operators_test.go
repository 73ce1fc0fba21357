package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// shared is a buffer for what several write.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// runServer runs the tiny base with those arguments in this process, and returns
// its address and what ends it.
func runServer(t *testing.T, log io.Writer, args ...string) (url string, end func()) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, layBase(filepath.Join(dir, "tiny"), "../../testdata/goldens/llama", "../../serve/testdata"))
	return runServerIn(t, dir, log, args...)
}

// runServerIn is runServer for a folder that has a base and its adapters.
func runServerIn(t *testing.T, dir string, log io.Writer, args ...string) (url string, end func()) {
	t.Helper()
	return startServer(t, console{out: io.Discard, err: log, env: os.Environ(), after: time.After}, append([]string{
		"--base", filepath.Join(dir, "tiny"), "--adapters", filepath.Join(dir, "tiny-adapters"), "--kv-cache", "1MiB", "--threads", "1", "--log-format", "json",
	}, args...)...)
}

// startServer starts a server and waits until it is ready. end tells it to end, as
// a signal does, and waits until it has.
func startServer(t *testing.T, con console, args ...string) (url string, end func()) {
	t.Helper()
	addr := freeAddr(t)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, append([]string{"--addr", addr}, args...), con) }()
	url = "http://" + addr
	require.Eventually(t, func() bool { return isReady(http.DefaultClient, url) }, 20*time.Second, 5*time.Millisecond)
	return url, func() {
		t.Helper()
		http.DefaultClient.CloseIdleConnections()
		stop()
		require.Zero(t, <-ended)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

func send(t *testing.T, method, url, body string, headers ...string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(b)
}

// A collector that OpenTelemetry's variables name gets the spans of a request,
// under the client's trace.
func TestTracesReachACollector(t *testing.T) {
	var mu sync.Mutex
	services, spans := map[string]bool{}, map[string]string{} // by name: the trace
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &request) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range request.ResourceSpans {
			for _, a := range resource.Resource.Attributes {
				services[a.Key+"="+a.Value.GetStringValue()] = true
			}
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					spans[span.Name] = string(span.TraceId)
				}
			}
		}
	}))
	defer sink.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.URL)
	t.Setenv("OTEL_SERVICE_NAME", "team-server")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "60000") // the end sends the rest
	log := &shared{}
	url, end := runServer(t, log)
	trace := strings.Repeat("ab", 16)
	status, body := send(t, http.MethodPost, url+"/v1/completions", `{"model":"lora","prompt":"Hello","max_tokens":4}`, "traceparent", "00-"+trace+"-"+strings.Repeat("cd", 8)+"-01")
	require.Equal(t, 200, status, body)
	end()
	mu.Lock()
	defer mu.Unlock()
	require.True(t, services["service.name=team-server"], services)
	want := string(bytes.Repeat([]byte{0xab}, 16))
	for _, name := range []string{"POST /v1/completions", "load", "queue", "prefill", "decode"} {
		require.Equal(t, want, spans[name], "%s of %v", name, spans)
	}
	require.Contains(t, log.String(), `"trace":"`+trace+`"`)
}

// What OpenTelemetry's variables say is done, or refused by its name.
func TestVariablesOfTraces(t *testing.T) {
	for _, c := range []struct {
		variables string
		exports   bool
		fault     string
	}{
		{"", false, ""},
		{"OTEL_SERVICE_NAME=x", false, ""},
		{"OTEL_TRACES_EXPORTER=otlp", true, ""},
		{"OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1", false, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1", true, ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://a/x OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0.1", true, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1 OTEL_SDK_DISABLED=true", false, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1 OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_PROPAGATORS=tracecontext,baggage", true, ""},
		{"OTEL_TRACES_EXPORTER=zipkin", false, `OTEL_TRACES_EXPORTER: "zipkin"`},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=a:1", false, `OTEL_EXPORTER_OTLP_ENDPOINT: "a:1"`},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://a:1 OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=b", false, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "b"`},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc", false, `OTEL_EXPORTER_OTLP_PROTOCOL: "grpc"`},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", false, `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json"`},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=some", false, `OTEL_TRACES_SAMPLER: "some"`},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=7", false, `OTEL_TRACES_SAMPLER_ARG: "7"`},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_PROPAGATORS=b3", false, `OTEL_PROPAGATORS: "b3"`},
	} {
		exports, err := openTelemetryOf(strings.Fields(c.variables)).exports()
		if c.fault != "" {
			require.ErrorContains(t, err, c.fault)
			continue
		}
		require.NoError(t, err, c.variables)
		require.Equal(t, c.exports, exports, c.variables)
	}
}

// The audit log is a file of JSON lines that goes on after it has been moved
// away and SIGHUP was sent; the admin address ends with the server.
func TestAuditFileAndAdminAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	require.NoError(t, os.WriteFile(path, []byte("what stood there\n"), 0o600))
	admin, log := freeAddr(t), &shared{}
	url, end := runServer(t, log, "--audit-log", path, "--admin-addr", admin, "--access-log", "off")
	lines := func(path string) []string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	pin := func() {
		status, body := send(t, http.MethodPost, url+"/v1/adapters/lora/pin", "")
		require.Equal(t, 200, status, body)
	}
	pin()
	require.Len(t, lines(path), 2)
	require.Contains(t, lines(path)[1], `"msg":"adapter","action":"pin","outcome":"done","adapter":"lora","new_digest":"`)
	require.NoError(t, os.Rename(path, path+".1"))
	pin()
	require.Len(t, lines(path+".1"), 3)
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	require.NoError(t, self.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "audit log: opened anew") }, 10*time.Second, time.Millisecond)
	pin()
	require.Len(t, lines(path), 1)

	status, vars := send(t, http.MethodGet, "http://"+admin+"/debug/vars", "")
	require.Equal(t, 200, status)
	require.Contains(t, vars, `"goroutines":`)
	end()
	require.NotContains(t, log.String(), `"msg":"request"`)
	_, err = net.Dial("tcp", admin)
	require.Error(t, err)
}

// What cannot be logged to, or listened on, is told at the start.
func TestFaultsOfOperators(t *testing.T) {
	for _, c := range []struct {
		args  []string
		fault string
	}{
		{[]string{"--admin-addr", ":9090"}, "--admin-addr: :9090 can be reached from other machines, and there are no keys"},
		{[]string{"--admin-addr", "0.0.0.0:9090"}, "--admin-addr: 0.0.0.0:9090 can be reached"},
		{[]string{"--admin-addr", "here"}, `--admin-addr: "here" is not HOST:PORT`},
		{[]string{"--access-log", "1.5"}, `--access-log: "1.5" is neither a share, from 0 to 1, nor off`},
		{[]string{"--access-log", "some"}, `--access-log: "some"`},
		{[]string{"--audit-log", "/no/such/folder/audit"}, "--audit-log: open /no/such/folder/audit"},
	} {
		var errors bytes.Buffer
		require.NotZero(t, run(context.Background(), append([]string{"--base", "../../testdata/goldens/llama", "--addr", "127.0.0.1:0"}, c.args...), console{out: io.Discard, err: &errors}))
		require.Contains(t, errors.String(), c.fault)
	}
}

package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/runtime"
)

// logged gathers a log's records.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// logger writes to l, down to that level.
func (l *logged) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: level}))
}

// records are those with that message, from the first on; an answer may be read
// before its record is written.
func (l *logged) records(t *testing.T, message string, count int) (all []map[string]any) {
	t.Helper()
	require.Eventually(t, func() bool {
		all = nil
		for line := range strings.Lines(l.String()) {
			var r map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &r))
			if r["msg"] == message {
				all = append(all, r)
			}
		}
		return len(all) >= count
	}, 5*time.Second, time.Millisecond, l.String())
	require.Len(t, all, count, l.String())
	return all
}

func loggedSite(t *testing.T, level slog.Level, change ...func(*Config, *Parts)) (*site, *logged) {
	t.Helper()
	l := &logged{}
	return newSite(t, func(c *Config, p *Parts) {
		c.Log, c.AccessLog = l.logger(level), 1
		for _, f := range change {
			f(c, p)
		}
	}), l
}

func TestAccessLog(t *testing.T) {
	s, log := loggedSite(t, slog.LevelInfo)
	whole := s.post(t, "/v1/completions", `{"model":"sql","prompt":["Hello","Hi"],"n":2,"max_tokens":4}`, "X-Request-Id", "mine",
		"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	streamed := s.post(t, "/v1/generate/stream", `{"inputs":"Hello"}`)
	refused := s.post(t, "/v1/completions", `{"model":"nobody","prompt":"x"}`)
	s.post(t, "/tokenize", `{"inputs":"Hello","model":"cold"}`)
	s.get(t, "/no/such/route")
	s.get(t, "/health")
	s.get(t, "/metrics")
	all := log.records(t, "request", 5)
	with := func(i int, want map[string]any) {
		t.Helper()
		for key, v := range want {
			require.Equal(t, v, all[i][key], "%s of %v", key, all[i])
		}
	}
	with(0, map[string]any{
		"level": "INFO", "request": "mine", "trace": "0af7651916cd43dd8448eb211c80319c", "method": "POST", "route": "/v1/completions", "status": 200.,
		"adapter": "sql", "digest": "digest-of-sql", "client": "127.0.0.1", "completion_tokens": 16., "cached_tokens": 2.,
		"queue_seconds": .003, "first_token_seconds": .005, "bytes": float64(len(whole.body)),
	})
	require.Equal(t, member(t, whole.body, "usage", "prompt_tokens"), text(all[0]["prompt_tokens"]))
	require.Positive(t, all[0]["seconds"])
	with(1, map[string]any{"route": "/v1/generate/stream", "status": 200., "completion_tokens": 9., "bytes": float64(len(streamed.body)), "error": nil, "adapter": nil})
	require.Equal(t, streamed.header.Get("X-Request-Id"), all[1]["request"])
	with(2, map[string]any{"status": 404., "error": "model_not_found", "adapter": nil, "completion_tokens": nil, "bytes": float64(len(refused.body))})
	with(3, map[string]any{"route": "/tokenize", "adapter": "cold", "digest": "digest-of-cold"})
	with(4, map[string]any{"route": nil, "status": 404., "error": "no_route"})
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// Probes are seen at debug level.
func TestAccessLogOfProbes(t *testing.T) {
	s, log := loggedSite(t, slog.LevelDebug)
	s.get(t, "/ready")
	require.Equal(t, "DEBUG", log.records(t, "request", 1)[0]["level"])
}

// A share of the requests is logged, and all that fail; or none at all.
func TestAccessLogIsSampled(t *testing.T) {
	for _, c := range []struct{ share, least, most float64 }{{1, 200, 200}, {.5, 60, 140}, {0, 0, 0}, {-1, 0, 0}} {
		s, log := loggedSite(t, slog.LevelInfo, func(config *Config, _ *Parts) { config.AccessLog = c.share })
		for range 200 {
			s.get(t, "/version")
		}
		s.get(t, "/nowhere")
		if c.share < 0 {
			require.NotContains(t, log.String(), `"msg":"request"`)
			continue
		}
		require.Eventually(t, func() bool { return strings.Contains(log.String(), `"status":404`) }, 5*time.Second, time.Millisecond)
		count := float64(strings.Count(log.String(), `"status":200`))
		require.True(t, c.least <= count && count <= c.most, "%v of 200 at a share of %v", count, c.share)
	}
}

// What goes wrong after a stream has begun is in its line.
func TestAccessLogOfBrokenStreams(t *testing.T) {
	s, log := loggedSite(t, slog.LevelInfo)
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) { return "Hi", "", runtime.ErrNotFinite }
	s.post(t, "/v1/completions", `{"prompt":"x","stream":true}`)
	broken := log.records(t, "request", 1)[0]
	require.Equal(t, []any{200., serverFault, 2.}, []any{broken["status"], broken["error"], broken["completion_tokens"]})

	endless(s)
	request, err := http.NewRequest(http.MethodPost, s.url+"/v1/completions", strings.NewReader(`{"prompt":"x","stream":true,"max_tokens":100}`))
	require.NoError(t, err)
	response, err := s.client.Do(request)
	require.NoError(t, err)
	_, err = response.Body.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, "cancelled", log.records(t, "request", 2)[1]["error"])
}

// A client that leaves before its answer is no fault of the server's, whatever the dialect.
func TestAccessLogOfClientsThatLeave(t *testing.T) {
	for route, body := range map[string]string{
		"/v1/completions": `{"prompt":"a"}`, "/v1/embeddings": `{"input":"a"}`, "/pooling": `{"input":"a"}`,
		"/generate": `{"inputs":"a"}`, "/embed": `{"inputs":"a"}`, "/v2/models/:name/generate": `{"text_input":"a"}`,
	} {
		t.Run(route, func(t *testing.T) {
			s, log := loggedSite(t, slog.LevelInfo)
			s.engine.pause = time.Minute
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			require.NoError(t, err)
			_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", strings.Replace(route, ":name", "base-model", 1), len(body), body)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return s.engine.running.Load() == 1 }, 10*time.Second, time.Millisecond)
			require.NoError(t, conn.Close())
			left := log.records(t, "request", 1)[0]
			require.Equal(t, []any{499., "cancelled", route}, []any{left["status"], left["error"], left["route"]})
			require.NotContains(t, log.String(), "request failed")
		})
	}
}

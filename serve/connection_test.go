package serve

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
)

// endless makes the engine answer for about a minute, a token every 10 ms.
func endless(s *site) {
	s.engine.pause = 10 * time.Millisecond
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) {
		return strings.Repeat("x", 6000), runtime.FinishEOS, nil
	}
}

// A client that goes away frees its slots, whether it was streaming, waiting
// for the whole answer, or waiting for the first token.
func TestDisconnectFreesTheSlot(t *testing.T) {
	for name, body := range map[string]string{
		"stream":       `{"inputs":"a","stream":true,"parameters":{"max_new_tokens":100}}`,
		"whole":        `{"inputs":"a","parameters":{"max_new_tokens":100}}`,
		"before token": `{"inputs":"a","stream":true,"parameters":{"max_new_tokens":100}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			endless(s)
			if name == "before token" {
				s.engine.pause = time.Minute
			}
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			require.NoError(t, err)
			_, err = fmt.Fprintf(conn, "POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return s.engine.running.Load() == 1 }, 10*time.Second, time.Millisecond)
			if name == "stream" {
				_, err = bufio.NewReader(conn).ReadString('\n')
				require.NoError(t, err)
			}
			gone := time.Now()
			require.NoError(t, conn.Close())
			require.Eventually(t, func() bool { return s.engine.running.Load() == 0 }, 10*time.Second, time.Millisecond)
			t.Logf("freed after %s", time.Since(gone).Round(time.Millisecond))
		})
	}
}

// A client that keeps its connection and reads nothing is given up.
func TestUnreadStreamIsGivenUp(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.WriteTimeout = 200 * time.Millisecond })
	endless(s)
	s.engine.pause = 2 * time.Millisecond
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(crowd), crowd)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.engine.ended.Load() > 0 }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return s.engine.running.Load() == 0 }, 10*time.Second, time.Millisecond)
	require.Less(t, s.engine.ended.Load(), int32(8*128), "not all of it was sent")
}

// A client that sends too slowly is told so, whichever part it is that does not
// come, and gives its connection back.
func TestSlowClients(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) {
		c.ReadTimeout, c.UploadTimeout, c.IdleTimeout, c.Adapters = 50*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond, t.TempDir()
	})
	for _, c := range []struct{ sent, says string }{
		{"", "--read-timeout"},
		{"POST /generate HTTP/1.1\r\nHost: local", "--read-timeout"},
		{"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", "--read-timeout"},
		{"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat(" ", 9000), "--read-timeout"},
		{"POST /generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "--read-timeout"},
		{"PUT /v1/adapters/mine HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n\x1f\x8b", "--upload-timeout"},
		{"PUT /v1/adapters/mine HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x1f\x8b\r\n", "--upload-timeout"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		require.NoError(t, err)
		got := ask(t, conn, c.sent)
		require.Equal(t, 408, got.status, "%q: %s", c.sent, got.body)
		require.Contains(t, got.body, c.says)
		require.True(t, got.closes)
		_, err = conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, conn.Close())
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.Equal(t, 200, ask(t, conn, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").status)
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "an idle connection is closed")
}

// A pipelined request behind the one that runs is not a disconnect.
func TestPipeliningIsNoDisconnect(t *testing.T) {
	s := newSite(t, nil)
	s.engine.pause = 10 * time.Millisecond
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	one := "POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n{\"inputs\":\"a\"}"
	_, err = conn.Write([]byte(one + one))
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	for range 2 {
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.NoError(t, response.Body.Close())
	}
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	s := newSite(t, nil)
	s.engine.pause = 100 * time.Millisecond // 9 tokens: 900 ms
	whole, stream := make(chan answer, 1), make(chan answer, 1)
	go func() { whole <- s.post(t, "/generate", `{"inputs":"a"}`) }()
	go func() { stream <- s.post(t, "/generate_stream", `{"inputs":"a"}`) }()
	require.Eventually(t, func() bool { return s.engine.running.Load() == 2 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 200, s.get(t, "/ready").status)

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- s.server.Shutdown(ctx) }()
	require.Eventually(t, func() bool { return s.get(t, "/ready").status == 503 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 200, s.get(t, "/health").status)
	refused := s.post(t, "/v1/completions", `{"prompt":"a"}`)
	require.Equal(t, 503, refused.status)
	require.Equal(t, "1", refused.header.Get("Retry-After"))
	require.Contains(t, refused.body, `"code":"draining"`)

	require.Contains(t, (<-whole).body, "Hi there.")
	require.Contains(t, (<-stream).body, `"generated_text":"Hi there."`)
	require.NoError(t, <-down)
}

func TestShutdownDeadline(t *testing.T) {
	s := newSite(t, nil)
	endless(s)
	whole, stream := make(chan answer, 1), make(chan answer, 1)
	go func() { whole <- s.post(t, "/generate", `{"inputs":"a"}`) }()
	go func() { stream <- s.post(t, "/v1/completions", `{"prompt":"a","stream":true,"max_tokens":100}`) }()
	require.Eventually(t, func() bool { return s.engine.running.Load() == 2 }, 10*time.Second, time.Millisecond)
	time.Sleep(30 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, s.server.Shutdown(ctx), "requests were given up")
	require.Equal(t, 503, (<-whole).status)
	events := (<-stream).events()
	require.Contains(t, events[len(events)-2], `"code":"draining"`)
	require.Zero(t, s.engine.running.Load())
}

// Time runs out for what waits and for what runs, and ends both.
func TestRequestTimeout(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Limits.Timeout = 50 * time.Millisecond })
	endless(s)
	got := s.post(t, "/v1/completions", `{"prompt":"a","max_tokens":100}`)
	require.Equal(t, 504, got.status, got.body)
	require.Contains(t, got.body, `"code":"timeout"`)
	require.Contains(t, got.body, "--request-timeout")
	require.Equal(t, 504, s.post(t, "/generate", `{"inputs":"a"}`).status)
	events := s.post(t, "/v1/completions", `{"prompt":"a","stream":true,"max_tokens":100}`).events()
	require.Contains(t, events[len(events)-2], `"code":"timeout"`)
	require.Eventually(t, func() bool { return s.engine.running.Load() == 0 }, 10*time.Second, time.Millisecond)
}

// A request of more choices than the queue has room for waits for itself, and
// is refused only when others fill the queue.
func TestChoicesBeyondTheQueue(t *testing.T) {
	s := newSite(t, nil)
	s.engine.most = 3
	got := s.post(t, "/v1/completions", `{"prompt":"a","n":20}`)
	require.Equal(t, 200, got.status, got.body)
	require.Contains(t, got.body, `"index":19`)
	require.Equal(t, 429, func() int {
		s.engine.running.Add(3)
		defer s.engine.running.Add(-3)
		return s.post(t, "/v1/completions", `{"prompt":"a","n":20}`).status
	}())
}

func TestAPIKeys(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys = plainKeys(t, "first-key", "second-key") })
	for key, status := range map[string]int{"": 401, "Bearer first-ke": 401, "first-key": 401, "Bearer first-key": 200, "bearer second-key": 200} {
		got := s.post(t, "/v1/completions", `{"prompt":"a"}`, "Authorization", key)
		require.Equal(t, status, got.status, key)
		if status == 401 {
			require.Contains(t, got.body, `"code":"invalid_api_key"`)
			require.Equal(t, "Bearer", got.header.Get("Www-Authenticate"))
		}
	}
	for _, path := range []string{"/health", "/ready", "/metrics"} {
		require.Equal(t, 200, s.get(t, path).status, path)
	}
	require.Equal(t, 401, s.get(t, "/version").status)
}

// panicking is a catalogue whose listing panics.
type panicking struct{ Catalogue }

func (panicking) List() []catalogue.Entry { panic("boom") }

// A panic in a handler costs its request alone.
func TestPanicIsAnAnswer(t *testing.T) {
	s := newSite(t, func(_ *Config, p *Parts) { p.Catalogue = panicking{p.Catalogue} })
	got := s.get(t, "/v1/adapters")
	require.Equal(t, 500, got.status)
	require.Contains(t, got.body, "the server failed inside: boom")
	require.Equal(t, 200, s.get(t, "/health").status)
}

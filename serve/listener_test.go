package serve

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models"
)

// scarce is a listener whose system lacks something at every other accept.
type scarce struct {
	net.Listener
	lacks []error
	calls int
}

func (l *scarce) Accept() (net.Conn, error) {
	l.calls++
	if n := l.calls / 2; l.calls%2 == 1 && n < len(l.lacks) {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", l.lacks[n])}
	}
	return l.Listener.Accept()
}

// lines is a log that may be written to from everywhere.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// Accepting goes on when descriptors, memory or a connection are gone, with one
// line in the log, and ends with the listener.
func TestAcceptSurvives(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var log lines
	short := &scarce{Listener: inner, lacks: []error{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, syscall.ENOBUFS, syscall.ENOMEM}}
	s := &Server{config: Config{MaxConnections: 10, WriteTimeout: time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil))}}
	l := s.listen(short)
	for range short.lacks {
		conn, err := net.Dial("tcp", inner.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		accepted, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, accepted.Close())
		require.Error(t, accepted.Close())
	}
	require.Zero(t, l.open.Load(), "a connection gives its place back once")
	require.Equal(t, 1, log.count("no connection can be accepted"))
	require.Contains(t, log.text.String(), "too many open files")

	short.lacks, short.calls = []error{syscall.EMFILE, syscall.EBADF}, 0
	require.NoError(t, l.Close())
	_, err = l.Accept() // EMFILE, and no waiting, since it is closed
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = l.Accept()
	require.ErrorIs(t, err, syscall.EBADF, "a listener that is broken is not tried again")
}

// Beyond the most connections there is an answer, and a place once one leaves.
func TestMaxConnections(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.MaxConnections = 2 })
	address := strings.TrimPrefix(s.url, "http://")
	var idle []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer conn.Close()
		idle = append(idle, conn)
		require.Equal(t, http.StatusOK, ask(t, conn, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").status)
	}
	for range 3 * atTheDoor {
		got := s.get(t, "/health")
		require.Equal(t, http.StatusServiceUnavailable, got.status)
		require.Equal(t, "1", got.header.Get("Retry-After"))
		require.True(t, json.Valid([]byte(got.body)))
		require.Contains(t, got.body, `"code":"too_many_connections"`)
		require.Contains(t, got.body, "--max-connections")
	}
	// Those who send nothing are not waited for.
	var silent []net.Conn
	for range 3 * atTheDoor {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer conn.Close()
		silent = append(silent, conn)
	}
	for _, conn := range silent {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		text, err := io.ReadAll(conn)
		require.NoError(t, err, "closed in the end")
		require.Contains(t, string(text), "too_many_connections")
	}
	require.Equal(t, http.StatusOK, ask(t, idle[0], "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").status)
	require.NoError(t, idle[1].Close())
	require.Eventually(t, func() bool {
		response, err := s.client.Get(s.url + "/health")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
		return response.StatusCode == http.StatusOK
	}, 10*time.Second, 10*time.Millisecond)
}

// The most connections have to leave files for the rest.
func TestConnectionsAndDescriptors(t *testing.T) {
	require.NoError(t, CheckConnections(1))
	require.ErrorContains(t, CheckConnections(descriptors()), "leaves room for")
	require.NoError(t, CheckConnections(Config{}.withDefaults().MaxConnections))
}

// A server that is shut down before it serves ends.
func TestShutdownBeforeServe(t *testing.T) {
	text := testTokenizer(t)
	s, err := New(Parts{
		Engine: &fakeEngine{text: text}, Tokenizer: text, Metrics: NewMetrics("base"), Base: &models.Config{Architecture: &models.Architecture{}, Vocabulary: 1, Context: 1},
	}, Config{Name: "base"})
	require.NoError(t, err)
	require.NoError(t, s.Shutdown(t.Context()))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, s.Serve(l))
}

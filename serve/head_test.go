package serve

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rawAnswer is an answer as it came over a connection.
type rawAnswer struct {
	answer
	closes bool // the connection
}

// ask sends text and returns the answer.
func ask(t *testing.T, conn net.Conn, text string) rawAnswer {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	return reply(t, conn)
}

func reply(t *testing.T, conn net.Conn) rawAnswer {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return rawAnswer{answer{status: response.StatusCode, header: response.Header, body: string(body)}, response.Close}
}

// What can be refused by the head is refused before any of the body has come,
// and without asking for it; the connection ends.
func TestRefusedByTheHead(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) {
		c.Keys, c.ReadOnly = plainKeys(t, "first-key"), true
		c.Limits.UploadLimit = 1 << 30
	})
	address := strings.TrimPrefix(s.url, "http://")
	const key = "Authorization: Bearer first-key\r\n"
	for _, c := range []struct {
		line, head string
		status     int
		says       string
	}{
		{"POST /nowhere", key, 404, "there is no /nowhere here"},
		{"POST /v1/models", key, 405, "no_method"},
		{"BREW /v1/models", key, 501, "no_method"},
		{"QUERY /v1/models", key, 405, "no_method"},
		{"POST /v1/completions", "", 401, "invalid_api_key"},
		{"POST /v1/completions", "Authorization: Bearer second\r\n", 401, "invalid_api_key"},
		{"PUT /v1/adapters/mine", key, 403, "read_only"},
		{"POST /v1/completions", key, 413, "body_too_large"},
		{"POST /generate", key, 413, "larger than"},
		{"GET /v1/models", key, 413, "body_too_large"},
		{"POST /v1/completions", key + "Origin: http://evil.example\r\n", 403, "origin_not_allowed"},
		{"POST /v1/completions", key + "Sec-Fetch-Site: cross-site\r\n", 403, "origin_not_allowed"},
	} {
		for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
			for _, protocol := range []string{"HTTP/1.1", "HTTP/1.0"} {
				conn, err := net.Dial("tcp", address)
				require.NoError(t, err)
				got := ask(t, conn, c.line+" "+protocol+"\r\nHost: localhost\r\n"+c.head+expect+"Content-Length: 100000000\r\n\r\n")
				require.Equal(t, c.status, got.status, "%s %s%s: %s", c.line, c.head, expect, got.body)
				require.Contains(t, got.body, c.says)
				require.True(t, got.closes, "the connection ends")
				_, err = conn.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
				require.NoError(t, conn.Close())
			}
		}
	}
	writable := newSite(t, func(c *Config, _ *Parts) { c.Adapters = t.TempDir() })
	for name, status := range map[string]int{"base-model": 400, ".hidden": 400, "mine": 413} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(writable.url, "http://"))
		require.NoError(t, err)
		got := ask(t, conn, "PUT /v1/adapters/"+name+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\n")
		require.Equal(t, status, got.status, name)
		require.NoError(t, conn.Close())
	}
	for _, head := range []string{"Transfer-Encoding: chunked\r\n", "Content-Length: 9000\r\n", "Content-Length: 9000\r\nContent-Encoding: gzip\r\n" + key} {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		got := ask(t, conn, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"+head+"\r\n")
		require.Contains(t, []int{401, 415}, got.status, head)
		require.NoError(t, conn.Close())
	}
}

// A client that asks first is told to go on if nothing is wrong.
func TestExpectContinue(t *testing.T) {
	s := newSite(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	const body = `{"inputs":"a"}`
	for range 2 {
		got := ask(t, conn, fmt.Sprintf("POST /generate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body)))
		require.Equal(t, http.StatusContinue, got.status)
		require.Equal(t, http.StatusOK, ask(t, conn, body).status)
	}
}

// A client that sends its body without waiting for the answer sees the answer,
// whether the head was refused or what came first of the body.
func TestAnswerBeforeTheBody(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Limits.BodyLimit = 1000; c.Adapters = t.TempDir() })
	for _, head := range []string{
		"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: %[1]d\r\n\r\n",
		"POST /generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%[1]x\r\n",
		"PUT /v1/adapters/mine HTTP/1.1\r\nHost: localhost\r\nContent-Length: %[1]d\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		require.NoError(t, err)
		const size = 48 << 20
		_, err = fmt.Fprintf(conn, head, size)
		require.NoError(t, err)
		block := make([]byte, 1<<20)
		for range size >> 20 {
			_, err = conn.Write(block)
			require.NoError(t, err, head)
		}
		got := reply(t, conn)
		require.GreaterOrEqual(t, got.status, 400)
		require.True(t, got.closes)
		require.NoError(t, conn.Close())
	}
}

// A request that is wrong but whole leaves its connection open.
func TestFailureKeepsTheConnection(t *testing.T) {
	s := newSite(t, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	for _, body := range []string{`{"inputs":`, `{"inputs":"a","parameters":{"adapter_id":"nobody"}}`} {
		got := ask(t, conn, fmt.Sprintf("POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		require.GreaterOrEqual(t, got.status, 400)
		require.False(t, got.closes)
	}
}

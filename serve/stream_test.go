package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/runtime"
)

// streams are the ways to ask for a stream.
var streams = []struct{ path, body string }{
	{"/generate_stream", `{"inputs":"a"}`},
	{"/v1/completions", `{"prompt":"a","stream":true}`},
	{"/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"stream":true}`},
	{"/v2/models/base-model/generate_stream", `{"text_input":"a"}`},
}

// A stream's headers come before its first token, and comments while there is
// none; readers of events pass over them.
func TestStreamBeginsAtOnce(t *testing.T) {
	for _, c := range streams {
		s := newSite(t, func(c *Config, _ *Parts) { c.KeepAlive = time.Millisecond })
		s.engine.pause = time.Hour
		response, err := s.client.Post(s.url+c.path, "application/json", strings.NewReader(c.body))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Equal(t, "text/event-stream; charset=utf-8", response.Header.Get("Content-Type"))
		lines := bufio.NewReader(response.Body)
		for range 3 {
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, ": keep-alive\n", line)
			line, err = lines.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "\n", line)
		}
		require.NoError(t, response.Body.Close())
		require.Eventually(t, func() bool { return s.engine.running.Load() == 0 }, 5*time.Second, time.Millisecond)
	}
}

// The time to read is each event's, not the stream's.
func TestStreamOutlastsTheWriteTimeout(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.WriteTimeout = 100 * time.Millisecond })
	s.engine.pause = 50 * time.Millisecond // 9 tokens
	require.Contains(t, s.post(t, "/generate_stream", `{"inputs":"a"}`).body, `"generated_text":"Hi there."`)
}

// Without a time for them there are no comments.
func TestStreamWithoutComments(t *testing.T) {
	s := newSite(t, nil)
	s.engine.pause = 20 * time.Millisecond
	for _, c := range streams {
		got := s.post(t, c.path, c.body)
		require.NotEmpty(t, got.events())
		require.NotContains(t, got.body, "\n:")
	}
}

// HTTP/1.0 knows no chunks: a stream is what comes until the connection ends.
func TestStreamOverHTTP10(t *testing.T) {
	s := newSite(t, nil)
	for _, c := range streams {
		for _, keep := range []string{"", "Connection: keep-alive\r\n"} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			require.NoError(t, err)
			_, err = fmt.Fprintf(conn, "POST %s HTTP/1.0\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s", c.path, keep, len(c.body), c.body)
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
			text, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			head, body, _ := strings.Cut(string(text), "\r\n\r\n")
			require.Contains(t, head, "200 OK")
			require.Contains(t, head, "Connection: close")
			require.Contains(t, head, "X-Request-Id: ")
			require.NotContains(t, strings.ToLower(head), "transfer-encoding")
			whole := s.post(t, c.path, c.body)
			require.True(t, strings.HasPrefix(body, "data: "), body)
			require.Len(t, answer{body: body}.events(), len(whole.events()))
			require.NotContains(t, body, "\r\n")
		}
	}
	require.Eventually(t, func() bool { return s.engine.running.Load() == 0 }, 5*time.Second, time.Millisecond)
}

// A stream over HTTP/1.0 whose client leaves is given up as any other.
func TestDisconnectOverHTTP10(t *testing.T) {
	s := newSite(t, nil)
	endless(s)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	body := `{"inputs":"a","parameters":{"max_new_tokens":100}}`
	_, err = fmt.Fprintf(conn, "POST /generate_stream HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return s.engine.running.Load() == 0 }, 5*time.Second, time.Millisecond)
}

// crowd asks for 1,024 answers of 126 tokens in one stream, more than the
// sockets' buffers and the backlog hold.
const crowd = `{"prompt":["a","a","a","a","a","a","a","a"],"n":128,"max_tokens":126,"logprobs":1,"stream":true}`

// A client that reads nothing is given up as soon as much waits for it, long
// before its time to read is over.
func TestUnreadStreamIsBounded(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/1.0"} {
		s := newSite(t, func(c *Config, _ *Parts) { c.WriteTimeout = time.Hour })
		endless(s)
		s.engine.pause, s.server.patience = time.Millisecond, 10*time.Millisecond
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
		_, err = fmt.Fprintf(conn, "POST /v1/completions %s\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", protocol, len(crowd), crowd)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return s.engine.ended.Load() > 0 && s.engine.running.Load() == 0 }, 30*time.Second, time.Millisecond)
		require.Less(t, s.engine.ended.Load(), int32(8*128), "not all of it was made")
		require.Eventually(t, s.idle, 10*time.Second, time.Millisecond, "nobody waits for the client any more")
	}
}

// idle reports whether no request is on its way.
func (s *site) idle() bool {
	s.server.requests.mu.Lock()
	defer s.server.requests.mu.Unlock()
	return s.server.requests.running == 0
}

// A client that reads gets everything, though the engine is much faster than the
// stream.
func TestFastEngine(t *testing.T) {
	s := newSite(t, nil)
	endless(s)
	s.engine.pause = 0
	got := s.post(t, "/v1/completions", crowd)
	require.Equal(t, 8*128, strings.Count(got.body, `"finish_reason":"length"`))
	require.Contains(t, got.body, "[DONE]")
}

// A whole answer's backlog is not bounded; a stream's is while the client keeps
// the server waiting.
func TestBacklog(t *testing.T) {
	big := choiceEvent{Event: runtime.Event{Text: strings.Repeat("x", mostUnread)}}
	b := newBacklog()
	for range 3 {
		require.NoError(t, b.put(big))
	}
	for range 3 {
		_, ok := b.take()
		require.True(t, ok)
	}
	require.Zero(t, b.bytes)

	waited := time.Hour
	b.bound(func() time.Duration { return waited }, time.Second)
	for range 3 {
		require.NoError(t, b.put(big))
	}
	waited += time.Second
	require.NoError(t, b.put(big), "not longer than it may")
	for range 3 {
		e, ok := b.take()
		require.True(t, ok)
		require.Equal(t, big.Text, e.Text)
	}
	waited += time.Hour // and less waits again
	_, ok := b.take()
	require.True(t, ok)
	require.NoError(t, b.put(big))
	require.NoError(t, b.put(big))
	waited += time.Second + 1
	require.ErrorIs(t, b.put(choiceEvent{}), errUnread)
	_, ok = b.take()
	require.False(t, ok, "what waited is gone")
}

// spoiling is an engine whose last events lack what writers read.
type spoiling struct{ Engine }

func (e spoiling) Submit(ctx context.Context, r *runtime.Request) (Stream, error) {
	stream, err := e.Engine.Submit(ctx, r)
	return spoilt{stream}, err
}

type spoilt struct{ Stream }

func (s spoilt) Next(ctx context.Context) (runtime.Event, error) {
	e, err := s.Stream.Next(ctx)
	e.Usage = nil
	return e, err
}

// A panic in a stream costs its request alone, and its client is told.
func TestPanicInAStream(t *testing.T) {
	var log logged
	s := newSite(t, func(c *Config, p *Parts) {
		p.Engine = spoiling{p.Engine}
		c.Log = log.logger(slog.LevelError)
	})
	got := s.post(t, "/generate_stream", `{"inputs":"a"}`)
	require.Equal(t, 200, got.status)
	events := got.events()
	require.Contains(t, events[len(events)-1], `"error":"the server failed inside: runtime error`)
	require.Contains(t, log.records(t, "panic in a handler", 1)[0]["stack"], "tgi_generate.go")
	require.Equal(t, 200, s.get(t, "/health").status)
	require.Eventually(t, func() bool { return s.engine.running.Load() == 0 }, 5*time.Second, time.Millisecond)
}

// What is echoed of a prompt that is cut is what is left of it.
func TestEchoOfACutPrompt(t *testing.T) {
	s := newSite(t, nil)
	for _, prompt := range []string{`"abcdef"`, `["abcdef","ef"]`} {
		body := `{"prompt":` + prompt + `,"truncate_prompt_tokens":2,"echo":true,"logprobs":1,"max_tokens":1`
		whole := s.post(t, "/v1/completions", body+`}`)
		require.Equal(t, 200, whole.status, whole.body)
		require.Equal(t, `"efH"`, member(t, whole.body, "choices", "0", "text"))
		require.JSONEq(t, `["e","f","H"]`, member(t, whole.body, "choices", "0", "logprobs", "tokens"))
		require.JSONEq(t, `[0,1,2]`, member(t, whole.body, "choices", "0", "logprobs", "text_offset"))
		text, tokens := "", 0
		for _, event := range s.post(t, "/v1/completions", body+`,"stream":true}`).events() {
			if event != "[DONE]" && member(t, event, "choices", "0", "index") == "0" {
				var chunk completionsAnswer
				require.NoError(t, json.Unmarshal([]byte(event), &chunk))
				text += chunk.Choices[0].Text
				tokens += len(chunk.Choices[0].Logprobs.Tokens)
			}
		}
		require.Equal(t, "efH", text)
		require.Equal(t, 3, tokens)
	}
	got := s.post(t, "/v1/completions", `{"prompt":"abc","truncate_prompt_tokens":90,"echo":true,"max_tokens":1}`)
	require.Equal(t, `"abcH"`, member(t, got.body, "choices", "0", "text"))
}

package serve

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/runtime"
)

// canary is what a client writes.
const canary = "Sixpence the canary's secret"

// No text of a client is in a log, whatever its level, in a trace or in the
// metrics: not its prompts, nor what it got, nor a name that is none, nor what
// cannot be read. What a client may say there are ids: X-Request-Id and
// traceparent.
func TestNoTextOfClientsIsTold(t *testing.T) {
	log := &logged{}
	tracer, spans := newTracer()
	dir := t.TempDir()
	s := newSite(t, func(c *Config, p *Parts) {
		c.Log, c.AccessLog, c.Adapters = log.logger(slog.LevelDebug), 1, dir
		p.Tracer = tracer
	})
	answers := "fine"
	s.engine.script = func(*runtime.Request) (string, runtime.Finish, error) {
		if answers == "fails" {
			return canary, "", runtime.ErrNotFinite
		}
		return canary, runtime.FinishEOS, nil
	}
	text := `"` + canary + `"`
	bodies := []string{
		`{"prompt":` + text + `}`, `{"prompt":["a",` + text + `],"echo":true,"logprobs":1}`, `{"prompt":"a","stop":["` + canary + ` stops"]}`, `{"prompt":"a","stream":true,"stop":"` + canary + ` stops"}`,
		`{"prompt":` + text + `,"stream":true}`, `{"prompt":"a","model":` + text + `}`, `{"prompt":"a","user":` + text + `}`, `{"prompt":"a","suffix":` + text + `}`,
		`{"prompt":"a",` + text + `:1}`, `{"prompt":"a","max_tokens":` + text + `}`, `{"prompt":` + text, text, canary,
		`{"messages":[{"role":"user","content":` + text + `}]}`, `{"messages":[{"role":"user","content":` + text + `}],"stream":true}`,
		`{"messages":[{"role":` + text + `,"content":"a"}]}`, `{"messages":[{"role":"user","content":[{"type":"text","text":` + text + `}]}]}`,
		`{"messages":[{"role":"user","content":"a","name":` + text + `}]}`, `{"messages":[{"role":"user","content":"a",` + text + `:1}]}`,
		`{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"a":` + text + `}}`,
		`{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":` + text + `}}]}`,
		`{"inputs":` + text + `}`, `{"inputs":` + text + `,"stream":true}`, `{"inputs":"a","parameters":{"stop":["` + canary + ` stops"]}}`, `{"inputs":"a","parameters":{"adapter_id":` + text + `}}`,
		`{"inputs":"a","parameters":{"merged_adapters":{"ids":[` + text + `]}}}`, `{"inputs":"a","parameters":{` + text + `:1}}`,
		`{"text_input":` + text + `}`, `{"text_input":"a","id":` + text + `}`, `{"text_input":"a","parameters":{"stop":["` + canary + ` stops"]}}`,
		`{"input":` + text + `}`, `{"input":["a",` + text + `]}`, `{"input":"a","model":` + text + `}`, `{"input":"a","prompt_name":` + text + `}`, `{"input":"a","encoding_format":` + text + `}`,
		`{"text_1":` + text + `,"text_2":` + text + `}`, `{"query":` + text + `,"documents":[` + text + `]}`, `{"query":"a","texts":[` + text + `]}`, `{"inputs":"a","truncation_direction":` + text + `}`,
		`{"inputs":{"source_sentence":` + text + `,"sentences":[` + text + `]}}`, `{"tokens":[` + text + `]}`, `{"ids":[1],"model":` + text + `}`,
		`{"digest":` + text + `}`, `{"digest":` + text + `,"percent":5}`, `{"lora_name":` + text + `,"lora_path":"/x"}`, `{"lora_name":"a","lora_path":"/` + canary + `"}`, `{"lora_name":"a","lora_path":"hf://` + canary + `"}`,
		string(gzipOf(t, tarOf(t, entry{name: canary, body: canary}))),
		string(gzipOf(t, tarOf(t, entry{name: "adapter_config.json", body: canary}, entry{name: canary, body: canary}))),
		string(gzipOf(t, tarOf(t, entry{name: "../" + canary, body: canary}))),
	}
	escaped := strings.NewReplacer(" ", "%20", "'", "%27").Replace(canary)
	for _, answers = range []string{"fine", "fails"} {
		for _, r := range s.server.routes() {
			path := strings.NewReplacer(":name", "sql", "*", "sql").Replace(r.path)
			named := strings.NewReplacer(":name", escaped, "*", escaped).Replace(r.path)
			for _, body := range bodies {
				s.send(t, r.method, path, body)
			}
			if answers != "fine" {
				continue
			}
			s.send(t, r.method, named, bodies[0])
			s.send(t, r.method, path+"?adapter="+escaped, bodies[0])
			s.send(t, r.method, path+"?"+escaped+"=1", bodies[0])
			s.send(t, r.method, path+"/"+escaped, bodies[0])
			for _, header := range []string{
				"X-Adapter", "X-Session-Id", "Authorization", "Content-Type", "Content-Encoding", "X-Gateway-Inference-Fairness-Id", "X-Request-Id", "traceparent", "tracestate",
				"User-Agent", "Origin", "Cookie", "X-Forwarded-For", "Accept", "Expect",
			} {
				if s.client.CloseIdleConnections(); header == "Expect" && r.method == http.MethodGet {
					continue
				}
				s.send(t, r.method, path, bodies[0], header, canary)
			}
		}
	}
	s.send(t, "BREW", "/"+escaped, "")
	for _, head := range []string{canary, "GET /" + canary + " HTTP/1.1", "GET / HTTP/1.1\r\n" + canary, "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: " + canary, "GET /\x00 HTTP/1.1\r\nHost: " + canary} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		require.NoError(t, err)
		_, err = conn.Write([]byte(head + "\r\n\r\n"))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, conn) // until the server has had enough
		require.NoError(t, conn.Close())
	}
	var traces strings.Builder
	for _, span := range spans.GetSpans() {
		traces.WriteString(span.Name + span.Status.Description + span.SpanContext.TraceState().String())
		for _, a := range span.Attributes {
			traces.WriteString(string(a.Key) + a.Value.String())
		}
	}
	require.Greater(t, strings.Count(log.String(), "\n"), 1000, "there is something to look into")
	require.Greater(t, traces.Len(), 10_000)
	for name, told := range map[string]string{"log": log.String(), "traces": traces.String(), "metrics": s.get(t, "/metrics").body} {
		for line := range strings.Lines(told) {
			for _, form := range []string{"Sixpence", "the canary", escaped} {
				require.NotContains(t, line, form, name)
			}
		}
	}
}

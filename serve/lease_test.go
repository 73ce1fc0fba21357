package serve

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/runtime"
)

// interrupted has something happen whenever an adapter has been resolved, or a
// prompt is made.
type interrupted struct {
	Engine
	Catalogue
	resolved, prepared func()
}

// into puts it into a site.
func (i *interrupted) into(_ *catalogue.Options, p *Parts) {
	if p.Engine != nil {
		i.Engine, i.Catalogue = p.Engine, p.Catalogue
		p.Engine, p.Catalogue = i, i
	}
}

func (i *interrupted) Acquire(name, session string) (*catalogue.Lease, error) {
	lease, err := i.Catalogue.Acquire(name, session)
	if i.resolved != nil {
		i.resolved()
	}
	return lease, err
}

func (i *interrupted) Submit(ctx context.Context, r *runtime.Request) (Stream, error) {
	if i.prepared != nil {
		i.prepared()
	}
	return i.Engine.Submit(ctx, r)
}

// A hot swap in the middle of a request shows in the next one alone: template,
// tokenizer and weights are those of one version.
func TestSwapInMidRequest(t *testing.T) {
	i := &interrupted{}
	s := realSite(t, i.into)
	upload := func(weights, template, tokenizer string) {
		t.Helper()
		files := []entry{{name: "chat_template.jinja", body: template}}
		if tokenizer != "" {
			files = append(files, entry{name: "tokenizer.json", body: tokenizer})
		}
		for _, name := range []string{"adapter_config.json", "adapter_model.safetensors"} {
			text, err := os.ReadFile(filepath.Join(goldens, "adapters", weights, name))
			require.NoError(t, err)
			files = append(files, entry{name: name, body: string(text)})
		}
		got := s.send(t, http.MethodPut, "/v1/adapters/x", string(gzipOf(t, tarOf(t, files...))))
		require.Less(t, got.status, 300, got.body)
	}
	first := func() { upload("lora", "Q: {{ messages[0].content }} A:", "") }
	second := func() { upload("dora", "{{ messages[0].content }}! {{ messages[0].content }}", swapped(t, "H", "o")) }
	type outcome struct{ digest, text, tokens string }
	ask := func() outcome {
		t.Helper()
		got := s.chat(t, "x")
		require.Equal(t, 200, got.status, got.body)
		return outcome{got.header.Get("X-Adapter-Digest"), member(t, got.body, "choices", "0", "message", "content"), member(t, got.body, "usage", "prompt_tokens")}
	}
	second()
	after := ask()
	first()
	before := ask()
	require.NotEqual(t, before.digest, after.digest)
	require.NotEqual(t, before.text, after.text)
	require.NotEqual(t, before.tokens, after.tokens)
	for _, at := range []*func(){&i.resolved, &i.prepared} {
		first()
		*at = func() { *at = nil; second() }
		require.Equal(t, before, ask())
		require.Nil(t, *at, "it came to that")
		require.Equal(t, after, ask())
	}
}

// A request resolves its adapter once, whatever the route, and has one lease on
// it for all of its choices, until the last token.
func TestOneLeaseARequest(t *testing.T) {
	s := newSite(t, nil)
	for _, c := range []struct{ path, body string }{
		{"/v1/completions", `{"model":"sql","prompt":["a","b"],"n":2,"logit_bias":{"3":1}}`},
		{"/v1/chat/completions", `{"model":"sql","n":2,"messages":[{"role":"user","content":"a"}]}`},
		{"/v1/generate?adapter=sql", `{"inputs":"a"}`},
		{"/generate_stream", `{"inputs":"a","parameters":{"adapter_id":"sql"}}`},
		{"/v2/models/sql/generate", `{"text_input":"a"}`},
		{"/tokenize", `{"model":"sql","prompt":"a"}`},
		{"/detokenize", `{"model":"sql","tokens":[3]}`},
	} {
		before := s.catalogue.resolved.Load()
		got := s.post(t, c.path, c.body)
		require.Equal(t, 200, got.status, got.body)
		require.EqualValues(t, 1, s.catalogue.resolved.Load()-before, c.path)
	}

	i := &interrupted{}
	real := realSite(t, i.into)
	references := func() string { return member(t, real.get(t, "/v1/adapters/lora").body, "references") }
	var during []string
	i.prepared = func() { during = append(during, references()) }
	require.Equal(t, 200, real.post(t, "/v1/chat/completions", `{"model":"lora","n":3,"max_tokens":4,"messages":[{"role":"user","content":"Hello"}]}`).status)
	require.Equal(t, []string{"1", "1", "1"}, during)
	require.Eventually(t, func() bool { return references() == "0" }, 10*time.Second, time.Millisecond)
	for _, bad := range []string{`{"model":"lora","messages":[]}`, `{"model":"lora","messages":[{"role":"user","content":"a"}],"max_tokens":100000}`,
		`{"model":"lora","messages":[{"role":"user","content":"a"}],"stop_token_ids":[99999]}`} {
		require.Equal(t, 400, real.post(t, "/v1/chat/completions", bad).status)
		require.Equal(t, "0", references(), "what is refused holds nothing")
	}
}

// Metrics read no folders: they are asked for every few seconds, and the disk
// may be slow.
func TestMetricsReadNoFolders(t *testing.T) {
	s := newSite(t, nil)
	require.Equal(t, 200, s.get(t, "/metrics").status)
	require.Zero(t, s.catalogue.scans.Load())
	require.Equal(t, 200, s.get(t, "/v1/adapters").status)
	require.EqualValues(t, 1, s.catalogue.scans.Load())
}

// While the body of an upload arrives its name is anybody's.
func TestSlowUploadHoldsUpNobody(t *testing.T) {
	s := realSite(t)
	whole := packed(t, filepath.Join(goldens, "adapters", "dora"))
	body, write := io.Pipe()
	request, err := http.NewRequest(http.MethodPut, s.url+"/v1/adapters/x", body)
	require.NoError(t, err)
	done := make(chan answer)
	go func() {
		response, err := s.client.Do(request)
		if err != nil {
			done <- answer{body: err.Error()}
			return
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		done <- answer{response.StatusCode, response.Header, string(text)}
	}()
	_, err = io.WriteString(write, whole[:len(whole)/2])
	require.NoError(t, err)
	lora := packed(t, filepath.Join(goldens, "adapters", "lora"))
	require.Equal(t, 201, s.send(t, http.MethodPut, "/v1/adapters/x", lora).status)
	require.Equal(t, 204, s.send(t, http.MethodDelete, "/v1/adapters/x", "").status)
	require.Equal(t, 201, s.send(t, http.MethodPut, "/v1/adapters/x", lora).status)
	_, err = io.WriteString(write, whole[len(whole)/2:])
	require.NoError(t, err)
	require.NoError(t, write.Close())
	got := <-done
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, got.header.Get("X-Adapter-Digest"), s.post(t, "/v1/completions", `{"model":"x","prompt":"a","max_tokens":1}`).header.Get("X-Adapter-Digest"))
}

// An upload is held to the memory for adapters before it is read, and read once:
// it is in memory when it has been answered.
func TestUploadPassesTheGate(t *testing.T) {
	var asked atomic.Int32
	size := int32(1)
	s := realSite(t, func(o *catalogue.Options, _ *Parts) {
		o.Bytes = 1 << 20
		o.Size = func(string) int { asked.Add(1); return int(atomic.LoadInt32(&size)) }
	})
	body := packed(t, filepath.Join(goldens, "adapters", "lora"))
	got := s.send(t, http.MethodPut, "/v1/adapters/x", body)
	require.Equal(t, 201, got.status, got.body)
	require.Equal(t, `"resident"`, member(t, got.body, "state"))
	loads := func() string {
		for line := range strings.Lines(s.get(t, "/metrics").body) {
			if strings.HasPrefix(line, `peft_adapter_loads_total{outcome="loaded"}`) {
				return strings.TrimSpace(line)
			}
		}
		return ""
	}
	once := loads()
	require.Equal(t, 200, s.post(t, "/v1/completions", `{"model":"x","prompt":"a","max_tokens":1}`).status)
	require.Equal(t, once, loads(), "read once")
	require.EqualValues(t, 1, asked.Load())

	atomic.StoreInt32(&size, 1<<20+1)
	got = s.send(t, http.MethodPut, "/v1/adapters/x", packed(t, filepath.Join(goldens, "adapters", "dora")))
	require.Equal(t, http.StatusUnprocessableEntity, got.status, got.body)
	require.Contains(t, got.body, `"code":"adapter_too_large"`)
	require.Contains(t, got.body, fmt.Sprintf("it takes %d bytes of a budget of %d", 1<<20+1, 1<<20))
	require.Equal(t, `"resident"`, member(t, s.get(t, "/v1/adapters/x").body, "state"), "the old version stays")
	require.Equal(t, once, loads())
}

// A client that leaves while it waits for its adapter gives up its place, and a
// load that nobody waits for then ends; metrics tell of both.
func TestClientLeavesTheLine(t *testing.T) {
	gate := make(chan struct{})
	s := realSite(t, func(o *catalogue.Options, _ *Parts) {
		o.Size = func(string) int { <-gate; return 1 }
	})
	defer close(gate)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/completions", strings.NewReader(`{"model":"lora","prompt":"a"}`))
	require.NoError(t, err)
	left := make(chan error, 1)
	go func() {
		response, err := s.client.Do(request)
		if err == nil {
			err = response.Body.Close()
		}
		left <- err
	}()
	waiting := func(n int) func() bool {
		return func() bool {
			text := s.get(t, "/metrics").body
			return strings.Contains(text, fmt.Sprintf("\npeft_requests_loading %d\n", n)) &&
				strings.Contains(text, fmt.Sprintf("\nvllm:num_requests_waiting{model_name=\"tiny\"} %d\n", n)) &&
				strings.Contains(text, `waiting_lora_adapters="lora"`) == (n > 0)
		}
	}
	require.Eventually(t, waiting(1), 10*time.Second, time.Millisecond)
	require.Equal(t, `"loading"`, member(t, s.get(t, "/v1/adapters/lora").body, "state"))
	leave()
	require.ErrorIs(t, <-left, context.Canceled)
	require.Eventually(t, waiting(0), 10*time.Second, time.Millisecond)
	require.Equal(t, `"known"`, member(t, s.get(t, "/v1/adapters/lora").body, "state"))
}

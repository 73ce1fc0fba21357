package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	_ "github.com/peft-serve/peft-serve/kernels/kernelstest"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/runtime"
)

// goldens are the tiny bases and adapters with PyTorch's logits.
const goldens = "../testdata/goldens/llama"

// realSite serves the tiny base and its adapters by the real engine. change is
// called before the catalogue is made, with its options, and again before the
// server is, with its parts.
func realSite(t *testing.T, change ...func(*catalogue.Options, *Parts)) *site {
	t.Helper()
	return realSiteOf(t, Config{Name: "tiny"}, change...)
}

// realSiteOf is realSite with a configuration, to which the folder of adapters
// is added.
func realSiteOf(t *testing.T, config Config, change ...func(*catalogue.Options, *Parts)) *site {
	t.Helper()
	dir := t.TempDir()
	config.Adapters = dir
	for _, name := range []string{"lora", "dora", "prefix"} {
		layAdapter(t, name, filepath.Join(dir, name))
	}
	model, source, err := models.Open(goldens, models.Options{})
	require.NoError(t, err)
	text := testTokenizer(t)
	tokenizers := adapters.NewTokenizers(text, nil)
	load := func(_ context.Context, s catalogue.Source) (catalogue.Adapter, error) {
		folder, err := adapters.Open(s.Dir)
		if err != nil {
			return nil, err
		}
		a, err := adapters.Load(model, folder)
		if err != nil {
			return nil, err
		}
		return a, tokenizers.Equip(a, folder, model.Config().Vocabulary)
	}
	metrics := NewMetrics("tiny")
	parts, options := Parts{Base: model.Config(), Tokenizer: text, Metrics: metrics}, catalogue.Options{Dir: dir, Observer: metrics, Compose: catalogue.ComposeFor(model)}
	for _, f := range change {
		f(&options, &parts)
	}
	known, err := catalogue.New(load, options)
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	engine, err := runtime.New(model, func(skip bool) runtime.Decoder { return text.NewDecoder(skip) }, pool,
		runtime.Options{Slots: 4, CacheBlocks: 64, StepTokens: 16, Observer: metrics})
	require.NoError(t, err)
	parts.Chat, err = chat.Load("testdata")
	require.NoError(t, err)
	parts.Engine, parts.Catalogue = RuntimeEngine(engine), known
	for _, f := range change {
		f(&options, &parts)
	}
	server, err := New(parts, config)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		require.NoError(t, server.Shutdown(ctx))
		require.NoError(t, <-served)
		require.NoError(t, engine.Close(ctx))
		require.NoError(t, known.Close())
		pool.Close()
		require.NoError(t, source.Close())
	})
	return &site{url: "http://" + listener.Addr().String(), server: server, client: client}
}

// layAdapter copies a golden adapter to a folder.
func layAdapter(t *testing.T, name, dir string) {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o755))
	for _, file := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		text, err := os.ReadFile(filepath.Join(goldens, "adapters", name, file))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), text, 0o644))
	}
}

// golden is a prompt with the logits that PyTorch computes at each place.
type golden struct {
	tokens []int
	logits [][]float32
}

func readGolden(t *testing.T, path string) golden {
	t.Helper()
	file, err := safetensors.Open(path)
	require.NoError(t, err)
	defer file.Close()
	tokens, err := file.Tensor("tokens.0")
	require.NoError(t, err)
	logits, err := file.Tensor("logits.0")
	require.NoError(t, err)
	var g golden
	for i := 0; i < len(tokens.Data); i += 4 {
		g.tokens = append(g.tokens, int(tokens.Data[i])|int(tokens.Data[i+1])<<8)
	}
	w, err := logits.Weight()
	require.NoError(t, err)
	m := w.Matrix()
	for r := range m.Rows {
		g.logits = append(g.logits, append([]float32(nil), m.Row(r)...))
	}
	return g
}

func (g golden) logprob(place, token int) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, l := range g.logits[place] {
		top = max(top, float64(l))
	}
	for _, l := range g.logits[place] {
		sum += math.Exp(float64(l) - top)
	}
	return float64(g.logits[place][token]) - top - math.Log(sum)
}

// A client that scores a prompt, as evaluation harnesses do, gets PyTorch's
// log-probabilities of the base and of every adapter.
func TestEchoLogprobsAreExact(t *testing.T) {
	s := realSite(t)
	for name, path := range map[string]string{
		"tiny": goldens + "/golden.safetensors", "lora": goldens + "/adapters/lora/golden.safetensors",
		"dora": goldens + "/adapters/dora/golden.safetensors", "prefix": goldens + "/adapters/prefix/golden.safetensors",
	} {
		g := readGolden(t, path)
		prompt, err := json.Marshal(g.tokens)
		require.NoError(t, err)
		for _, maxTokens := range []int{0, 1} {
			got := s.post(t, "/v1/completions", fmt.Sprintf(`{"model":%q,"prompt":%s,"echo":true,"logprobs":1,"max_tokens":%d,"temperature":0}`, name, prompt, maxTokens))
			require.Equal(t, 200, got.status, got.body)
			var logprobs []*float64
			require.NoError(t, json.Unmarshal([]byte(member(t, got.body, "choices", "0", "logprobs", "token_logprobs")), &logprobs))
			require.Len(t, logprobs, len(g.tokens)+maxTokens)
			require.Nil(t, logprobs[0])
			for i := 1; i < len(g.tokens); i++ {
				require.InDelta(t, g.logprob(i-1, g.tokens[i]), *logprobs[i], 2e-4, "%s token %d", name, i)
			}
		}
	}
}

// Requests in one batch get what each gets alone, to the byte, with another
// adapter each, streamed or not.
func TestMixedRequestsAreIndependent(t *testing.T) {
	s := realSite(t)
	body := func(model string, stream bool) string {
		return fmt.Sprintf(`{"model":%q,"prompt":"Hello","max_tokens":24,"temperature":0.8,"seed":5,"logprobs":2,"stream":%t}`, model, stream)
	}
	names := []string{"tiny", "lora", "dora", "prefix"}
	alone := map[string]string{}
	for _, n := range names {
		got := s.post(t, "/v1/completions", body(n, false))
		require.Equal(t, 200, got.status, got.body)
		alone[n] = member(t, got.body, "choices")
	}
	require.NotEqual(t, alone["tiny"], alone["lora"])
	var wait sync.WaitGroup
	mixed, streamed := make([]answer, 12), make([]answer, 4)
	for i := range mixed {
		wait.Go(func() { mixed[i] = s.post(t, "/v1/completions", body(names[i%4], false)) })
	}
	for i := range streamed {
		wait.Go(func() { streamed[i] = s.post(t, "/v1/completions", body(names[i], true)) })
	}
	wait.Wait()
	for i, got := range mixed {
		require.Equal(t, alone[names[i%4]], member(t, got.body, "choices"))
	}
	for i, got := range streamed {
		var text strings.Builder
		for _, e := range got.events() {
			if e != "[DONE]" {
				var piece string
				require.NoError(t, json.Unmarshal([]byte(member(t, e, "choices", "0", "text")), &piece))
				text.WriteString(piece)
			}
		}
		var whole string
		require.NoError(t, json.Unmarshal([]byte(member(t, alone[names[i]], "0", "text")), &whole))
		require.Equal(t, whole, text.String())
	}
}

// An adapter is published, answers, is replaced under the same name, and the
// answer is the new one's: nothing of the old version is left.
func TestPublishReplaceDelete(t *testing.T) {
	s := realSite(t)
	ask := func(model string) answer {
		return s.post(t, "/v1/completions", fmt.Sprintf(`{"model":%q,"prompt":"Hello","max_tokens":12,"temperature":0}`, model))
	}
	for i, version := range []string{"lora", "dora"} {
		got := s.send(t, http.MethodPut, "/v1/adapters/mine", packed(t, filepath.Join(goldens, "adapters", version)))
		require.Equal(t, []int{201, 200}[i], got.status, got.body)
		mine, same := ask("mine"), ask(version)
		require.Equal(t, member(t, same.body, "choices"), member(t, mine.body, "choices"))
		require.Equal(t, got.header.Get("X-Adapter-Digest"), mine.header.Get("X-Adapter-Digest"))
		require.Equal(t, same.header.Get("X-Adapter-Digest"), mine.header.Get("X-Adapter-Digest"))
	}
	bad := []entry{{name: "adapter_config.json", body: `{"peft_type":"LORA","r":4,"target_modules":["q_proj"]}`}}
	got := s.send(t, http.MethodPut, "/v1/adapters/mine", string(gzipOf(t, tarOf(t, bad...))))
	require.Equal(t, 422, got.status, got.body)
	require.Equal(t, 200, ask("mine").status)
	require.Equal(t, 204, s.send(t, http.MethodDelete, "/v1/adapters/mine", "").status)
	require.Equal(t, 404, ask("mine").status)

	// A folder that is broken on disk is refused with the reason, and only its
	// requests fail.
	require.NoError(t, os.Remove(filepath.Join(s.server.config.Adapters, "lora", "adapter_model.safetensors")))
	got = ask("lora")
	require.Equal(t, 422, got.status, got.body)
	require.Contains(t, got.body, `adapter \"lora\" cannot be served: `+s.server.config.Adapters+`/lora: adapter tensor: there is neither adapter_model.safetensors nor adapter_model.bin"`)
	require.Equal(t, got.body, ask("lora").body, "the failure that is remembered is told alike")
	require.Equal(t, 200, ask("dora").status)
}

// A real disconnect frees the real engine's slot.
func TestDisconnectFreesTheEngine(t *testing.T) {
	s := realSite(t)
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/generate_stream",
		strings.NewReader(`{"inputs":"Hello","parameters":{"max_new_tokens":120,"ignore_eos_token":true}}`))
	require.NoError(t, err)
	response, err := s.client.Do(request)
	require.NoError(t, err)
	cancel()
	response.Body.Close()
	require.Eventually(t, func() bool {
		now := s.server.engine.Snapshot()
		return now.Running == 0 && now.Waiting == 0 && now.BlocksUsed == 0
	}, 2*time.Second, 5*time.Millisecond)
}

// The names that an adapter may be loaded under are those that the refusal of
// others tells.
func TestNamesOfLoadedAdapters(t *testing.T) {
	s := realSite(t)
	load := func(name string) answer {
		return s.post(t, "/v1/load_lora_adapter", fmt.Sprintf(`{"lora_name":%q,"lora_path":%q}`, name, filepath.Join(s.server.config.Adapters, "lora")))
	}
	for _, name := range []string{"org/lora", "lora:v1@main+x", strings.Repeat("a", 256)} {
		require.Equal(t, 200, load(name).status, name)
		require.Equal(t, 200, s.get(t, "/v1/adapters/"+url.PathEscape(name)).status, name)
	}
	for _, name := range []string{"é", "a//b", "/a", "a/", "a/.b", "a b", strings.Repeat("a", 257)} {
		got := load(name)
		require.Equal(t, 400, got.status, name)
		require.Contains(t, got.body, "use 1 to 256 letters, digits and ._-@:+, parted by single slashes if need be, no part beginning with a dot")
	}
}

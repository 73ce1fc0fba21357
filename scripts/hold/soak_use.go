package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// soaking is one server that is soaked.
type soaking struct {
	soakOptions
	name    string
	encoder bool // it generates no text

	server  *server
	bundles [][]byte // adapters to publish
	names   []string // adapters that lie in the folder
	heads   []string // those of them that bring heads
	done    atomic.Int64
	failed  atomic.Int64 // answers that say that it failed inside
	held    []footprint  // at each of rests
}

// start starts the server on a tiny base with its golden adapters, or on a tiny
// encoder with some that are made for it.
func (s *soaking) start(ctx context.Context, binary, dir string) error {
	base, folder := filepath.Join(s.root, goldens, "sentences", "tiny"), filepath.Join(dir, "adapters")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	s.heads = slices.Sorted(maps.Keys(classesMade))
	makes := slices.Sorted(maps.Keys(made))
	if !s.encoder {
		makes = s.heads
		base = filepath.Join(dir, "base")
		golden := filepath.Join(s.root, goldens, "llama", "adapters")
		err := layBase(s.root, base)
		if err == nil {
			err = os.CopyFS(folder, os.DirFS(golden))
		}
		if err != nil {
			return err
		}
		entries, err := os.ReadDir(golden)
		if err != nil {
			return err
		}
		for _, e := range entries {
			s.names = append(s.names, e.Name())
		}
	}
	if err := makeAdapters(base, folder, makes...); err != nil {
		return err
	}
	s.names = append(s.names, makes...)
	for _, name := range s.names[:6] {
		bundle, err := exec.CommandContext(ctx, "tar", "-czf", "-", "-C", filepath.Join(folder, name), ".").Output()
		if err != nil {
			return fmt.Errorf("tar: %w", err)
		}
		s.bundles = append(s.bundles, bundle)
	}
	var err error
	s.server, err = start(binary, "--base", base, "--adapters", folder,
		"--adapter-budget", "64KiB", "--slots", "8", "--queue", "64", "--kv-cache", "4MiB", "--grammar-cache", fmt.Sprint(grammarCache), "--access-log", "off", "--admin-addr", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return s.server.serving(ctx)
}

// use does something of everything, many times over.
func (s *soaking) use(ctx context.Context, length time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var clients sync.WaitGroup
	for c := range s.clients {
		clients.Go(func() {
			draw := rand.New(rand.NewPCG(uint64(c), 1))
			client := newClient()
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				s.once(ctx, client, draw, c)
				s.done.Add(1)
			}
		})
	}
	h := &hostility{server: s.server, client: newClient()}
	defer h.client.CloseIdleConnections()
	for _, attack := range h.attacks() {
		clients.Go(func() {
			for ctx.Err() == nil {
				attack(ctx)
				pause(ctx, time.Second)
			}
		})
	}
	clients.Wait()
	return s.server.lives()
}

// once is one operation of a client.
func (s *soaking) once(ctx context.Context, client *http.Client, draw *rand.Rand, c int) {
	adapter := s.names[draw.IntN(len(s.names))]
	own := fmt.Sprintf("own-%d-%d", c, draw.IntN(3))
	prompt := strings.Repeat("a", 1+draw.IntN(20)) + string(rune('!'+draw.IntN(90)))
	what := draw.IntN(16)
	if s.encoder && (what >= 2 && what <= 4 || what >= 10) && draw.IntN(4) > 0 { // which would ask for text
		what = 8 + draw.IntN(2)
	}
	switch what {
	case 0:
		s.do(ctx, client, http.MethodPut, "/v1/adapters/"+own, s.bundles[draw.IntN(len(s.bundles))])
	case 1:
		s.do(ctx, client, http.MethodDelete, "/v1/adapters/"+own, nil)
	case 2:
		s.do(ctx, client, http.MethodPost, "/v1/generate?adapter="+own, map[string]any{"prompt": prompt, "max_tokens": 8})
	case 3:
		short, cancel := context.WithTimeout(ctx, time.Duration(draw.IntN(20))*time.Millisecond)
		defer cancel() // a client that leaves
		s.do(short, client, http.MethodPost, "/v1/completions", map[string]any{"prompt": prompt, "max_tokens": 30, "stream": true, "model": adapter})
	case 4:
		s.do(ctx, client, http.MethodPost, "/v1/completions", map[string]any{"prompt": prompt, "max_tokens": 10, "stream": true, "n": 3, "temperature": 1, "logprobs": 2})
	case 5:
		s.do(ctx, client, http.MethodGet, []string{"/v1/models", "/v1/adapters", "/metrics", "/info", "/v1/stats", "/lora-adapters"}[draw.IntN(6)], nil)
	case 6:
		s.do(ctx, client, http.MethodPost, "/v1/completions", map[string]any{"prompt": prompt, "max_tokens": -5, "unknown": 1})
	case 7:
		s.do(ctx, client, http.MethodPost, "/v1/adapters/"+own+"/"+[]string{"pin", "unpin"}[draw.IntN(2)], nil)
	case 8:
		s.do(ctx, client, http.MethodPost, "/v1/classify?adapter="+s.heads[draw.IntN(len(s.heads))], map[string]any{"input": []any{prompt, prompt + "b", []int{5, 6, 7}}[draw.IntN(3)], "top_k": 1 + draw.IntN(3)})
	case 9:
		path := []string{"/v1/embeddings", "/pooling", "/embed", "/embed_all", "/v1/score", "/rerank", "/similarity"}[draw.IntN(7)]
		s.do(ctx, client, http.MethodPost, path+"?adapter="+adapter, map[string]any{
			"/v1/embeddings": map[string]any{"input": []string{prompt, "b"}, "encoding_format": "base64"},
			"/pooling":       map[string]any{"input": []string{prompt, "b"}, "task": []string{"token_embed", "embed"}[draw.IntN(2)]},
			"/embed":         map[string]any{"inputs": []string{prompt, "b"}},
			"/embed_all":     map[string]any{"inputs": prompt},
			"/v1/score":      map[string]any{"text_1": prompt, "text_2": []string{"a", "b"}},
			"/rerank":        map[string]any{"query": prompt, "texts": []string{"a", "b"}},
			"/similarity":    map[string]any{"inputs": map[string]any{"source_sentence": prompt, "sentences": []string{"a", "b"}}},
		}[path])
	case 10: // the same forms again and again, and one of a client's own
		form := []string{
			`"guided_json":{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"array","items":{"type":"string","maxLength":3},"maxItems":2}},"required":["a","b"]}`,
			`"guided_regex":"(ab|c)+[0-9]{2}"`, `"guided_choice":["yes","no","not now"]`, `"response_format":{"type":"json_object"}`,
			fmt.Sprintf(`"guided_json":{"enum":["%d","b",%d]}`, draw.IntN(1000), c),
		}[draw.IntN(5)]
		s.do(ctx, client, http.MethodPost, "/v1/completions?adapter="+adapter, fmt.Appendf(nil, `{"prompt":"abc","max_tokens":12,%s}`, form))
	case 11:
		s.do(ctx, client, http.MethodPost, "/v1/chat/completions?adapter="+adapter, fmt.Appendf(nil, `{"messages":[{"role":"user","content":"a"}],"max_tokens":16,"stream":%t,"tool_choice":"required","tools":[{"type":"function","function":{"name":"f%d","parameters":{"type":"object","properties":{"a":{"type":"number"}},"required":["a"]}}}]}`, draw.IntN(2) == 0, draw.IntN(20)))
	case 12:
		short, cancel := context.WithTimeout(ctx, time.Duration(draw.IntN(40))*time.Millisecond)
		defer cancel() // some leave
		s.do(short, client, http.MethodPost, "/v1/classify?adapter=*", map[string]any{"input": []string{prompt, "b"}})
	default:
		s.do(ctx, client, http.MethodPost, "/v1/generate?adapter="+adapter, map[string]any{"prompt": prompt, "max_tokens": draw.IntN(24)})
	}
}

// do returns the status of the answer, 0 if there is none.
func (s *soaking) do(ctx context.Context, client *http.Client, method, path string, body any) int {
	var text []byte
	switch b := body.(type) {
	case nil:
	case []byte:
		text = b
	default:
		text, _ = json.Marshal(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, s.server.url+path, bytes.NewReader(text))
	if err != nil {
		return 0
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer func() { _ = answer.Body.Close() }()
	said, _ := io.ReadAll(answer.Body) // up to where a client leaves
	if failedInside(answer.StatusCode, said) {
		s.failed.Add(1)
	}
	return answer.StatusCode
}

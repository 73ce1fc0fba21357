package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
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

func init() { modes["soak"] = soak }

// soak uses a server in every way for a long time: what it holds at the end has
// to be what it held when it was warm.
func soak(ctx context.Context, args []string, out io.Writer) (err error) {
	var o soaking
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.StringVar(&o.root, "root", ".", "the repository's folder")
	flags.DurationVar(&o.length, "for", time.Hour, "how long")
	flags.DurationVar(&o.warm, "warm", 10*time.Minute, "how long before what the server holds is looked at")
	flags.StringVar(&o.profiles, "profiles", "", "folder to write the heap's profiles to, before.pprof and after.pprof: go tool pprof -base one of the other")
	flags.IntVar(&o.clients, "clients", 12, "clients that do something at the same time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hold-soak-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := o.prepare(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.server.stop()) }()

	if err := o.use(ctx, o.warm); err != nil {
		return err
	}
	before, err := o.rested(ctx, "before")
	if err != nil {
		return err
	}
	o.done.Store(0)
	if err := o.use(ctx, o.length); err != nil {
		return err
	}
	after, err := o.rested(ctx, "after")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "soak of %s, %d operations: memory %s and %s, of which the heap's live objects are %s and %s, descriptors %d and %d, goroutines %d and %d, series %d and %d, server errors %d\n",
		o.length, o.done.Load(), mebibytes(before.resident), mebibytes(after.resident), mebibytes(before.heap), mebibytes(after.heap), before.descriptors, after.descriptors,
		before.goroutines, after.goroutines, len(before.series), len(after.series), o.failed.Load())
	if late := after.without(before); len(late) > 0 {
		fmt.Fprintf(out, "series that came late: %s\n", strings.Join(late, ", "))
	}
	var faults []error
	if after.resident > before.resident+before.resident/5 || after.heap > before.heap+before.heap/20 {
		faults = append(faults, errors.New("memory has grown by more than a fifth, or what is referred to by more than a twentieth"))
	}
	if after.descriptors > before.descriptors || after.goroutines > before.goroutines+2 {
		faults = append(faults, errors.New("descriptors or goroutines have grown"))
	}
	// A rare pair of known values, such as a route with a status, may come late.
	// What must not come is values without an end.
	if late := o.newValues(before, after); len(late) > 0 {
		faults = append(faults, fmt.Errorf("labels have values that they had not: %s", strings.Join(late, ", ")))
	}
	if o.failed.Load() > 0 {
		faults = append(faults, errors.New("the server failed inside"))
	}
	return errors.Join(faults...)
}

// newValues are the values of labels that came after a first look, in order. What
// is resident by then is told by digest and method, and may be any adapter in the
// folder.
func (o *soaking) newValues(before, after footprint) (late []string) {
	for value := range after.values {
		label, of, _ := strings.Cut(value, "=")
		if before.values[value] || label == "digest" || label == "method" {
			continue
		}
		for name := range strings.SplitSeq(of, ",") { // of one adapter, or of those that are resident
			if !slices.Contains(o.names, name) {
				late = append(late, value)
				break
			}
		}
	}
	slices.Sort(late)
	return late
}

type soaking struct {
	root         string
	length, warm time.Duration
	clients      int
	profiles     string // folder; empty: none is written

	server  *server
	bundles [][]byte // adapters to publish
	names   []string // adapters that lie in the folder
	heads   []string // those of them that bring heads
	done    atomic.Int64
	failed  atomic.Int64 // answers of 500
}

// prepare starts a server on a tiny base with its golden adapters.
func (o *soaking) prepare(ctx context.Context, dir string) error {
	base := filepath.Join(dir, "base")
	if err := layBase(o.root, base); err != nil {
		return err
	}
	goldenAdapters := filepath.Join(o.root, goldens, "llama", "adapters")
	golden, err := os.ReadDir(goldenAdapters)
	if err != nil {
		return err
	}
	folder := filepath.Join(dir, "adapters")
	o.heads = slices.Sorted(maps.Keys(classesMade))
	if err := makeAdapters(base, folder, o.heads...); err != nil {
		return err
	}
	o.names = slices.Clone(o.heads)
	for i, e := range golden {
		from := filepath.Join(goldenAdapters, e.Name())
		if i < 6 {
			bundle, err := exec.CommandContext(ctx, "tar", "-czf", "-", "-C", from, ".").Output()
			if err != nil {
				return fmt.Errorf("tar: %w", err)
			}
			o.bundles = append(o.bundles, bundle)
		}
		if err := os.CopyFS(filepath.Join(folder, e.Name()), os.DirFS(from)); err != nil {
			return err
		}
		o.names = append(o.names, e.Name())
	}
	binary, err := buildServer(ctx, o.root, dir)
	if err != nil {
		return err
	}
	if o.profiles != "" {
		if err := os.Setenv("GODEBUG", "memprofilerate=4096"); err != nil { // small things are seen too
			return err
		}
	}
	o.server, err = start(binary, "--base", base, "--adapters", folder,
		"--adapter-budget", "64KiB", "--slots", "8", "--queue", "64", "--kv-cache", "4MiB", "--grammar-cache", "4MiB", "--access-log", "off", "--admin-addr", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return o.server.serving(ctx)
}

// use does something of everything, many times over.
func (o *soaking) use(ctx context.Context, length time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var clients sync.WaitGroup
	for c := range o.clients {
		clients.Go(func() {
			draw := rand.New(rand.NewPCG(uint64(c), 1))
			client := newClient()
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				o.once(ctx, client, draw, c)
				o.done.Add(1)
			}
		})
	}
	h := &hostility{server: o.server, client: newClient()}
	for _, attack := range h.attacks() {
		clients.Go(func() {
			for ctx.Err() == nil {
				attack(ctx)
				pause(ctx, time.Second)
			}
		})
	}
	clients.Wait()
	return o.server.lives()
}

// once is one operation of a client.
func (o *soaking) once(ctx context.Context, client *http.Client, draw *rand.Rand, c int) {
	adapter := o.names[draw.IntN(len(o.names))]
	own := fmt.Sprintf("own-%d-%d", c, draw.IntN(3))
	prompt := strings.Repeat("a", 1+draw.IntN(20)) + string(rune('!'+draw.IntN(90)))
	switch draw.IntN(15) {
	case 0:
		o.do(ctx, client, http.MethodPut, "/v1/adapters/"+own, o.bundles[draw.IntN(len(o.bundles))])
	case 1:
		o.do(ctx, client, http.MethodDelete, "/v1/adapters/"+own, nil)
	case 2:
		o.do(ctx, client, http.MethodPost, "/v1/generate?adapter="+own, map[string]any{"prompt": prompt, "max_tokens": 8})
	case 3:
		short, cancel := context.WithTimeout(ctx, time.Duration(draw.IntN(20))*time.Millisecond)
		defer cancel() // a client that leaves
		o.do(short, client, http.MethodPost, "/v1/completions", map[string]any{"prompt": prompt, "max_tokens": 30, "stream": true, "model": adapter})
	case 4:
		o.do(ctx, client, http.MethodPost, "/v1/completions", map[string]any{"prompt": prompt, "max_tokens": 10, "stream": true, "n": 3, "temperature": 1, "logprobs": 2})
	case 5:
		o.do(ctx, client, http.MethodGet, []string{"/v1/models", "/v1/adapters", "/metrics", "/info", "/v1/stats", "/lora-adapters"}[draw.IntN(6)], nil)
	case 6:
		o.do(ctx, client, http.MethodPost, "/v1/completions", map[string]any{"prompt": prompt, "max_tokens": -5, "unknown": 1})
	case 7:
		o.do(ctx, client, http.MethodPost, "/v1/adapters/"+own+"/"+[]string{"pin", "unpin"}[draw.IntN(2)], nil)
	case 8:
		o.do(ctx, client, http.MethodPost, "/v1/classify?adapter="+o.heads[draw.IntN(len(o.heads))], map[string]any{"input": []any{prompt, prompt + "b", []int{5, 6, 7}}[draw.IntN(3)], "top_k": 1 + draw.IntN(3)})
	case 9:
		path := []string{"/v1/embeddings", "/embed", "/embed_all", "/v1/score", "/rerank", "/similarity"}[draw.IntN(6)]
		o.do(ctx, client, http.MethodPost, path+"?adapter="+adapter, map[string]any{
			"/v1/embeddings": map[string]any{"input": []string{prompt, "b"}, "encoding_format": "base64"},
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
		o.do(ctx, client, http.MethodPost, "/v1/completions?adapter="+adapter, fmt.Appendf(nil, `{"prompt":"abc","max_tokens":12,%s}`, form))
	case 11:
		o.do(ctx, client, http.MethodPost, "/v1/chat/completions?adapter="+adapter, fmt.Appendf(nil, `{"messages":[{"role":"user","content":"a"}],"max_tokens":16,"stream":%t,"tool_choice":"required","tools":[{"type":"function","function":{"name":"f%d","parameters":{"type":"object","properties":{"a":{"type":"number"}},"required":["a"]}}}]}`, draw.IntN(2) == 0, draw.IntN(20)))
	default:
		o.do(ctx, client, http.MethodPost, "/v1/generate?adapter="+adapter, map[string]any{"prompt": prompt, "max_tokens": draw.IntN(24)})
	}
}

// do returns the status of the answer, 0 if there is none.
func (o *soaking) do(ctx context.Context, client *http.Client, method, path string, body any) int {
	var text []byte
	switch b := body.(type) {
	case nil:
	case []byte:
		text = b
	default:
		text, _ = json.Marshal(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, o.server.url+path, bytes.NewReader(text))
	if err != nil {
		return 0
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode == http.StatusInternalServerError {
		o.failed.Add(1)
	}
	return answer.StatusCode
}

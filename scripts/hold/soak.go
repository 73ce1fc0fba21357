package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
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
	before, err := o.rested(ctx)
	if err != nil {
		return err
	}
	o.done.Store(0)
	if err := o.use(ctx, o.length); err != nil {
		return err
	}
	after, err := o.rested(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "soak of %s, %d operations: memory %s and %s, of which the heap's live objects are %s and %s, descriptors %d and %d, goroutines %d and %d, series %d and %d, server errors %d\n",
		o.length, o.done.Load(), mebibytes(before.resident), mebibytes(after.resident), mebibytes(before.heap), mebibytes(after.heap), before.descriptors, after.descriptors,
		before.goroutines, after.goroutines, before.series, after.series, o.failed.Load())
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
// is resident by then is told by digest, and may be any adapter in the folder.
func (o *soaking) newValues(before, after footprint) (late []string) {
	for value := range after.values {
		label, of, _ := strings.Cut(value, "=")
		if !before.values[value] && label != "digest" && !slices.Contains(o.names, of) {
			late = append(late, value)
		}
	}
	slices.Sort(late)
	return late
}

type soaking struct {
	root         string
	length, warm time.Duration
	clients      int

	server  *server
	bundles [][]byte // adapters to publish
	names   []string // adapters that lie in the folder
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
	switch draw.IntN(10) {
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
	default:
		o.do(ctx, client, http.MethodPost, "/v1/generate?adapter="+adapter, map[string]any{"prompt": prompt, "max_tokens": draw.IntN(24)})
	}
}

func (o *soaking) do(ctx context.Context, client *http.Client, method, path string, body any) {
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
		return
	}
	answer, err := client.Do(request)
	if err != nil {
		return
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode == http.StatusInternalServerError {
		o.failed.Add(1)
	}
}

// rested is what the server holds when nothing is asked of it: what the soak
// published is gone, the same adapters are resident each time, and idle connections
// and templates have been closed.
func (o *soaking) rested(ctx context.Context) (least footprint, err error) {
	client := newClient()
	defer client.CloseIdleConnections()
	for c := range o.clients {
		for i := range 3 {
			o.do(ctx, client, http.MethodDelete, fmt.Sprintf("/v1/adapters/own-%d-%d", c, i), nil)
		}
	}
	for _, name := range o.names { // the last ones stay
		o.do(ctx, client, http.MethodPost, "/v1/generate?adapter="+name, map[string]any{"prompt": "a", "max_tokens": 1})
	}
	client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	for range 20 {
		pause(ctx, 500*time.Millisecond)
		now, err := o.server.footprint(ctx)
		if err != nil {
			return now, err
		}
		if least.goroutines == 0 || now.goroutines <= least.goroutines {
			least = now
		}
	}
	if least.heap, err = o.server.live(ctx); err != nil {
		return least, err
	}
	// Memory that is free goes back to the system little by little.
	for fallen := time.Now(); time.Since(fallen) < 20*time.Second && ctx.Err() == nil; pause(ctx, time.Second) {
		now, err := o.server.resident()
		if err != nil {
			return least, err
		}
		if now < least.resident {
			least.resident, fallen = now, time.Now()
		}
	}
	return least, ctx.Err()
}

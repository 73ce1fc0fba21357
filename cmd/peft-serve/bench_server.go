package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/internal/processor"
)

// target is a running OpenAI-compatible server.
type target struct {
	url, key  string
	base      string
	adapters  []string
	loraField bool
}

// measureServer drives a server with the load that measureMix gives the
// engine: the same prompts, as token ids, and the same adapters in turn.
func (b *benchCommand) measureServer(ctx context.Context, r *report) error {
	t := &target{url: strings.TrimSuffix(strings.TrimSuffix(b.URL, "/"), "/v1"), key: b.Key, base: b.Model, adapters: b.Models, loraField: b.LoraField}
	if err := t.discover(ctx); err != nil {
		return err
	}
	names := t.adapters
	if t.loraField {
		names = make([]string, b.Adapters)
		for i := range names {
			names[i] = fmt.Sprint(i)
		}
	}
	if b.Adapters > 0 && b.Adapters < len(names) {
		names = names[:b.Adapters]
	}
	if b.Adapters > len(names) {
		return fmt.Errorf("--adapters %d: the server has %d: name more with --models", b.Adapters, len(names))
	}
	r.Base, r.Server, r.Threads = t.base, t.url, 0
	text, err := t.tokenize(ctx)
	if err != nil {
		return err
	}
	length := b.promptTokens(64)
	if b.lasts() {
		r.Sustained, err = b.sustain(ctx, text, names, b.serverClock(t), func(ctx context.Context, prompt []int32, adapter string, seen func()) (int, error) {
			_, tokens, err := t.one(ctx, prompt, adapter, nil, b.Generate, seen)
			return tokens, err
		})
		return err
	}
	all := variants(b.Requests, names)
	if b.Schema != "" {
		schema, err := os.ReadFile(b.Schema)
		if err != nil {
			return err
		}
		if !json.Valid(schema) {
			return fmt.Errorf("--schema: %s is not JSON", b.Schema)
		}
		all = append(all, load{name: "schema", adapters: make([]string, b.Requests), schema: schema})
	}
	return b.compare(ctx, all, length, r, b.serverClock(t), func(round int, v load) (measured, error) {
		return t.run(ctx, b.prompts(text, round, b.Requests, length), v, b.Generate)
	})
}

// pidTime is the processor time that the process of --pid has had so far.
func (b *benchCommand) pidTime(context.Context) (time.Duration, error) {
	spent, err := processor.TimeOf(b.PID)
	if err != nil {
		return 0, fmt.Errorf("--pid: %w", err)
	}
	return spent, nil
}

// serverClock is that of the process of --pid, or what the server itself tells.
func (b *benchCommand) serverClock(t *target) processorClock {
	if b.PID == 0 {
		return t.processorTime
	}
	return b.pidTime
}

// discover asks for the names that were not given.
func (t *target) discover(ctx context.Context) error {
	if t.base != "" && (len(t.adapters) > 0 || t.loraField) {
		return nil
	}
	body, err := t.call(ctx, http.MethodGet, "/v1/models", nil)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	var list struct {
		Models []struct {
			ID     string  `json:"id"`
			Parent *string `json:"parent"`
		} `json:"data"`
	}
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		return fmt.Errorf("%s/v1/models: %w", t.url, err)
	}
	for _, m := range list.Models {
		switch {
		case m.Parent != nil:
			t.adapters = append(t.adapters, m.ID)
		case t.base == "":
			t.base = m.ID
		}
	}
	return nil
}

func (t *target) call(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, method, t.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true // a server that ends idle connections fails nothing
	if t.key != "" {
		request.Header.Set("Authorization", "Bearer "+t.key)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		_ = response.Body.Close()
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, bytes.TrimSpace(text))
	}
	return response.Body, nil
}

// run sends every prompt at once and waits for all.
func (t *target) run(ctx context.Context, prompts [][]int32, v load, generate int) (measured, error) {
	var (
		all    = measured{first: make([]time.Duration, len(prompts))}
		counts = make([]int, len(prompts))
		faults = make([]error, len(prompts))
		group  sync.WaitGroup
		start  = time.Now()
	)
	for i := range prompts {
		group.Go(func() {
			all.first[i], counts[i], faults[i] = t.one(ctx, prompts[i], v.adapters[i], v.schema, generate, nil)
		})
	}
	group.Wait()
	all.wall = time.Since(start)
	for _, n := range counts {
		all.tokens += n
	}
	return all, errors.Join(faults...)
}

// completionBody asks for a fixed number of tokens, streamed.
type completionBody struct {
	Model       string         `json:"model"`
	Prompt      []int32        `json:"prompt"`
	MaxTokens   int            `json:"max_tokens"`
	Temperature float64        `json:"temperature"`
	IgnoreEOS   bool           `json:"ignore_eos,omitempty"`
	Stream      bool           `json:"stream"`
	Options     map[string]any `json:"stream_options"`
	Lora        []loraScale    `json:"lora,omitempty"`
	Format      any            `json:"response_format,omitempty"`
}

type loraScale struct {
	ID    json.Number `json:"id"`
	Scale float64     `json:"scale"`
}

// one sends a request. seen, unless nil, is told of each of its events with text. Its
// tokens are as many as the server says, or as there were such events.
func (t *target) one(ctx context.Context, prompt []int32, adapter string, schema []byte, generate int, seen func()) (first time.Duration, tokens int, err error) {
	b := completionBody{
		Model: t.base, Prompt: prompt, MaxTokens: generate, IgnoreEOS: true, Stream: true, Options: map[string]any{"include_usage": true},
	}
	if schema != nil {
		b.IgnoreEOS = false // such an answer ends where the schema says
		b.Format = map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": "bench", "schema": json.RawMessage(schema)}}
	}
	switch {
	case t.loraField && adapter == "":
		b.Lora = []loraScale{{"0", 0}} // without the field, llama.cpp's server applies every adapter
	case t.loraField:
		b.Lora = []loraScale{{json.Number(adapter), 1}}
	case adapter != "":
		b.Model = adapter
	}
	text, err := json.Marshal(b)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	body, err := t.call(ctx, http.MethodPost, "/v1/completions", text)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = body.Close() }()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	chunks, events := 0, 0
	for lines.Scan() {
		event, ok := strings.CutPrefix(lines.Text(), "data:")
		if event = strings.TrimSpace(event); !ok || event == "[DONE]" {
			continue
		}
		var e struct {
			Choices []struct {
				Text   string  `json:"text"`
				Finish *string `json:"finish_reason"`
			} `json:"choices"`
			Usage *struct {
				Completion int `json:"completion_tokens"`
			} `json:"usage"`
			Error json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal([]byte(event), &e); err != nil {
			return 0, 0, fmt.Errorf("an event of the stream is not JSON: %w", err)
		}
		if len(e.Error) > 0 {
			return 0, 0, fmt.Errorf("the stream failed: %s", e.Error)
		}
		if len(e.Choices) > 0 {
			if chunks++; chunks == 1 {
				first = time.Since(start)
			}
			if choice := e.Choices[0]; choice.Text != "" || choice.Finish == nil { // a last event may have no token
				if events++; seen != nil {
					seen()
				}
			}
		}
		if e.Usage != nil {
			tokens = e.Usage.Completion
		}
	}
	if tokens == 0 {
		tokens = events
	}
	return first, tokens, lines.Err()
}

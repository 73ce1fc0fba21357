package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// askServer has a server at --url answer, whose adapters are those that --keep has left.
// Each run begins with another round: a server keeps what it has computed of the texts of
// the run before.
func (t *texts) askServer(ctx context.Context, b *benchCommand, r *report) error {
	s := &target{url: strings.TrimSuffix(strings.TrimSuffix(b.URL, "/"), "/v1"), key: b.Key, base: b.Model}
	if err := s.discover(ctx); err != nil {
		return err
	}
	r.Server = s.url
	t.first = rand.IntN(math.MaxInt32)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: b.Requests}}
	t.spent = s.processorTime
	t.ask = func(ctx context.Context, text string, adapters []string) error {
		body, err := json.Marshal(map[string]string{"input": text})
		if err != nil {
			return err
		}
		path := "/v1/classify?adapter=" + url.QueryEscape(pattern(adapters))
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		if s.key != "" {
			request.Header.Set("Authorization", "Bearer "+s.key)
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		text200, err := io.ReadAll(answer.Body)
		switch {
		case err != nil:
			return err
		case answer.StatusCode != http.StatusOK || bytes.Contains(text200, []byte(`"error"`)):
			return fmt.Errorf("POST %s: %s: %.500s", path, answer.Status, text200)
		case bytes.Count(text200, []byte(`"data":`)) != len(adapters):
			return fmt.Errorf("POST %s: answers by %d adapters, not %d: have --adapters as many as the server has", path, bytes.Count(text200, []byte(`"data":`)), len(adapters))
		}
		return nil
	}
	return nil
}

// pattern names adapters of one family: the one, or all.
func pattern(adapters []string) string {
	if len(adapters) == 1 {
		return adapters[0]
	}
	return strings.TrimRight(adapters[0], "0123456789") + "*"
}

// processorTime is what the server says that it has had.
func (t *target) processorTime(ctx context.Context) (time.Duration, error) {
	const metric = "process_cpu_seconds_total "
	body, err := t.call(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	for lines := bufio.NewScanner(body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), metric); ok {
			seconds, err := strconv.ParseFloat(text, 64)
			return time.Duration(seconds * float64(time.Second)), err
		}
	}
	return 0, fmt.Errorf("%s/metrics has no %s: the server's processor time is not known", t.url, strings.TrimSpace(metric))
}

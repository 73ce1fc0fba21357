package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// leaving is how long the servers of these tests take requests after they have
// said that they are not ready.
const leaving = time.Second

// fleet is a number of servers, of which one is restarted after the other.
type fleet struct {
	mu   sync.Mutex
	urls []string
}

func (f *fleet) at(i int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.urls[i%len(f.urls)]
}

func (f *fleet) replace(i int, url string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.urls[i] = url
}

// isReady reports whether a server says that requests may be sent there.
func isReady(client *http.Client, url string) bool {
	response, err := client.Get(url + "/ready")
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, response.Body)
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}

// say asks for a completion and returns its text.
func say(client *http.Client, url, body string) (string, error) {
	response, err := client.Post(url+"/v1/completions", "application/json", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return ownOfAnswer.ReplaceAllString(string(text), ""), err
}

// atWork is how many requests a server says that it has.
func atWork(t *testing.T, url string) int {
	_, text := send(t, http.MethodGet, url+"/metrics", "")
	all := 0
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(line, "{")
		if fields := strings.Fields(line); name == "vllm:num_requests_running" || name == "vllm:num_requests_waiting" {
			n, err := strconv.Atoi(fields[len(fields)-1])
			require.NoError(t, err)
			all += n
		}
	}
	return all
}

// Two servers are restarted one after the other while clients that follow /ready
// ask them. Whoever has seen that a server is ready, and asks it before its time
// for leaving can be over, is answered; nobody who asks two is ever without.
func TestRollingRestart(t *testing.T) {
	line := fmt.Sprintf("SERVE --slots 2 --deregistration-delay %s", leaving)
	start := func() (url string, end func() string) {
		url, end = tinyServer(t, line)
		require.Eventually(t, func() bool { return isReady(http.DefaultClient, url) }, 20*time.Second, time.Millisecond)
		return url, end
	}
	const body = `{"prompt":"Hello","max_tokens":24,"temperature":0,"logprobs":1}`
	var (
		f    fleet
		ends []func() string
	)
	for range 2 {
		url, end := start()
		f.urls, ends = append(f.urls, url), append(ends, end)
	}
	want, err := say(http.DefaultClient, f.at(0), body)
	require.NoError(t, err)

	var (
		answered, late atomic.Int64
		lost           = make(chan error, 16)
		over           = make(chan struct{})
		clients        sync.WaitGroup
	)
	for i := range 4 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := i; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				url, seen := f.at(n), time.Now()
				if !isReady(client, url) {
					continue // the other is
				}
				switch got, err := say(client, url, body); {
				case err != nil && time.Since(seen) >= leaving: // a client this slow has seen too long ago that it is
					late.Add(1)
				case err != nil:
					lost <- err
					return
				case got != want:
					lost <- fmt.Errorf("it is answered %s, want %s", got, want)
					return
				default:
					answered.Add(1)
				}
			}
		})
	}
	for i, end := range ends {
		end()
		url, endNew := start()
		f.replace(i, url)
		defer endNew()
		for more := answered.Load() + 20; answered.Load() < more && len(lost) == 0; {
			time.Sleep(time.Millisecond)
		}
	}
	close(over)
	clients.Wait()
	close(lost)
	for err := range lost {
		t.Error(err)
	}
	t.Logf("%d were answered, %d asked too late", answered.Load(), late.Load())
}

// A server that is told to end has all it has taken answered, and what comes while
// it leaves; it refuses connections no sooner than it has ended.
func TestEndUnderLoad(t *testing.T) {
	url, end := tinyServer(t, fmt.Sprintf("SERVE --slots 2 --deregistration-delay %s", leaving))
	body := func(i int, stream bool) string {
		return fmt.Sprintf(`{"prompt":"Hello %d","max_tokens":100,"ignore_eos":true,"temperature":0,"stream":%t}`, i, stream)
	}
	const asked = 48
	var (
		taken  sync.WaitGroup
		first  = make(chan struct{}, asked)
		faults = make(chan error, 2*asked)
		client = &http.Client{Transport: &http.Transport{}}
	)
	defer client.CloseIdleConnections()
	ask := func(i int, stream bool) {
		text, err := say(client, url, body(i, stream))
		if err == nil && (stream && !strings.HasSuffix(text, "data: [DONE]\n\n") || !strings.Contains(text, `"finish_reason":"length"`)) {
			err = fmt.Errorf("request %d has no whole answer: %s", i, text)
		}
		if err != nil {
			faults <- fmt.Errorf("request %d: %w", i, err)
		}
		first <- struct{}{}
	}
	for i := range asked {
		taken.Go(func() { ask(i, i%2 == 0) })
	}
	require.Eventually(t, func() bool { // all are answered, run, or wait
		done := len(first)
		return done > 0 && done+atWork(t, url) == asked
	}, 20*time.Second, time.Millisecond)
	told := time.Now()
	ended := make(chan string, 1)
	go func() { ended <- end() }()
	probes := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(t, func() bool { return !isReady(probes, url) }, 20*time.Second, time.Millisecond)
	for i := range 4 {
		if _, err := say(probes, url, body(asked+i, false)); err != nil && time.Since(told) < leaving {
			t.Errorf("a request that came %s after the signal: %s", time.Since(told), err)
		}
	}
	taken.Wait()
	log := <-ended
	close(faults)
	for err := range faults {
		t.Error(err)
	}
	require.Contains(t, log, "leaving")
	require.Contains(t, log, "stopped")
	_, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.Error(t, err)
}

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// departing runs a server whose time for leaving, once it has been told to end, is
// over when leave is called, and no sooner.
func departing(t *testing.T) (url string, log *shared, leave, end func()) {
	over := make(chan time.Time)
	log = &shared{}
	dir := t.TempDir()
	require.NoError(t, layBase(filepath.Join(dir, "tiny"), "../../testdata/goldens/llama", "../../serve/testdata"))
	url, end = startServer(t, console{out: io.Discard, err: log, env: os.Environ(), after: func(time.Duration) <-chan time.Time { return over }},
		"--base", filepath.Join(dir, "tiny"), "--kv-cache", "1MiB", "--threads", "1", "--slots", "2", "--deregistration-delay", "1h", "--drain", "1h")
	return url, log, sync.OnceFunc(func() { close(over) }), end
}

// notReady waits until a server says that it is leaving.
func notReady(t *testing.T, url string) {
	t.Helper()
	probes := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(t, func() bool { return !isReady(probes, url) }, time.Minute, time.Millisecond)
}

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
// for leaving is over, is answered; nobody who asks two is ever without.
func TestRollingRestart(t *testing.T) {
	const body = `{"prompt":"Hello","max_tokens":24,"temperature":0,"logprobs":1}`
	type one struct{ leave, end func() }
	var (
		f       fleet
		servers []one
	)
	start := func() (url string, s one) {
		url, _, leave, end := departing(t)
		return url, one{leave, end}
	}
	for range 2 {
		url, s := start()
		f.urls, servers = append(f.urls, url), append(servers, s)
	}
	want, err := say(http.DefaultClient, f.at(0), body)
	require.NoError(t, err)

	const clients = 4
	var (
		answered [clients]atomic.Int64
		rounds   [clients]atomic.Int64 // begun: in each a server is looked at and perhaps asked
		lost     = make(chan error, clients)
		over     = make(chan struct{})
		asking   sync.WaitGroup
	)
	for i := range clients {
		asking.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := i; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				rounds[i].Add(1)
				url := f.at(n)
				if !isReady(client, url) {
					continue // the other is
				}
				got, err := say(client, url, body)
				if err == nil && got != want {
					err = fmt.Errorf("it is answered %s, want %s", got, want)
				}
				if err != nil {
					lost <- err
					return
				}
				answered[i].Add(1)
			}
		})
	}
	further := func(counts *[clients]atomic.Int64, by int64) { // until each has gone on so far
		var from [clients]int64
		for i := range counts {
			from[i] = counts[i].Load()
		}
		for i := range counts {
			for counts[i].Load() < from[i]+by && len(lost) == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}
	for i, old := range servers {
		ended := make(chan struct{})
		go func() { defer close(ended); old.end() }()
		notReady(t, f.at(i))
		further(&rounds, 1)   // whoever has seen it ready has its answer
		further(&answered, 3) // and the other is enough
		old.leave()
		<-ended
		url, s := start()
		f.replace(i, url)
		defer func() { s.leave(); s.end() }()
		further(&answered, 3)
	}
	close(over)
	asking.Wait()
	close(lost)
	for err := range lost {
		t.Error(err)
	}
}

// A server that is told to end has all it has taken answered, and what comes while
// it leaves; it refuses connections no sooner than it has ended.
func TestEndUnderLoad(t *testing.T) {
	url, log, leave, end := departing(t)
	const asked = 48
	var (
		taken  sync.WaitGroup
		done   atomic.Int64
		faults = make(chan error, asked+4)
		client = &http.Client{Transport: &http.Transport{}}
	)
	defer client.CloseIdleConnections()
	ask := func(i int, stream bool) {
		text, err := say(client, url, fmt.Sprintf(`{"prompt":"Hello %d","max_tokens":100,"ignore_eos":true,"temperature":0,"stream":%t}`, i, stream))
		if err == nil && (stream && !strings.HasSuffix(text, "data: [DONE]\n\n") || !strings.Contains(text, `"finish_reason":"length"`)) {
			err = fmt.Errorf("it has no whole answer: %s", text)
		}
		if err != nil {
			faults <- fmt.Errorf("request %d: %w", i, err)
		}
		done.Add(1)
	}
	for i := range asked {
		taken.Go(func() { ask(i, i%2 == 0) })
	}
	all := func(n int) { // are answered, run, or wait
		t.Helper()
		require.Eventually(t, func() bool { return int(done.Load())+atWork(t, url) == n }, time.Minute, time.Millisecond)
	}
	all(asked)
	ended := make(chan struct{})
	go func() { defer close(ended); end() }()
	notReady(t, url)
	for i := range 4 {
		taken.Go(func() { ask(asked+i, false) })
	}
	all(asked + 4)
	leave()
	taken.Wait()
	<-ended
	close(faults)
	for err := range faults {
		t.Error(err)
	}
	require.Contains(t, log.String(), "leaving")
	require.Contains(t, log.String(), "stopped")
	_, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.Error(t, err)
}

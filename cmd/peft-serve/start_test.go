package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/internal/sample"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// process starts a server as a process of its own, and returns its address, how long
// it took from the start to /ready, and what ends it.
func process(t testing.TB, args ...string) (url string, took time.Duration, end func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	url = "http://" + addr
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, append([]string{"--addr", addr}, args...)...)
	cmd.Args[0] = "peft-serve" // which this binary is, then: see TestMain
	started := time.Now()
	require.NoError(t, cmd.Start())
	end = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		require.NoError(t, cmd.Wait())
	}
	for {
		response, err := http.Get(url + "/ready")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return url, time.Since(started), end
			}
		}
		require.Less(t, time.Since(started), time.Minute, "the server does not come up")
		time.Sleep(time.Millisecond)
	}
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// BenchmarkStart is the time from a process's start to its readiness, with the
// base mapped from the page cache.
func BenchmarkStart(b *testing.B) {
	var all []float64
	base := modeltest.SmolLM2(b)
	for b.Loop() {
		_, took, end := process(b, "--base", base)
		end()
		all = append(all, milliseconds(took))
	}
	b.ReportMetric(sample.Median(all), "median-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkStartBuiltin is the time from the start of a process that is told nothing
// to the first answer of an adapter that is built in.
func BenchmarkStartBuiltin(b *testing.B) {
	var all []float64
	for b.Loop() {
		began := time.Now()
		url, _, end := process(b)
		ask(b, url, "sst2")
		all = append(all, milliseconds(time.Since(began)))
		end()
	}
	b.ReportMetric(sample.Median(all), "median-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkColdAdapters loads adapters of rank 8 from the page cache beside a
// running stream: how long a load takes, and how long the stream's tokens are
// apart when it is alone, when requests come for adapters that have to be
// loaded, and when the same ones come again. Medians of the rounds.
func BenchmarkColdAdapters(b *testing.B) {
	const count = 16
	m, source, err := models.Open(modeltest.SmolLM2(b), models.Options{})
	require.NoError(b, err)
	dir := b.TempDir()
	names, err := (&benchCommand{Adapters: count, Rank: 8}).writeAdapters(m, dir)
	require.NoError(b, err)
	require.NoError(b, source.Close())
	rounds := map[string][]float64{}
	note := func(what string, gaps []float64) {
		rounds[what+"-ms"] = append(rounds[what+"-ms"], sample.Median(gaps))
		rounds[what+"-max-ms"] = append(rounds[what+"-max-ms"], slices.Max(gaps))
	}
	for b.Loop() {
		url, _, end := process(b, "--base", modeltest.SmolLM2(b), "--adapters", dir)
		ctx, stop := context.WithCancel(b.Context())
		arrivals := make(chan time.Time, 1<<16)
		go stream(ctx, url, arrivals)
		<-arrivals
		time.Sleep(500 * time.Millisecond)
		note("alone", gaps(arrivals))
		for _, what := range []string{"cold", "warm"} {
			for _, name := range names {
				ask(b, url, name)
			}
			note(what, gaps(arrivals))
		}
		stop()
		rounds["load-ms"] = append(rounds["load-ms"], loadTime(b, url)*1e3)
		end()
	}
	for unit, all := range rounds {
		b.ReportMetric(sample.Median(all), unit)
	}
	b.ReportMetric(0, "ns/op")
}

// stream notes when each token of a long answer arrives.
func stream(ctx context.Context, url string, arrivals chan<- time.Time) {
	defer close(arrivals)
	body := `{"prompt":"Once upon a time","max_tokens":4000,"ignore_eos":true,"stream":true,"temperature":0}`
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/completions", strings.NewReader(body))
	if err != nil {
		return
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data:") {
			arrivals <- time.Now()
		}
	}
}

// gaps are the times between the tokens that have arrived, in milliseconds.
func gaps(arrivals <-chan time.Time) []float64 {
	var all []float64
	last := <-arrivals
	for len(arrivals) > 0 {
		next := <-arrivals
		all = append(all, milliseconds(next.Sub(last)))
		last = next
	}
	return all
}

func ask(t testing.TB, url, adapter string) {
	t.Helper()
	body := fmt.Sprintf(`{"model":%q,"prompt":[1],"max_tokens":1}`, adapter)
	response, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(text))
}

// loadTime is the mean time of a load in seconds, as /metrics has it.
func loadTime(t testing.TB, url string) float64 {
	t.Helper()
	response, err := http.Get(url + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	var sum, count float64
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "peft_adapter_load_seconds_sum %g", &sum)
		_, _ = fmt.Sscanf(lines.Text(), "peft_adapter_load_seconds_count %g", &count)
	}
	return sum / count
}

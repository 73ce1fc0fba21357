package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/catalogue"
)

const tinyEncoder = "../../testdata/goldens/sentences/tiny"

// Each load of classification is measured beside the bare forward of as many texts.
func TestBenchClassify(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	args := []string{"--classify", "--base", tinyEncoder, "--adapters", "3", "--requests", "4", "--prompt", "5", "--repetitions", "1"}
	benched(t, append(args, "--keep", dir, "--rank", "2")...)
	r := benched(t, append(args, "--keep", dir)...)
	var names []string
	for _, c := range r.Classified {
		names = append(names, c.Name)
		require.Len(t, c.Samples, 1)
		require.Equal(t, c.Beside == "", c.Ratio == 0, c.Name)
	}
	require.Equal(t, []string{
		"bare forward", "one text, heads", "one text, bitfit", "one text, lora", "bare forward of a batch",
		"4 texts at once, 3 heads", "4 texts at once, 3 bitfit", "4 texts at once, 3 lora", "one text, 3 heads",
	}, names)
	require.Equal(t, 3, r.Classified[8].Tasks)
	require.Equal(t, "one text, heads", r.Classified[8].Beside)
	require.Equal(t, 8, r.Rank)
	made, err := filepath.Glob(filepath.Join(dir, "bench-*-*", "config.json"))
	require.NoError(t, err)
	require.Len(t, made, 9)
	config, err := os.ReadFile(filepath.Join(dir, "bench-lora-0", "adapter_config.json"))
	require.NoError(t, err)
	var lora struct{ R int }
	require.NoError(t, json.Unmarshal(config, &lora))
	require.Equal(t, 8, lora.R, "that of the later bench")

	var asked, all, failing atomic.Int64
	texts := make(chan string, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/models":
			_, _ = w.Write([]byte(`{"data":[{"id":"encoder"}]}`))
		case "/metrics":
			_, _ = fmt.Fprintf(w, "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %d\n", asked.Load())
		case "/v1/classify":
			asked.Add(1)
			text, _ := io.ReadAll(r.Body)
			texts <- string(text)
			n := 1
			if name := r.URL.Query().Get("adapter"); name == "bench-heads-*" {
				n = 3
				all.Add(1)
			}
			if failing.Load() > 0 {
				n--
			}
			_, _ = w.Write([]byte(strings.Repeat(`{"data":[]}`, n)))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	args = append(args, "--url", server.URL)
	r = benched(t, args...)
	require.Positive(t, all.Load())
	require.Zero(t, r.Rank, "those of the server are not known")
	var table bytes.Buffer
	require.NoError(t, r.table(&table))
	require.NotContains(t, table.String(), "LoRA of rank")
	require.Less(t, r.Classified[0].Each, 1000.0, "which is measured here")
	require.InDelta(t, 1000, r.Classified[1].Each, 1e-9, "a second each, as the server says")
	require.InDelta(t, 1000, r.Classified[5].Each, 1e-9)
	sent := func() (all []string) {
		for len(texts) > 0 {
			all = append(all, <-texts)
		}
		slices.Sort(all)
		return all
	}
	before := sent()
	benched(t, args...)
	require.NotEqual(t, before, sent(), "a server may keep what it has computed of a text")
	failing.Store(1)
	c, err := parse(append([]string{"bench"}, args...), silent())
	require.NoError(t, err)
	require.ErrorContains(t, c.Run(t.Context(), silent()), "answers by 0 adapters, not 1")
}

// One text's tasks go to the engine in chunks, and one that fails leaves none of them
// behind.
func TestClassifyInChunks(t *testing.T) {
	dir := t.TempDir()
	c, err := parse([]string{"bench", "--classify", "--base", tinyEncoder}, silent())
	require.NoError(t, err)
	b := c.(*benchCommand)
	b.Requests, b.Prompt = 1, 5
	d, err := b.newBed(t.Context(), silent(), catalogue.Options{Bytes: boundless, Dir: dir}, b.Requests, true)
	require.NoError(t, err)
	defer func() { require.NoError(t, d.close()) }()
	var names []string
	for i := range 2*tasksTogether + 1 {
		names = append(names, headedName(families[0], i))
		require.NoError(t, b.writeOneHeaded(d.base.model, families[0], filepath.Join(dir, names[i]), rand.NewPCG(1, uint64(i))))
	}
	require.NoError(t, d.residents(t.Context(), map[string][]string{families[0]: names}))
	require.NoError(t, d.classify(t.Context(), "a", names))
	did := d.engine.Snapshot()
	require.Equal(t, []any{uint64(len(names)), uint64(0)}, []any{did.Finished, did.Cancelled})
	require.ErrorContains(t, d.classify(t.Context(), "a", append(names, "none")), "none")
	require.Eventually(t, func() bool { // what was running is given up by the next step
		return !slices.ContainsFunc(d.catalogue.List(), func(e catalogue.Entry) bool { return e.References > 0 })
	}, 10*time.Second, time.Millisecond)
}

// So many adapters are brought into memory, ten times more in each row.
func TestBenchMany(t *testing.T) {
	r := benched(t, "--many", "12", "--base", tinyEncoder, "--prompt", "5", "--repetitions", "1")
	require.Len(t, r.Many, 2)
	for i, n := range []int{10, 12} {
		row := r.Many[i]
		require.Equal(t, n, row.Adapters)
		require.Greater(t, row.FileBytes, row.Bytes, "a tiny adapter is mostly configuration")
		require.Positive(t, row.Bytes)
	}
	require.Greater(t, r.Many[1].Bytes, r.Many[0].Bytes)
}

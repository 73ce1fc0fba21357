package main

import (
	"io"
	"math"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// Of a memory limit the weights, which are mapped, have their part: Go's heap keeps
// to nine tenths of the rest, unless the operator has said otherwise.
func TestHeapLeavesRoomForTheWeights(t *testing.T) {
	m, source, err := models.Open("../../testdata/goldens/llama", models.Options{})
	require.NoError(t, err)
	require.NoError(t, source.Close())
	weights := int64(m.Config().WeightBytes)
	require.Positive(t, weights)
	for own, want := range map[int64]int64{math.MaxInt64: int64(0.9 * float64(4<<30-weights)), 3 << 30: 3 << 30} {
		before := debug.SetMemoryLimit(own)
		_, end := runServer(t, io.Discard, "--memory-limit", "4GiB")
		end()
		require.Equal(t, want, debug.SetMemoryLimit(before))
	}
}

// A cache that cannot hold the texts of the base's tokens is refused by name.
func TestGrammarCacheTooSmall(t *testing.T) {
	log := &shared{}
	require.Equal(t, 1, run(t.Context(), []string{"--grammar-cache", "1MiB", "--addr", "127.0.0.1:0"}, console{out: io.Discard, err: log}))
	require.Contains(t, log.String(), "--grammar-cache: 1 MiB is too little")
}

// On a small machine the sizes that are not set are what fits.
func TestSmallMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for _, c := range [][2]string{
		{"256MiB", `kv-cache="\d\d? MiB" adapter-budget="\d\d? MiB" uploads=1`}, {"1GiB", `kv-cache="2\d\d MiB" adapter-budget="4\d\d MiB" uploads=1`}, {"4GiB", ""},
	} {
		// The server shares this process, and its account counts what is here already.
		debug.SetMemoryLimit(math.MaxInt64)
		debug.FreeOSMemory()
		limit, want := c[0], c[1]
		log := &shared{}
		url, end := startServer(t, console{out: io.Discard, err: log, after: time.After}, "--memory-limit", limit, "--threads", "1")
		status, text := send(t, http.MethodPost, url+"/v1/generate?adapter=sst2", `{"inputs":"Hello","parameters":{"max_new_tokens":2}}`)
		require.Equal(t, http.StatusOK, status, text)
		end()
		if want == "" {
			require.NotContains(t, log.String(), "there is little memory")
			require.Regexp(t, `kv cache  51[12]`, log.String())
			continue
		}
		require.Regexp(t, regexp.MustCompile(want), log.String())
	}
	for _, set := range [][]string{{"--kv-cache", "200MiB"}, {"--adapter-budget", "200MiB"}, {"--uploads", "20"}, {"--slots", "100000"}} {
		log := &shared{}
		require.Equal(t, 1, run(t.Context(), append(set, "--memory-limit", "256MiB", "--addr", "127.0.0.1:0"), console{out: io.Discard, err: log}))
		require.Contains(t, log.String(), "more than 256 MiB (--memory-limit)")
		require.Contains(t, strings.Split(log.String(), "\n")[1], set[0], "the largest part comes first")
	}
}

// No step of an encoder takes more than the account has for it, however its texts are
// cut.
func TestStepsOfEncoders(t *testing.T) {
	for _, base := range append(modeltest.Encoders(t), "encoders-gguf/nomic-bert") {
		m, source, err := models.Open(modeltest.Goldens(t, base), models.Options{})
		require.NoError(t, err)
		require.NoError(t, source.Close())
		for _, c := range []*serveCommand{{hosting: hosting{StepTokens: 512, Slots: 32}}, {hosting: hosting{StepTokens: 100, Slots: 200}}, {hosting: hosting{StepTokens: 7, Slots: 1}}} {
			most := c.stepBytes(m)
			for long := 1; long <= min(c.StepTokens, m.Config().Context); long++ {
				var texts []int
				for left := c.StepTokens; left >= long && len(texts) < c.Slots; left -= long {
					texts = append(texts, long)
				}
				require.LessOrEqual(t, int64(peakOf(m, texts).Total()), most, "%s: %d texts of %d tokens", base, len(texts), long)
			}
		}
	}
}

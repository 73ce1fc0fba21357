package main

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// A server that rounds activations says so in its banner, in /version, in /metrics and
// in the head of every answer, and one that does not has no such header.
func TestActivations(t *testing.T) {
	for _, rounds := range []string{"i8", "f32"} {
		url, log, end := served(t, "--activations", rounds)
		require.Contains(t, log.String(), "activations in "+rounds)
		for path, want := range map[string]string{
			"/version": `"activations":"` + rounds + `"`, "/metrics": `peft_build_info{activations="` + rounds + `"`,
		} {
			status, text := send(t, http.MethodGet, url+path, "")
			require.Equal(t, http.StatusOK, status, text)
			require.Contains(t, text, want)
		}
		for _, stream := range []string{"false", "true"} {
			response, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(`{"prompt": "a b", "max_tokens": 2, "stream": `+stream+`}`))
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusOK, response.StatusCode)
			want := "i8"
			if rounds == "f32" {
				want = ""
			}
			require.Equal(t, want, response.Header.Get("X-Activations"))
		}
		end()
	}
}

// Rounding is for quantised weights: a base that has none is refused, and so is a
// precision that there is not.
func TestActivationsAreRefused(t *testing.T) {
	_, err := parse([]string{"serve", "--activations", "i4"}, silent())
	require.ErrorContains(t, err, `--activations: "i4" is none of f32, i8`)
	c, err := parse([]string{"bench", "--base", randomBase(t, kernels.BF16), "--activations", "i8"}, silent())
	require.NoError(t, err)
	require.ErrorContains(t, c.Run(t.Context(), silent()), "--activations i8: ")
	_, err = parse([]string{"bench", "--url", "http://x", "--activations", "i8"}, silent())
	require.ErrorContains(t, err, "--activations: ")
	require.Equal(t, "i8", benched(t, "--base", randomBase(t, kernels.Q4_1), "--activations", "i8", "--prompt", "2", "--generate", "1", "--repetitions", "1").Activations)
}

// A base that rounds answers, in every format, a text under an adapter alone as among
// others, to the bit, on one thread and on three, and nearly as one that does not.
func TestActivationsOfABatch(t *testing.T) {
	for _, f := range kernels.Formats() {
		if f.BlockLen() == 1 {
			continue
		}
		pools := []*kernels.Pool{kernels.NewPool(1), kernels.NewPool(3)}
		m, source, err := models.Open(randomBase(t, f), models.Options{Context: 64})
		require.NoError(t, err)
		a, err := randomLoRA(m, 4, []string{allLinear}, rand.NewPCG(1, 2))
		require.NoError(t, err)
		rows := []adaptertest.Row{{Tokens: []int32{1, 70, 80, 9, 200}}, {Tokens: []int32{3, 90, 5}, Adapter: a}, {Tokens: []int32{77}, Adapter: a}}
		exact := adaptertest.Logits(m, pools[0], rows...)
		before := models.Digest(m)
		require.NoError(t, source.RoundActivations(m, pools[1]))
		require.Equal(t, before, models.Digest(m))
		together := adaptertest.Logits(m, pools[1], rows...)
		for i, row := range rows {
			alone := adaptertest.Logits(m, pools[0], row)[0]
			require.Equal(t, alone.Data, together[i].Data, "%s, row %d", f, i)
			error, size := 0.0, 0.0
			for j, v := range exact[i].Data {
				error, size = error+math.Pow(float64(v-alone.Data[j]), 2), size+float64(v)*float64(v)
			}
			require.Greater(t, error, 0.0, "nothing is rounded")
			require.Less(t, error, 1e-3*size, "%s, row %d", f, i)
		}
		require.NoError(t, source.Close())
		for _, p := range pools {
			p.Close()
		}
	}
}

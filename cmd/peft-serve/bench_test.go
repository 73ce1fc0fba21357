package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

var tinyShape = llamaShape{256, 1, 4, 2, 64, 512, 320, true}

// randomBase is a synthetic base of one block.
func randomBase(t *testing.T, f kernels.Format) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	require.NoError(t, tinyShape.write(path, f, 1))
	return path
}

// benched runs a bench and returns its report as JSON has it.
func benched(t *testing.T, args ...string) report {
	t.Helper()
	var out bytes.Buffer
	con := silent()
	con.out = &out
	c, err := parse(append([]string{"bench", "--json"}, args...), con)
	require.NoError(t, err)
	require.NoError(t, c.Run(t.Context(), con))
	var r report
	require.NoError(t, json.Unmarshal(out.Bytes(), &r), out.String())
	require.NoError(t, r.table(&out))
	return r
}

// A synthetic base of every format opens, and computes what is finite and varied.
func TestSyntheticBases(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, f := range kernels.Formats() {
		m, source, err := models.Open(randomBase(t, f), models.Options{Context: 64})
		require.NoError(t, err, f)
		logits := adaptertest.Logits(m, pool, adaptertest.Row{Tokens: []int32{1, 70, 80}})[0]
		sum, squares, n := 0.0, 0.0, float64(tinyShape.vocabulary)
		for _, v := range logits.Row(2) {
			sum, squares = sum+float64(v), squares+float64(v)*float64(v)
		}
		require.InDelta(t, 1, squares/n-sum/n*sum/n, 0.5, f) // those of some formats have a mean of half a code
		require.NoError(t, source.Close())
	}
	_, _, err := parseSynthetic("1b:q9_0")
	require.ErrorContains(t, err, `"1b:q9_0" is not SIZE:FORMAT, as in 1b:q4_0; sizes are 0.5b, 135m, 1b, 3b, 7b, formats f32, f16, `)
	shape, f, err := parseSynthetic("0.5B:Q4_K")
	require.NoError(t, err)
	require.Equal(t, kernels.Q4_K, f)
	require.Equal(t, kernels.Q5_0, syntheticFallback[f], "its rows of %d are no whole blocks", shape.hidden)
}

// A synthetic base is at its path once it is whole: one that is there is not written over
// bit by bit.
func TestSyntheticBaseIsWhole(t *testing.T) {
	path := randomBase(t, kernels.Q8_0)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	first := filepath.Join(filepath.Dir(path), "first")
	require.NoError(t, os.Link(path, first))
	require.NoError(t, tinyShape.write(path, kernels.Q8_0, 2))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.False(t, bytes.Equal(before, after))
	kept, err := os.ReadFile(first)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, kept))
	left, err := filepath.Glob(path + "?*")
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestBenchGrid(t *testing.T) {
	r := benched(t, "--base", randomBase(t, kernels.Q8_0), "--grid", "--prompt", "2", "--generate", "1", "--requests", "2", "--adapter-precision", "q8_0", "--repetitions", "1")
	require.Len(t, r.Grid, 2*3*3)
	last := r.Grid[17]
	require.Equal(t, []any{64, "all-linear", 64, 64}, []any{last.Rank, last.Targets, last.Adapters, last.Requests})
	require.Equal(t, 2, r.Grid[0].Requests)
	require.Equal(t, "q_proj,v_proj", r.Grid[0].Targets)
	per := 64 * (256 + 256 + 256 + 128 + 256 + 128 + 256 + 256 + 2*(256+512) + 512 + 256) // A and B of seven linears
	require.Equal(t, per/32*34, last.AdapterBytes)
	require.NotZero(t, last.Ratio)
}

func TestBenchKernelsOfABase(t *testing.T) {
	r := benched(t, "--base", randomBase(t, kernels.Q4_K), "--kernels", "--repetitions", "1")
	shapes := map[[2]int]bool{}
	for _, p := range r.Products {
		require.Equal(t, "Q4_K", p.Format)
		shapes[[2]int{p.Inputs, p.Outputs}] = true
	}
	require.Equal(t, map[[2]int]bool{{256, 256}: true, {256, 128}: true, {256, 512}: true, {512, 256}: true, {256, 320}: true}, shapes)
}

// Products of 8 bits are not held against the peak of float32.
func TestBenchShare(t *testing.T) {
	p, peak := product{GFLOPS: 150, GBPS: 2, ReadGBPS: 8}, kernels.Peak{GFLOPS: 200}
	require.InDelta(t, 0.75, p.share(peak, false), 0)
	require.InDelta(t, 0.25, p.share(peak, true), 0)
	require.Zero(t, p.share(kernels.Peak{}, true))
}

func TestBenchSustained(t *testing.T) {
	for _, load := range []string{"--clients=2", "--rate=50"} {
		r := benched(t, "--base", randomBase(t, kernels.Q8_0), "--adapters", "4", "--targets", "all-linear", load, "--duration", "300ms", "--prompt", "3", "--generate", "2", "--zipf", "1")
		require.Zero(t, r.Sustained.Failed, r.Sustained.FirstFailure)
		require.NotZero(t, r.Sustained.TokensPerProcessorSecond)
		require.Equal(t, 4, r.Sustained.Adapters)
	}
}

// There is memory for the share of the adapters, and for those that run at once.
func TestBenchResident(t *testing.T) {
	base := randomBase(t, kernels.Q8_0)
	for args, want := range map[string]int{
		"--clients 2 --resident 0.1": 2, "--clients 2 --resident 0.5": 4, "--clients 9 --resident 0": 8,
		"--rate 50 --requests 3 --resident 0": 3,
	} {
		r := benched(t, append(strings.Fields(args), "--base", base, "--adapters", "8", "--duration", "300ms", "--prompt", "3", "--generate", "2")...)
		require.Equal(t, want, r.Sustained.Resident, args)
	}
}

// What is not given is cut to the base's context.
func TestBenchFits(t *testing.T) {
	for _, c := range []struct {
		prompt, generate, own int // 0: not given
		alone                 bool
		want                  [3]int // prompt, generate, both; 0: they do not fit
	}{
		{0, 0, 512, true, [3]int{511, 64, 512}},
		{0, 0, 2048, true, [3]int{512, 64, 513}},
		{0, 0, 32, true, [3]int{31, 30, 32}},
		{0, 40, 32, true, [3]int{}},
		{512, 0, 512, true, [3]int{}},
		{0, 0, 512, false, [3]int{64, 64, 128}},
		{0, 0, 32, false, [3]int{16, 16, 32}},
		{30, 0, 32, false, [3]int{30, 2, 32}},
		{0, 30, 32, false, [3]int{2, 30, 32}},
		{20, 20, 32, false, [3]int{}},
		{32, 0, 32, false, [3]int{}},
	} {
		b := &benchCommand{Prompt: c.prompt, Generate: 64, given: map[string]bool{"generate": c.generate > 0}}
		if c.generate > 0 {
			b.Generate = c.generate
		}
		length, err := b.fit(c.own, c.alone, true)
		if c.want[2] == 0 {
			require.ErrorContains(t, err, "has a context of", c)
			continue
		}
		require.NoError(t, err, c)
		require.Equal(t, c.want, [3]int{b.Prompt, b.Generate, length}, c)
	}
	for prompt, want := range map[int]int{0: 512, 512: 512, 513: 0} { // of an encoder
		b := &benchCommand{Prompt: prompt, Generate: 64}
		length, err := b.fit(512, true, false)
		require.Equal(t, want == 0, err != nil, err)
		require.Equal(t, want, length)
	}
	r := benched(t, "--base", "builtin://base", "--repetitions", "1", "--generate", "2")
	require.Equal(t, 511, r.Speed[0].Tokens)
}

// Where no request is answered, nothing has been measured.
func TestBenchOfNothing(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/models":
			_, _ = w.Write([]byte(`{"data":[{"id":"encoder"}]}`))
		case "/tokenize":
			_, _ = w.Write([]byte(`{"tokens":[1,2,3]}`))
		default:
			http.Error(w, "this base generates no text", http.StatusBadRequest)
		}
	}))
	defer s.Close()
	for _, load := range []string{"--clients=2", "--rate=50"} {
		var errors bytes.Buffer
		con := silent()
		con.err = &errors
		require.Equal(t, 1, run(t.Context(), []string{"bench", "--url", s.URL, load, "--duration", "300ms"}, con), load)
		require.Contains(t, errors.String(), "requests was answered: POST /v1/completions: 400 Bad Request: this base generates no text")
	}
	require.ErrorContains(t, (&sustained{Duration: 1}).fault(), "give a longer --duration")
	require.NoError(t, (&sustained{Sent: 2, Failed: 1, answered: 1}).fault())
}

// Clients send one request after another, each under the adapter that is drawn, until
// the time is over; what was under way then counts by its tokens alone.
func TestSustain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := &benchCommand{Clients: 1, Duration: time.Hour, Prompt: 4, Generate: 3}
	var asked []string
	s, err := b.sustain(ctx, []int32{1, 2, 3}, []string{"a", "b"}, processorTime, func(_ context.Context, prompt []int32, adapter string, seen func()) (int, error) {
		require.Len(t, prompt, 4)
		seen()
		if asked = append(asked, adapter); len(asked) == 9 {
			cancel()
			return 0, ctx.Err()
		}
		seen()
		return 2, nil
	})
	require.NoError(t, err)
	require.Contains(t, asked, "a")
	require.Contains(t, asked, "b")
	require.Equal(t, []any{9, 9, 0}, []any{s.Sent, s.Finished + 1, s.Failed})
	require.InDelta(t, 17, s.TokensPerSecond*s.Duration, 1e-6)
}

func TestGoodput(t *testing.T) {
	b := &benchCommand{Rate: 1, TTFT: 100 * time.Millisecond, TBT: 20 * time.Millisecond}
	at := func(first, distance, tokens int) *record {
		r := &record{start: time.Unix(100, 0), tokens: tokens}
		for i := range tokens {
			r.events = append(r.events, r.start.Add(time.Duration(first+i*distance)*time.Millisecond))
		}
		r.end = r.events[tokens-1]
		return r
	}
	unfinished := at(10, 10, 3)
	unfinished.end = time.Time{}
	s := b.summarise([]*record{at(100, 20, 5), at(101, 1, 5), at(1, 21, 5), at(50, 99, 1), unfinished}, 2*time.Second)
	require.Equal(t, []any{5, 4, 2.0, 1.0, 9.5}, []any{s.Sent, s.Finished, s.PerSecond, s.Goodput, s.TokensPerSecond})
	require.Equal(t, percentiles{0.05, 0.101, 0.101, 0.101}, s.TTFT)
	several := at(1, 60, 3) // events, of which one has two tokens and one has three
	several.tokens = 6
	late := at(1, 60, 3)
	late.tokens = 7
	slower := at(1, 61, 3)
	slower.tokens = 7
	s = b.summarise([]*record{several, late, slower}, 2*time.Second)
	require.Equal(t, []any{0.5, 10.0}, []any{s.Goodput, s.TokensPerSecond})
	require.Equal(t, 0.06, s.TBT.P50)
}

// An adapter is drawn in proportion to 1/k^s.
func TestDraw(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for zipf, want := range map[float64][]float64{0: {1. / 3, 1. / 3, 1. / 3}, 1: {6. / 11, 3. / 11, 2. / 11}} {
		d, counts := newDraw([]string{"0", "1", "2"}, zipf), make([]float64, 3)
		for range 30000 {
			counts[d.next(random)[0]-'0']++
		}
		for k := range want {
			require.InDelta(t, want[k], counts[k]/30000, 0.01)
		}
	}
	require.Empty(t, newDraw(nil, 1).next(random))
}

// Several numbers of threads are measured in turn, each beside the first; what keys
// and values are held in is told.
func TestBenchScaling(t *testing.T) {
	r := benched(t, "--base", randomBase(t, kernels.Q8_0), "--threads", "1,2", "--kv-type", "q8_0", "--prompt", "4", "--generate", "2", "--repetitions", "1")
	require.Len(t, r.Scaling, 2)
	require.Equal(t, "q8_0", r.KVType)
	for i, s := range r.Scaling {
		require.Equal(t, i+1, s.Threads)
		require.Positive(t, s.Prefill)
		require.Positive(t, s.Decode)
	}
	require.InDelta(t, 1, r.Scaling[0].DecodeTimes, 0)
}

func TestBenchFaults(t *testing.T) {
	for args, want := range map[string]string{
		"--base x --threads 1,2 --grid":               "--threads: several are measured of a base alone",
		"--base x --threads=-1":                       "--threads: -1 is below 0",
		"--base x --kv-type f64":                      `--kv-type: "f64" is none of f32, f16, q8_0`,
		"--base x --prompt-share=-1":                  "--prompt-share: -1 is not from 0",
		"":                                            "--synthetic SIZE:FORMAT",
		"--base x --synthetic 1b:q4_0":                "--synthetic: cannot be measured together with --base",
		"--base x --rate 1 --clients 1":               "--rate: cannot be measured together with --clients",
		"--base x --grid --url http://x":              "--url: cannot be measured together with --grid",
		"--base x --adapter-precision f32":            `--adapter-precision: "f32" is none of stored`,
		"--base x --clients 1 --zipf=-1":              "--zipf: -1 is not from 0",
		"--base x --clients 1 --duration 0s":          "--duration: it has to be above 0",
		"--synthetic 2b:q4_0":                         "--synthetic: ",
		"--base x --rate 0":                           "--rate: 0 is not above 0",
		"--base x --clients 0":                        "--clients: 0 is below 1",
		"--classify --url http://x":                   "--classify and --many: say by --base MODEL",
		"--base x --classify --url http://x --keep y": "--keep: is for",
		"--base x --classify --grid":                  "--classify: cannot be measured together with --kernels, --grid",
		"--base x --many 5 --adapters 3":              "--many: cannot be measured together with --classify, --url",
		"--base x --many=-1":                          "--many: -1 is below 0",
	} {
		_, err := parse(append([]string{"bench"}, strings.Fields(args)...), silent())
		require.ErrorContains(t, err, want, args)
	}
}

// What adapters are held in is in the report of every load that has some.
func TestBenchPrecision(t *testing.T) {
	for _, load := range []string{"--requests 1", "--clients 1 --duration 300ms"} {
		r := benched(t, append(strings.Fields(load), "--base", randomBase(t, kernels.Q8_0), "--adapters", "1", "--adapter-precision", "q8_0", "--prompt", "2", "--generate", "1")...)
		require.Equal(t, "q8_0", r.AdapterPrecision, load)
		var table bytes.Buffer
		require.NoError(t, r.table(&table))
		require.Contains(t, table.String(), " each in q8_0", load)
	}
}

func TestLoadCounts(t *testing.T) {
	l := new(loadCounts)
	l.Loaded("a", time.Second, errors.New("it is broken"))
	l.Loaded("b", time.Second, nil)
	l.Evicted("b", "", 1)
	loads, evicted := l.get()
	require.Equal(t, []int{1, 1}, []int{loads, evicted})
}

// A server that sends several tokens in an event is measured by the tokens that it
// says; by its events alone where it says nothing of them.
func TestBenchServerThatBatches(t *testing.T) {
	for usage, per := range map[bool]int{true: 5, false: 2} {
		ctx, cancel := context.WithCancel(t.Context())
		var asked atomic.Int64
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/v1/models":
				_, _ = io.WriteString(w, `{"data":[{"id":"base"}]}`)
				return
			case "/tokenize":
				_, _ = io.WriteString(w, `{"tokens":[1,2,3]}`)
				return
			case "/metrics": // of many servers there are none
				http.NotFound(w, r)
				return
			}
			if asked.Add(1) > 4 {
				cancel()
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done() // the client has left
				return
			}
			_, _ = io.WriteString(w, `data: {"choices":[{"text":"ab","finish_reason":null}]}`+"\n\n"+
				`data: {"choices":[{"text":"cde","finish_reason":null}]}`+"\n\n"+
				`data: {"choices":[{"text":"","finish_reason":"length"}]}`+"\n\n")
			if usage {
				_, _ = io.WriteString(w, `data: {"choices":[],"usage":{"completion_tokens":5}}`+"\n\n")
			}
			_, _ = io.WriteString(w, "data: [DONE]\n\n")
		}))
		var r report
		b := &benchCommand{URL: site.URL, Clients: 1, Duration: time.Hour, Prompt: 2, Generate: 5}
		require.NoError(t, b.measureServer(ctx, &r))
		site.Close()
		s := r.Sustained
		require.Equal(t, []int{5, 4, 0}, []int{s.Sent, s.Finished, s.Failed}, s.FirstFailure)
		require.InDelta(t, 4*per, s.TokensPerSecond*s.Duration, 1e-6)
		var table bytes.Buffer
		require.NoError(t, r.table(&table))
		require.Contains(t, table.String(), "between events")
		require.NotContains(t, table.String(), "between tokens")
	}
}

// A phase has the median of its repetitions, without the one that does not count.
func TestPhase(t *testing.T) {
	p := phase{name: "decode", tokens: 6}
	for i, wall := range []time.Duration{time.Hour, time.Second, 3 * time.Second, 2 * time.Second} {
		require.NoError(t, p.run(i > 0, func() (measured, error) { return measured{wall: wall}, nil }))
	}
	require.ErrorIs(t, p.run(true, func() (measured, error) { return measured{}, io.EOF }), io.EOF)
	s := p.speed()
	require.Equal(t, []any{"decode", 6, 3.0, []float64{6, 2, 3}}, []any{s.Phase, s.Tokens, s.TokensPerSecond, s.Samples})
	p.processors = []float64{5, 9, 7}
	require.Equal(t, 7.0, p.speed().TokensPerProcessorSecond)
}

// Loads are told by the time of the processors too, where that is known.
func TestMixTable(t *testing.T) {
	r := report{Server: "http://x", Mix: []mix{{Name: "base", Requests: 8, TokensPerSecond: 5.5, TokensPerProcessorSecond: 7.25}}}
	for _, processors := range []bool{true, false} {
		var table bytes.Buffer
		require.NoError(t, r.table(&table))
		require.Equal(t, processors, strings.Contains(table.String(), "tokens/processor s"))
		require.Equal(t, processors, strings.Contains(table.String(), " 7.2 "))
		r.Mix[0].TokensPerProcessorSecond = 0
	}
}

// A flag that nothing reads in what is measured is refused by its name, and one that
// is read is not.
func TestBenchReadsItsFlags(t *testing.T) {
	flags := strings.Fields("--base=x --threads=1 --ignore-config-key=a --prompt=1 --generate=1 --seed=1 --repetitions=1 --requests=1 --rank=1 --targets=a" +
		" --adapter-precision=q8_0 --keep=x --duration=1s --ttft=1s --tbt=1s --zipf=1 --resident=1 --key=k --model=m --models=a --lora-field" +
		" --kv-type=f16 --prompt-share=1 --activations=i8 --windows=2 --adapter=x --text=x --pid=1")
	for measured, unread := range map[string]string{
		"--base=x":                           "pid requests rank targets adapter-precision keep duration ttft tbt zipf resident key model models lora-field windows adapter",
		"--base=x --adapters=2":              "pid duration ttft tbt zipf resident key model models lora-field windows adapter text",
		"--base=x --grid":                    "pid rank keep duration ttft tbt zipf resident key model models lora-field windows adapter text",
		"--synthetic=1b:q4_0 --kernels":      "pid prompt generate requests rank targets adapter-precision duration ttft tbt zipf resident key model models lora-field kv-type prompt-share windows adapter text",
		"--kernels":                          "pid ignore-config-key prompt generate seed requests rank targets adapter-precision keep duration ttft tbt zipf resident key model models lora-field kv-type prompt-share windows adapter text",
		"--base=x --clients=1":               "pid repetitions requests rank targets adapter-precision keep zipf resident key model models lora-field windows adapter text",
		"--base=x --clients=1 --adapters=2":  "pid repetitions requests key model models lora-field windows adapter text",
		"--base=x --rate=1 --adapters=2":     "pid repetitions key model models lora-field windows adapter text",
		"--url=http://x":                     "base threads ignore-config-key rank targets adapter-precision keep duration ttft tbt zipf resident kv-type prompt-share activations windows adapter text",
		"--base=x --classify":                "pid generate duration ttft tbt zipf resident key model models lora-field kv-type prompt-share windows adapter text",
		"--base=x --many=9":                  "pid generate requests duration ttft tbt zipf resident key model models lora-field kv-type prompt-share windows adapter text",
		"--base=x --text=y":                  "pid kv-type prompt-share generate seed repetitions requests rank targets adapter-precision keep duration ttft tbt zipf resident key model models lora-field",
		"--base=x --url=http://x --classify": "pid kv-type prompt-share generate rank targets adapter-precision keep duration ttft tbt zipf resident models lora-field windows adapter text",
		"--url=http://x --rate=1":            "pid base threads ignore-config-key repetitions requests rank targets adapter-precision keep resident kv-type prompt-share activations windows adapter text",
	} {
		for _, flag := range flags {
			name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			if strings.Contains(measured, "--"+name+"=") || name == "base" && strings.Contains(measured, "--synthetic") {
				continue
			}
			_, err := parse(append([]string{"bench", flag}, strings.Fields(measured)...), silent())
			if slices.Contains(strings.Fields(unread), name) {
				require.ErrorContains(t, err, "--"+name+": ", "%s %s", measured, flag)
			} else {
				require.NoError(t, err, "%s %s", measured, flag)
			}
		}
	}
}

func TestBenchEncoder(t *testing.T) {
	r := benched(t, "--base", filepath.Join("..", "..", "testdata", "goldens", "sentences", "tiny"), "--prompt", "4", "--repetitions", "1")
	require.Len(t, r.Speed, 1)
	require.Equal(t, []any{"encode", 128, 1}, []any{r.Speed[0].Phase, r.Speed[0].Tokens, len(r.Speed[0].Samples)})
	require.Positive(t, r.Speed[0].TokensPerSecond)
	require.Empty(t, r.KVType)
	r.Speed[0].TokensPerProcessorSecond = 12.5
	var table bytes.Buffer
	require.NoError(t, r.table(&table))
	require.Contains(t, table.String(), "tokens/processor s")
	require.Contains(t, table.String(), " 12.5\n")
	require.NotContains(t, table.String(), "keys and values")
	for _, flag := range []string{"--kv-type=f16", "--prompt-share=1", "--generate=2"} {
		c, err := parse([]string{"bench", "--base", tinyEncoder, flag}, silent())
		require.NoError(t, err)
		name, _, _ := strings.Cut(flag, "=")
		require.ErrorContains(t, c.Run(t.Context(), silent()), name+": "+tinyEncoder+" encodes texts and generates none")
	}
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"peft-serve": main})
}

func TestScripts(t *testing.T) {
	goldens, err := filepath.Abs("../../testdata/goldens/llama")
	require.NoError(t, err)
	tokenizer, err := filepath.Abs("../../serve/testdata")
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			return layBase(filepath.Join(e.WorkDir, "tiny"), goldens, tokenizer)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"request": request, "signal": signalServer, "hangup": hangup, "await": await},
	})
}

// layBase puts the tiny base with a tokenizer into a folder, and an adapter
// beside it.
func layBase(dir, goldens, tokenizer string) error {
	for from, to := range map[string]string{
		goldens + "/config.json": dir + "/config.json", goldens + "/model.safetensors": dir + "/model.safetensors",
		tokenizer + "/tokenizer.json": dir + "/tokenizer.json", tokenizer + "/tokenizer_config.json": dir + "/tokenizer_config.json",
		goldens + "/adapters/lora/adapter_config.json":       dir + "-adapters/lora/adapter_config.json",
		goldens + "/adapters/lora/adapter_model.safetensors": dir + "-adapters/lora/adapter_model.safetensors",
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// request ADDRESS-FILE METHOD PATH [BODY] prints what a server answers, once
// its log tells where it is. The variable KEY is the API key.
func request(ts *testscript.TestScript, neg bool, args []string) {
	var address string
	for deadline := time.Now().Add(10 * time.Second); address == ""; time.Sleep(20 * time.Millisecond) {
		if log, err := os.ReadFile(ts.MkAbs(args[0])); err == nil {
			_, rest, _ := strings.Cut(string(log), "http://")
			address, _, _ = strings.Cut(rest, "\n")
			address, _, _ = strings.Cut(address, `"`)
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the server has not come up")
		}
	}
	body := ""
	if len(args) > 3 {
		body = args[3]
	}
	r, err := http.NewRequest(args[1], "http://"+address+args[2], strings.NewReader(body))
	ts.Check(err)
	if key := ts.Getenv("KEY"); key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s\n", response.StatusCode, text)
	if (response.StatusCode >= 400) != neg {
		ts.Fatalf("%s %s: %s: %s", args[1], args[2], response.Status, text)
	}
}

// signalServer ends the server that runs in the background.
func signalServer(ts *testscript.TestScript, _ bool, args []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
	}
}

// hangup has the server in the background read its settings anew.
func hangup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGHUP))
	}
}

// await FILE TEXT waits until the file holds the text.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text := ts.ReadFile(args[0])
		if strings.Contains(text, args[1]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not come to hold %q:\n%s", args[0], args[1], text)
		}
	}
}

func silent() console { return console{out: io.Discard, err: io.Discard} }

// The command line, the variables and the file are read together, and all that
// is wrong with them is told at once.
func TestEveryFaultAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peft.yaml")
	require.NoError(t, os.WriteFile(file, []byte("slots: many\nqueues: 3\ndrain: [1]\nadapter-budget: 1Q\nname: {a: b}\n"), 0o644))
	var errors bytes.Buffer
	code := run(context.Background(), []string{"--config", file, "--base", "s3://m", "--addr", "nowhere", "--log-format=xml", "--threads", "two", "--pin", "a"},
		console{out: io.Discard, err: &errors, env: []string{"PEFT_SERVE_KV_CACHE=lots", "PEFT_SERVE_SLOT=3", "PEFT_SERVE_READ_ONLY=perhaps", "HOME=/"}})
	require.Equal(t, 2, code)
	for _, fault := range []string{
		"13 faults in the configuration", "PEFT_SERVE_SLOT: there is no setting slot", file + ": there is no setting queues",
		file + `: slots: "many" is not a whole number`, file + ": drain: ", file + ": name: takes a plain value", file + `: adapter-budget: "1Q" is not a size: write 512MiB or 2GB`,
		`--threads: "two" is not a whole number`, `PEFT_SERVE_KV_CACHE: "lots" is not a size`, `PEFT_SERVE_READ_ONLY: "perhaps" is neither true nor false`,
		`--base: "s3://m": there is no scheme s3`, `--addr: "nowhere" is not HOST:PORT`, `--log-format: "xml"`, "--pin: names adapters",
	} {
		require.Contains(t, errors.String(), fault)
	}
	require.NotContains(t, errors.String(), "below 1", "a value that cannot be read is not judged further")
}

// What others call a setting leads to it, however it is written; one that is there
// twice is a fault.
func TestOtherNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peft.yaml")
	require.NoError(t, os.WriteFile(file, []byte("max_num_seqs: 3\nkv_cache: 1GiB\n"), 0o644))
	c := silent()
	c.env = []string{"PEFT_SERVE_THREAD=3", "PEFT_SERVE_SERVED_MODEL_NAME=x", "PEFT_SERVE_NOPE=1"}
	_, err := parse([]string{"--config", file, "--base", "a", "--base=b", "--port", "8000", "--pin", "a", "--pin", "b", "--adapters", t.TempDir(), "--nope", "1"}, c)
	for _, fault := range []string{
		"8 faults", "--nope: there is no such flag\n", "PEFT_SERVE_NOPE: there is no setting nope\n", "--base: it is there twice: give it once", "--port: there is no such flag; did you mean --addr?",
		file + ": there is no setting max_num_seqs; did you mean slots?", file + ": there is no setting kv_cache; did you mean kv-cache?",
		"PEFT_SERVE_THREAD: there is no setting thread; did you mean PEFT_SERVE_THREADS?",
		"PEFT_SERVE_SERVED_MODEL_NAME: there is no setting served-model-name; did you mean PEFT_SERVE_NAME?",
	} {
		require.ErrorContains(t, err, fault)
	}
}

// A key that cannot be used is blamed on what it stands in.
func TestWhereAKeyStands(t *testing.T) {
	dir := t.TempDir()
	keysFile, config := filepath.Join(dir, "keys"), filepath.Join(dir, "peft.yaml")
	require.NoError(t, os.WriteFile(keysFile, []byte("# ours\n\nsomething-long-enough-1\nbad key\n"), 0o644))
	require.NoError(t, os.WriteFile(config, []byte("api-key: bad key\n"), 0o644))
	for want, args := range map[string][]string{
		"--api-key-file: " + keysFile + ": line 4: a key ": {"--api-key-file", keysFile},
		"--api-key: a key ":          {"--api-key", "bad key"},
		config + ": api-key: a key ": {"--config", config},
		"PEFT_SERVE_API_KEY: a key ": nil,
	} {
		c := silent()
		if args == nil {
			c.env = []string{"PEFT_SERVE_API_KEY=bad key"}
		}
		_, err := parse(append([]string{"--base", "m.gguf"}, args...), c)
		require.ErrorContains(t, err, "\n  "+want)
	}
}

func TestBaseWithAnotherScheme(t *testing.T) {
	_, err := parse([]string{"--base", "s3://bucket/model"}, silent())
	require.ErrorContains(t, err, `--base: "s3://bucket/model": there is no scheme s3: name a Hugging Face folder`)
}

func TestVersion(t *testing.T) {
	for _, argument := range []string{"version", "--version"} {
		var out bytes.Buffer
		require.Zero(t, run(context.Background(), []string{argument}, console{out: &out, err: io.Discard}))
		require.Equal(t, "peft-serve dev\n", out.String())
	}
}

// Kubernetes gives every pod of a namespace with a Service peft-serve variables
// that look like settings.
func TestServiceVariables(t *testing.T) {
	c := silent()
	c.env = []string{
		"PEFT_SERVE_SERVICE_HOST=10.0.0.1", "PEFT_SERVE_SERVICE_PORT=8080", "PEFT_SERVE_SERVICE_PORT_HTTP=8080", "PEFT_SERVE_PORT=tcp://10.0.0.1:8080",
		"PEFT_SERVE_PORT_8080_TCP=tcp://10.0.0.1:8080", "PEFT_SERVE_PORT_8080_TCP_PROTO=tcp", "PEFT_SERVE_PORT_8080_TCP_PORT=8080",
		"PEFT_SERVE_PORT_8080_TCP_ADDR=10.0.0.1", "PEFT_SERVE_CANARY_SERVICE_HOST=10.0.0.2", "PEFT_SERVE_CANARY_PORT=tcp://10.0.0.2:80",
	}
	_, err := parse([]string{"--base", "m.gguf"}, c)
	require.NoError(t, err)
	c.env = []string{"PEFT_SERVE_PORT=8080"}
	_, err = parse([]string{"--base", "m.gguf"}, c)
	require.ErrorContains(t, err, "PEFT_SERVE_PORT: there is no setting port")
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "peft.yaml")
	require.NoError(t, os.WriteFile(file, []byte("base: from-file\nname: 135\nslots: 3\nqueue: 4\nkv-cache: 64MiB\nread-only: true\npin: [a, b]\nadapters: "+dir+"\ndrain: 1m\n"), 0o644))
	c := silent()
	c.env = []string{"PEFT_SERVE_CONFIG=" + file, "PEFT_SERVE_QUEUE=5", "PEFT_SERVE_SLOTS=6"}
	got, err := parse([]string{"--slots", "7"}, c)
	require.NoError(t, err)
	s := got.(*serveCommand)
	require.Equal(t, "from-file", s.Base)
	require.Equal(t, "135", s.Name, "a number is a text, too")
	require.Equal(t, 7, s.Slots, "a flag wins")
	require.Equal(t, 5, s.Queue, "a variable wins over the file")
	require.Equal(t, size(64<<20), s.KVCache, "the file wins over the default")
	require.Equal(t, switched(true), s.ReadOnly)
	require.Equal(t, []string{"a", "b"}, s.Pin)
	require.Equal(t, time.Minute, s.Drain)
	require.Equal(t, 512, s.StepTokens, "the default")
}

// A bench's own flags are not settings: PEFT_SERVE_ADAPTERS is a folder, and
// bench's --adapters a number.
func TestBenchSharesOnlyWhatIsShared(t *testing.T) {
	c := silent()
	c.env = []string{"PEFT_SERVE_ADAPTERS=/tmp", "PEFT_SERVE_BASE=model.gguf", "PEFT_SERVE_THREADS=3"}
	got, err := parse([]string{"bench"}, c)
	require.NoError(t, err)
	b := got.(*benchCommand)
	require.Equal(t, "model.gguf", b.Base)
	require.Equal(t, []int{3}, b.Threads)
	require.Zero(t, b.Adapters)
}

func TestBaseName(t *testing.T) {
	for base, want := range map[string]string{
		"/models/Smol-135M": "Smol-135M", "./a/b.Q4_1.gguf": "b.Q4_1", "hf://owner/name@v1:file.gguf": "owner/name", "hf://owner/name": "owner/name",
	} {
		require.Equal(t, want, (&hosting{Base: base}).baseName())
	}
	require.Equal(t, "x", (&hosting{Base: "y", Name: "x"}).baseName())
}

// Sizes are read as people write them.
func TestSizes(t *testing.T) {
	for text, want := range map[string]string{"512MiB": "512 MiB", "2GB": "1.9 GiB", "1536": "1.5 KiB", "1g": "1 GiB", "0.5 KiB": "512 B"} {
		var s struct{ size }
		got, err := parse([]string{"--base", "x", "--kv-cache", text}, silent())
		require.NoError(t, err, text)
		s.size = got.(*serveCommand).KVCache
		require.Equal(t, want, s.String())
	}
}

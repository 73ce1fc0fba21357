package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/serve/batch"
)

// answeredRow is a line of a batch's output.
type answeredRow struct {
	CustomID *string `json:"custom_id"`
	Response *struct {
		Status int             `json:"status_code"`
		Digest string          `json:"adapter_digest"`
		Body   json.RawMessage `json:"body"`
	} `json:"response"`
	Error *struct {
		Code, Message string
		Line          int
	} `json:"error"`
}

// rowText is a row of an input.
func rowText(id int, url, body string) string {
	return fmt.Sprintf("{\"custom_id\":\"row-%d\",\"method\":\"POST\",\"url\":%q,\"body\":%s}\n", id, url, body)
}

// mixedRows are requests for the base, for adapters and for a combination of them,
// by every route of rows, and some that are wrong.
func mixedRows(n int) (urls, bodies []string) {
	models := []string{"tiny", "lora", "second", "lora:0.5,second:-0.25", "nobody"}
	for i := range n {
		model := models[i%len(models)]
		switch i % 3 {
		case 0:
			urls, bodies = append(urls, "/v1/completions"), append(bodies, fmt.Sprintf(`{"model":%q,"prompt":"Hello %d","max_tokens":%d,"temperature":0,"logprobs":2}`, model, i, 1+i%17))
		case 1:
			urls, bodies = append(urls, "/v1/chat/completions"), append(bodies, fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"%d?"}],"max_tokens":%d,"seed":%d,"logprobs":true}`, model, i, 1+i%13, i))
		default:
			urls, bodies = append(urls, "/v1/generate?adapter="+strings.NewReplacer(":", "%3A", ",", "%2C").Replace(model)), append(bodies, fmt.Sprintf(`{"inputs":"Once %d","parameters":{"details":true,"max_new_tokens":%d}}`, i, 1+i%11))
		}
	}
	return urls, bodies
}

// bedOf lays out the tiny base with two adapters and a file of rows, and returns
// the arguments of a batch on them.
func bedOf(t *testing.T, rows string) (args []string, output string) {
	t.Helper()
	dir := t.TempDir()
	base := filepath.Join(dir, "tiny")
	require.NoError(t, layBase(base, "../../testdata/goldens/llama", "../../serve/testdata"))
	require.NoError(t, os.CopyFS(base+"-adapters/second", os.DirFS(base+"-adapters/lora")))
	input, output := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	require.NoError(t, os.WriteFile(input, []byte(rows), 0o644))
	return []string{
		"batch", "--base", base, "--adapters", base + "-adapters", "--input", input, "--output", output,
		"--kv-cache", "1MiB", "--threads", "1", "--slots", "4", "--log-format", "text",
	}, output
}

func answersIn(t *testing.T, path string) (all []answeredRow) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		var a answeredRow
		require.NoError(t, json.Unmarshal([]byte(line), &a), line)
		all = append(all, a)
	}
	return all
}

// ownOfAnswer is what no two answers have the same.
var ownOfAnswer = regexp.MustCompile(`"id":"[a-z_]+-?[0-9a-f]{24}"|"request_id":"[a-z_0-9]+"|"created":[0-9]+`)

// A row has the bits that the server answers with, whatever else is in the batch.
func TestBatchHasTheServersBits(t *testing.T) {
	urls, bodies := mixedRows(90)
	var rows strings.Builder
	for i := range urls {
		rows.WriteString(rowText(i, urls[i], bodies[i]))
	}
	args, output := bedOf(t, rows.String())
	log := &shared{}
	require.Equal(t, statusFailed, run(context.Background(), args, console{out: io.Discard, err: log}), log.String())
	require.Contains(t, log.String(), "18 of 90 rows were answered with an error")
	got := answersIn(t, output)
	require.Len(t, got, len(urls))

	url, end := runServerIn(t, filepath.Dir(output), io.Discard)
	defer end()
	for i, a := range got {
		require.Equal(t, fmt.Sprintf("row-%d", i), *a.CustomID)
		request, err := http.NewRequest(http.MethodPost, url+urls[i], strings.NewReader(bodies[i]))
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, response.StatusCode, a.Response.Status)
		require.Equal(t, response.Header.Get("X-Adapter-Digest"), a.Response.Digest)
		require.Equal(t, ownOfAnswer.ReplaceAllString(string(body), ""), ownOfAnswer.ReplaceAllString(string(a.Response.Body), ""), bodies[i])
	}
}

// What a batch came to is told by its exit status, and bad rows by number and
// reason. To run it again answers nothing again.
func TestBatchTellsWhatItCameTo(t *testing.T) {
	fine := rowText(0, "/v1/completions", `{"prompt":"a","max_tokens":2}`)
	other := rowText(1, "/v1/completions", `{"prompt":"a","max_tokens":2}`)
	for name, c := range map[string]struct {
		rows   string
		more   []string
		env    []string
		status int
		want   string
	}{
		"all answered":         {fine, nil, nil, 0, "rows=1 failed=0"},
		"a bad row":            {fine + "\nnonsense\n", nil, nil, statusFailed, "1 of 2 rows were answered with an error"},
		"no rows":              {"\n", nil, nil, statusFiles, "holds no row"},
		"a shard by variable":  {fine + other, []string{"--shards", "2"}, []string{completionIndex + "=1"}, 0, "out-00001-of-00002.jsonl rows=1 failed=0"},
		"a row of both shards": {fine + fine, []string{"--shards", "2", "--shard", "1"}, nil, statusFailed, "1 of 1 rows were answered with an error"},
		"a shard by flag":      {fine + other, []string{"--shards", "2", "--shard", "0"}, []string{completionIndex + "=1"}, 0, "out-00000-of-00002.jsonl rows=1 failed=0"},
		"no shard":             {fine, []string{"--shards", "2"}, nil, statusUsage, "--shard: say which of the 2 shards is to be answered, or set JOB_COMPLETION_INDEX"},
		"no such index":        {fine, nil, []string{completionIndex + "=1"}, statusUsage, `JOB_COMPLETION_INDEX: "1" is none of --shards 1, which count from 0`},
		"no such shard":        {fine, []string{"--shards", "2", "--shard", "2"}, nil, statusUsage, "--shard: 2 is none of --shards 2"},
		"settings of a server": {fine, []string{"--addr", ":1"}, nil, statusUsage, "--addr: there is no such flag"},
		"a limit of the rows":  {fine, []string{"--max-tokens-limit", "1"}, nil, statusFailed, "1 of 1 rows were answered with an error"},
		"a row too long":       {fine + `{"custom_id":"` + strings.Repeat("x", 1<<20) + `"}`, []string{"--body-limit", "1KiB"}, nil, statusFailed, "1 of 2 rows"},
	} {
		t.Run(name, func(t *testing.T) {
			args, _ := bedOf(t, c.rows)
			for range 2 {
				log := &shared{}
				require.Equal(t, c.status, run(context.Background(), append(args, c.more...), console{out: io.Discard, err: log, env: c.env}), log.String())
				require.Contains(t, log.String(), c.want)
			}
		})
	}
	args, output := bedOf(t, fine+"\nnonsense\n"+fine)
	require.Equal(t, statusFailed, run(context.Background(), args, silent()))
	got := answersIn(t, output)
	require.Len(t, got, 3)
	require.Nil(t, got[1].CustomID)
	require.Equal(t, "invalid_row", got[1].Error.Code)
	require.Equal(t, 3, got[1].Error.Line)
	require.Contains(t, got[1].Error.Message, "line 3: the row is not valid JSON")
	require.Equal(t, "duplicate_custom_id", got[2].Error.Code)
	before, err := os.ReadFile(output)
	require.NoError(t, err)
	log := &shared{}
	require.Equal(t, statusFailed, run(context.Background(), args, console{out: io.Discard, err: log}))
	require.Contains(t, log.String(), "committed=3")
	after, err := os.ReadFile(output)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// A batch whose input has changed ends with a status of its own, and says what to do.
func TestBatchOfChangedFiles(t *testing.T) {
	row := rowText(0, "/v1/completions", `{"prompt":"a","max_tokens":2}`)
	args, output := bedOf(t, row)
	require.Zero(t, run(context.Background(), args, silent()))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(output), "in.jsonl"), []byte(row+rowText(1, "/v1/completions", `{"prompt":"b"}`)), 0o644))
	log := &shared{}
	require.Equal(t, statusFiles, run(context.Background(), args, console{out: io.Discard, err: log}))
	require.Contains(t, log.String(), "of another job (the input): name another --output, or give --overwrite")
	require.Zero(t, run(context.Background(), append(args, "--overwrite"), silent()))
}

// What answers are rounded by is a part of the job, and only where something is rounded.
func TestBatchGoesOnUnderTheSameRounding(t *testing.T) {
	row := rowText(0, "/v1/completions", `{"prompt":"a","max_tokens":2}`)
	for flag, other := range map[string]string{"--kv-type": "f16", "--adapter-precision": "bf16"} {
		args, _ := bedOf(t, row)
		require.Zero(t, run(context.Background(), args, silent()))
		plain := map[string]string{"--kv-type": "f32", "--adapter-precision": "stored"}[flag]
		require.Zero(t, run(context.Background(), append(args, flag, plain), silent()))
		log := &shared{}
		rounded := append(slices.Clone(args), flag, other)
		require.Equal(t, statusFiles, run(context.Background(), rounded, console{out: io.Discard, err: log}), flag)
		require.Contains(t, log.String(), "of another job ("+flag+"): ")
		require.Zero(t, run(context.Background(), append(rounded, "--overwrite"), silent()))
		require.Equal(t, statusFiles, run(context.Background(), args, silent()), flag)
	}
}

// batchProcess starts a batch as a process of its own.
func batchProcess(t *testing.T, args []string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Args[0] = "peft-serve" // which this binary is, then: see TestMain
	cmd.Env = append(os.Environ(), completionIndex+"=0")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// committed waits until so many rows are, or the process has ended.
func committed(output string, least int, ended <-chan error) (dead bool) {
	for {
		select {
		case <-ended:
			return true
		case <-time.After(time.Millisecond):
		}
		text, err := os.ReadFile(output + ".partial")
		if err == nil && bytes.Count(text, []byte("\n")) >= least {
			return false
		}
	}
}

// Killed again and again, and stopped in good order in between, a batch ends with
// the bits of one that nothing has happened to: no row twice, none left out, and
// none changed that was committed.
func TestBatchOutlivesKills(t *testing.T) {
	urls, bodies := mixedRows(600)
	var rows strings.Builder
	for i := range urls {
		rows.WriteString(rowText(i, urls[i], bodies[i]))
	}
	args, output := bedOf(t, rows.String())
	unbroken := slices.Clone(args)
	unbroken[8] = output + "2"
	require.Equal(t, statusFailed, run(context.Background(), unbroken, silent()))

	var kept []byte
	kills := 0
	for at := 0; ; at += 45 {
		cmd := batchProcess(t, args)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if committed(output, at, ended) {
			break
		}
		signal := syscall.SIGKILL
		if kills%4 == 3 {
			signal = syscall.SIGTERM
		}
		_ = cmd.Process.Signal(signal)
		<-ended
		kills++
		if signal == syscall.SIGTERM && cmd.ProcessState.ExitCode() >= 0 {
			require.Contains(t, []int{128 + int(syscall.SIGTERM), statusFailed}, cmd.ProcessState.ExitCode())
		}
		now, err := os.ReadFile(output + ".partial")
		if err != nil {
			break // the signal came after its end
		}
		require.True(t, bytes.HasPrefix(now, kept), "what was committed stays")
		kept = now[:bytes.LastIndexByte(now, '\n')+1]
		require.NoFileExists(t, output)
	}
	require.Greater(t, kills, 2)
	require.Equal(t, statusFailed, run(context.Background(), args, silent()))
	got, err := os.ReadFile(output)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(got, kept))
	want, err := os.ReadFile(output + "2")
	require.NoError(t, err)
	require.Equal(t, ownOfAnswer.ReplaceAllString(string(want), ""), ownOfAnswer.ReplaceAllString(string(got), ""))
	require.NoFileExists(t, output+".partial")
	require.NoFileExists(t, output+".lock")
}

// A log gets a line now and then, with what is left.
func TestLinesOfBatches(t *testing.T) {
	var out bytes.Buffer
	s := &batch.Shard{Done: 100, Rows: 1000}
	p := newRowsProgress(&out, slog.New(slog.NewTextHandler(&out, nil)), s)
	s.Done = 150
	p.committed(s)
	require.Empty(t, out.String())
	p.began, p.last = time.Now().Add(-100*time.Second), time.Now().Add(-rowsEvery)
	s.Done, s.Failed = 200, 7
	p.committed(s)
	p.committed(s)
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	require.Contains(t, out.String(), "done=200 of=1000 failed=7 rows_per_second=1 left=13m20s")
	p.end()
}

package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/serve"
)

// rows are n rows, of which every fifth is none.
func rows(n int) string {
	var b strings.Builder
	for i := range n {
		if i%5 == 4 {
			fmt.Fprintf(&b, "{\"custom_id\":\"r%d\"}\n", i)
			continue
		}
		fmt.Fprintf(&b, "{\"custom_id\":\"r%d\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{}}\n", i)
	}
	return b.String()
}

// answered answers rows by their names, as a server would, and counts how often.
type answered struct {
	mu    sync.Mutex
	times map[string]int
}

func (a *answered) ask(r serve.Row) (serve.RowAnswer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.times == nil {
		a.times = map[string]int{}
	}
	a.times[r.ID]++
	line := fmt.Sprintf(`{"custom_id":%q,"response":{"status_code":200},"error":null}`, r.ID)
	failed := r.ID == "" || strings.HasSuffix(r.ID, "4") || strings.HasSuffix(r.ID, "9")
	if failed {
		line = fmt.Sprintf(`{"custom_id":%q,"response":null,"error":{}}`, r.ID)
	}
	return serve.RowAnswer{Line: []byte(line), Failed: failed}, nil
}

func options(dir string) Options {
	return Options{
		Input: filepath.Join(dir, "in.jsonl"), Output: filepath.Join(dir, "made", "out.jsonl"), Shards: 1, RowLimit: 1 << 10,
		By: map[string]string{"base": "tiny"}, Kernels: "avx2",
	}
}

// batch answers a file and returns the shard as it is then.
func batch(t *testing.T, o Options, a *answered) *Shard {
	t.Helper()
	s, err := Open(o)
	require.NoError(t, err)
	require.NoError(t, s.Run(context.Background(), Work{Ask: a.ask, AtOnce: 4}))
	require.NoError(t, s.Close())
	return s
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// ids are the names of the rows that a text answers, or asks, in order.
func ids(text string) (all []string) {
	for line := range strings.Lines(text) {
		_, rest, _ := strings.Cut(line, `"custom_id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		all = append(all, id)
	}
	return all
}

// Each row is answered once, in order, whatever the shards, and the shards of a
// file are its rows.
func TestShardsAreTheFile(t *testing.T) {
	for _, n := range []int{1, 2, 7, 50} {
		for _, shards := range []int{1, 2, 3, 8, 51} {
			dir := t.TempDir()
			o := options(dir)
			o.Shards = shards
			write(t, o.Input, rows(n))
			var all strings.Builder
			var a answered
			failed := 0
			for o.Shard = range shards {
				s := batch(t, o, &a)
				require.True(t, s.Complete())
				require.Equal(t, s.Rows, s.Done)
				failed += s.Failed
				all.WriteString(read(t, s.Output))
			}
			require.Equal(t, ids(rows(n)), ids(all.String()), "%d rows in %d shards", n, shards)
			require.Equal(t, n/5, failed)
			for id, times := range a.times {
				require.Equal(t, 1, times, id)
			}
			files, err := os.ReadDir(filepath.Join(dir, "made"))
			require.NoError(t, err)
			require.Len(t, files, 2*shards, "outputs, and what they are of")
		}
	}
}

func TestNamesOfShards(t *testing.T) {
	require.Equal(t, "a/out.jsonl", outputOf(Options{Output: "a/out.jsonl", Shards: 1}))
	require.Equal(t, "a/out-00003-of-00008.jsonl", outputOf(Options{Output: "a/out.jsonl", Shard: 3, Shards: 8}))
	require.Equal(t, "a.b/out-00000-of-00002", outputOf(Options{Output: "a.b/out", Shards: 2}))
}

// What is there is gone on with if it is of the same rows and the same base, and
// is refused by what differs otherwise, or replaced where that is asked for.
func TestWhatIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, o *Options)
		want   string // empty: it goes on
	}{
		"nothing":            {func(*testing.T, *Options) {}, ""},
		"another path":       {func(t *testing.T, o *Options) { require.NoError(t, os.Rename(o.Input, o.Input+"2")); o.Input += "2" }, ""},
		"another row":        {func(t *testing.T, o *Options) { write(t, o.Input, rows(10)+"{\"custom_id\":\"other\"}\n") }, "of another job (the input)"},
		"another base":       {func(_ *testing.T, o *Options) { o.By = map[string]string{"base": "x"} }, "of another job (--base)"},
		"a further setting":  {func(_ *testing.T, o *Options) { o.By = map[string]string{"base": "tiny", "x": "1"} }, "of another job (--x)"},
		"a setting fewer":    {func(_ *testing.T, o *Options) { o.By = nil }, "of another job (--base)"},
		"another shard":      {func(t *testing.T, o *Options) { o.Shards = 2; moveTo(t, o) }, "of another job (the shards)"},
		"nothing tells what": {func(t *testing.T, o *Options) { require.NoError(t, os.Remove(o.Output+".job")) }, "nothing tells of what"},
	} {
		for _, done := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, done: %v", name, done), func(t *testing.T) {
				o := options(t.TempDir())
				write(t, o.Input, rows(10))
				batch(t, o, &answered{})
				if !done { // as if the process had died in the sixth answer
					text := read(t, o.Output)
					at := strings.Index(text, `{"custom_id":"r5"`)
					write(t, o.Output+".partial", text[:at+20])
					require.NoError(t, os.Remove(o.Output))
				}
				c.change(t, &o)
				var a answered
				s, err := Open(o)
				if c.want == "" {
					require.NoError(t, err)
					require.Equal(t, map[bool]int{true: 10, false: 5}[done], s.Done)
					require.NoError(t, s.Run(context.Background(), Work{Ask: a.ask, AtOnce: 4}))
					require.NoError(t, s.Close())
					require.Equal(t, ids(rows(10)), ids(read(t, o.Output)))
					require.Equal(t, 2, s.Failed)
					require.Len(t, a.times, 10-map[bool]int{true: 10, false: 5}[done])
					return
				}
				require.ErrorContains(t, err, c.want)
				require.ErrorContains(t, err, "--overwrite")
				o.Replace = true
				s = batch(t, o, &a)
				require.Equal(t, ids(read(t, o.Input))[:s.Rows], ids(read(t, s.Output)))
				require.Len(t, a.times, s.Rows)
				require.NoFileExists(t, s.Output+".partial")
			})
		}
	}
}

// moveTo gives what is there the names that a shard's files have.
func moveTo(t *testing.T, o *Options) {
	for _, end := range []string{"", ".partial", ".job"} {
		if there(o.Output + end) {
			require.NoError(t, os.Rename(o.Output+end, outputOf(*o)+end))
		}
	}
}

// An output that somebody has written to is no answer to the rows.
func TestChangedOutputs(t *testing.T) {
	o := options(t.TempDir())
	write(t, o.Input, rows(3))
	batch(t, o, &answered{})
	text := read(t, o.Output)
	for _, changed := range []string{text + text, text[:len(text)/2], ""} {
		write(t, o.Output, changed)
		_, err := Open(o)
		require.ErrorContains(t, err, "has been changed: move it away")
	}
	require.NoFileExists(t, o.Output+".lock")
}

// Other kernels may go on, and say so.
func TestOtherKernels(t *testing.T) {
	o := options(t.TempDir())
	write(t, o.Input, rows(3))
	batch(t, o, &answered{})
	o.Kernels = "avx512"
	require.Contains(t, batch(t, o, &answered{}).Warning, "avx2 kernels, and these are avx512")
}

// Two processes do not answer into one file.
func TestOneProcessAnOutput(t *testing.T) {
	o := options(t.TempDir())
	write(t, o.Input, rows(3))
	first, err := Open(o)
	require.NoError(t, err)
	_, err = Open(o)
	require.ErrorContains(t, err, "another process answers into")
	require.NoError(t, first.Close())
	batch(t, o, &answered{})
}

func TestInputs(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":     {"", "holds no row"},
		"blank lines": {"\n  \n\t\r\n", "holds no row"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t.TempDir())
			write(t, o.Input, c.text)
			_, err := Open(o)
			require.ErrorContains(t, err, c.want)
		})
	}
	o := options(t.TempDir())
	_, err := Open(o)
	require.ErrorIs(t, err, os.ErrNotExist)
	o.Input = t.TempDir()
	_, err = Open(o)
	require.ErrorContains(t, err, "is no regular file")
}

// Rows are counted by lines: blank ones are none, a last one needs no end, and
// one that is too long is answered without being read.
func TestLines(t *testing.T) {
	o := options(t.TempDir())
	long := `{"custom_id":"long","body":"` + strings.Repeat("x", 1<<20) + `"}`
	write(t, o.Input, "\n{\"custom_id\":\"a\"}\r\n   \n"+long+"\n{\"custom_id\":\"a\"}\n"+strings.Repeat(" ", 1<<20)+"\n{\"custom_id\":\"b\"}")
	var got []serve.Row
	s, err := Open(o)
	require.NoError(t, err)
	require.Equal(t, 4, s.Rows)
	var a answered
	require.NoError(t, s.Run(context.Background(), Work{AtOnce: 1, Ask: func(r serve.Row) (serve.RowAnswer, error) {
		got = append(got, r)
		return a.ask(r)
	}}))
	require.NoError(t, s.Close())
	lines := []int{}
	for _, r := range got {
		lines = append(lines, r.Line)
	}
	require.Equal(t, []int{2, 4, 5, 7}, lines)
	require.Equal(t, serve.TooLong(4, 1<<10), got[1])
	require.Equal(t, serve.ReadRow(5, []byte(`{"custom_id":"a"}`)).Repeated(2), got[2])
}

// A row that finds no room waits for it while others take it, and is answered
// with what it was told if nothing does.
func TestRoom(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := options(dir)
		write(t, o.Input, rows(3))
		s, err := Open(o)
		require.NoError(t, err)
		var a answered
		require.NoError(t, s.Run(t.Context(), Work{AtOnce: 2, Ask: func(r serve.Row) (serve.RowAnswer, error) {
			answer, err := a.ask(r)
			switch {
			case r.ID == "r0":
				time.Sleep(59*time.Second + time.Second/2)
			case r.ID == "r1" && a.count("r1") < 50, r.ID == "r2":
				answer.Failed, answer.Again = true, time.Second
			}
			return answer, err
		}}))
		require.NoError(t, s.Close())
		require.Equal(t, 50, a.times["r1"], "it is asked until there is room")
		require.Equal(t, 11+tries, a.times["r2"], "while there may come to be some, and no longer")
		require.Equal(t, 1, s.Failed)
		require.Equal(t, ids(rows(3)), ids(read(t, o.Output)))
	})
}

func (a *answered) count(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.times[id]
}

// An interrupt leaves what is committed, and nothing of the rows that failed
// because of it.
func TestInterrupts(t *testing.T) {
	o := options(t.TempDir())
	write(t, o.Input, rows(50))
	var a answered
	for stop := range 50 {
		ctx, cancel := context.WithCancelCause(context.Background())
		s, err := Open(o)
		require.NoError(t, err)
		cause := errors.New("enough")
		err = s.Run(ctx, Work{AtOnce: 4, Ask: func(r serve.Row) (serve.RowAnswer, error) {
			if r.ID == fmt.Sprintf("r%d", stop) {
				cancel(cause)
			}
			if ctx.Err() != nil {
				return serve.RowAnswer{Line: []byte("interrupted"), Failed: true, Again: time.Second}, nil
			}
			return a.ask(r)
		}})
		require.NoError(t, s.Close())
		if s.Done < s.Rows {
			require.ErrorIs(t, err, cause)
			require.NotContains(t, read(t, o.Output+".partial"), "interrupted")
		}
	}
	batch(t, o, &a)
	require.Equal(t, ids(rows(50)), ids(read(t, o.Output)))
}

// An answer that cannot be made ends the run.
func TestFaults(t *testing.T) {
	o := options(t.TempDir())
	write(t, o.Input, rows(50))
	s, err := Open(o)
	require.NoError(t, err)
	var a answered
	err = s.Run(context.Background(), Work{AtOnce: 4, Ask: func(r serve.Row) (serve.RowAnswer, error) {
		if r.ID == "r7" {
			return serve.RowAnswer{}, errors.New("no")
		}
		return a.ask(r)
	}})
	require.EqualError(t, err, "no")
	require.Equal(t, 7, s.Done)
	require.NoError(t, s.Close())
	require.Equal(t, 7, bytes.Count([]byte(read(t, o.Output+".partial")), []byte("\n")))
}

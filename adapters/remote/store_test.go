package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
)

const uri = "test://a"

// memory is a source with one adapter. What it announces and what it sends may
// differ.
type memory struct {
	id, pinned string
	bases      []string
	files      map[string]string
	sizes      map[string]int64  // announced, where it is another than the content's
	digests    map[string]string // announced
	opens      []error           // of the next calls of Open; nil: it works
	reads      []error           // of the next readings: after half of a file
	stalls     bool              // a reading does not go on

	mu   sync.Mutex
	read []string
}

func newMemory() *memory {
	return &memory{id: "one", files: map[string]string{
		adapters.ConfigFile: `{"peft_type":"LORA"}`, adapters.SafeFile: strings.Repeat("weights ", 100), "additional_chat_templates/a.jinja": "{{ a }}",
	}}
}

func (m *memory) Pinned(string) string { return m.pinned }

func (m *memory) Open(ctx context.Context, _ string) (*Artefact, error) {
	if len(m.opens) > 0 {
		err := m.opens[0]
		m.opens = m.opens[1:]
		if err != nil {
			return nil, err
		}
	}
	a := &Artefact{ID: m.id, Bases: m.bases, Read: m.content}
	for name, text := range m.files {
		sum := sha256.Sum256([]byte(text))
		f := File{Name: name, Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:])}
		if size, ok := m.sizes[name]; ok {
			f.Size = size
		}
		if digest, ok := m.digests[name]; ok {
			f.SHA256 = digest
		}
		a.Files = append(a.Files, f)
	}
	return a, nil
}

func (m *memory) content(ctx context.Context, f File) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read = append(m.read, f.Name)
	text := m.files[f.Name]
	if m.stalls {
		return io.NopCloser(io.MultiReader(strings.NewReader(text[:1]), stalled{ctx})), nil
	}
	if len(m.reads) > 0 {
		err := m.reads[0]
		m.reads = m.reads[1:]
		if err != nil {
			return io.NopCloser(io.MultiReader(strings.NewReader(text[:len(text)/2]), broken{err})), nil
		}
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

// stalled has nothing to read until its context ends, as a connection.
type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) { <-s.ctx.Done(); return 0, s.ctx.Err() }

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func configOf(t *testing.T) Config {
	return Config{Dir: filepath.Join(t.TempDir(), "store"), Limit: 1 << 20, Backoff: time.Millisecond}
}

// verifyWhole demands that a folder has a source's files.
func verifyWhole(t *testing.T, m *memory, dir string) {
	t.Helper()
	for name, want := range m.files {
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		require.NoError(t, err)
		require.Equal(t, want, string(text), name)
	}
}

// verifyNothing demands that a store holds no adapter, nor a part of one.
func verifyNothing(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	require.NoError(t, err)
	for _, e := range left {
		require.Contains(t, []string{"locks", "refs"}, e.Name())
	}
}

func TestFetch(t *testing.T) {
	m, c := newMemory(), configOf(t)
	var progress []Progress
	c.Progress = func(p Progress) { progress = append(progress, p) }
	s := New(c)
	f, err := s.Fetch(t.Context(), m, uri)
	require.NoError(t, err)
	require.Equal(t, Fetched{ID: "one", Dir: filepath.Join(c.Dir, "one")}, f)
	verifyWhole(t, m, f.Dir)
	require.Equal(t, adapters.ConfigFile, m.read[0])
	require.Contains(t, progress, Progress{URI: uri, File: adapters.SafeFile, Done: 800, Size: 800})

	again, err := s.Fetch(t.Context(), m, uri)
	require.NoError(t, err)
	require.Equal(t, f, again)
	require.Len(t, m.read, len(m.files), "what is there is not read again")

	// What moves is another folder; the old one stays as it was.
	old := newMemory()
	m.id, m.files[adapters.SafeFile] = "two", "other"
	moved, err := s.Fetch(t.Context(), m, uri)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(c.Dir, "two"), moved.Dir)
	verifyWhole(t, m, moved.Dir)
	verifyWhole(t, old, f.Dir)
}

// What cannot be asked for is taken as it last was, and said so; what is pinned
// is not asked for.
func TestFetchWithoutTheSource(t *testing.T) {
	m, c := newMemory(), configOf(t)
	s := New(c)
	down := []error{ErrUnreachable, ErrUnreachable, ErrUnreachable}
	m.opens = slices.Clone(down)
	_, err := s.Fetch(t.Context(), m, uri)
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorContains(t, err, uri)
	_, err = s.Fetch(t.Context(), m, uri)
	require.NoError(t, err)
	m.opens = slices.Clone(down)
	f, err := s.Fetch(t.Context(), m, uri)
	require.NoError(t, err)
	require.ErrorIs(t, f.Stale, ErrUnreachable)
	require.Equal(t, "one", f.ID)

	m.opens = []error{ErrNotFound}
	_, err = s.Fetch(t.Context(), m, uri)
	require.ErrorIs(t, err, ErrNotFound, "it has been removed")
	m.opens = []error{ErrUnauthorized}
	_, err = s.Fetch(t.Context(), m, uri)
	require.ErrorIs(t, err, ErrUnauthorized)

	m.pinned, m.opens = "one", []error{errors.New("it is asked")}
	f, err = s.Fetch(t.Context(), m, uri+"@pinned")
	require.NoError(t, err)
	require.NoError(t, f.Stale)
	require.Len(t, m.opens, 1)
}

func TestCutsAreTriedAgain(t *testing.T) {
	m, c := newMemory(), configOf(t)
	m.opens = []error{ErrUnreachable}
	m.reads = []error{errors.New("reset"), errors.New("reset")}
	var waits []error
	c.Waiting = func(err error, _ time.Duration) { waits = append(waits, err) }
	f, err := New(c).Fetch(t.Context(), m, uri)
	require.NoError(t, err)
	verifyWhole(t, m, f.Dir)
	require.Len(t, waits, 3)
	require.ErrorContains(t, waits[1], "cut at byte 10 of 20: reset")

	m, c = newMemory(), configOf(t)
	m.reads = []error{nil, io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, io.ErrUnexpectedEOF}
	_, err = New(c).Fetch(t.Context(), m, uri)
	require.ErrorIs(t, err, ErrUnreachable)
	require.Empty(t, m.reads)
	verifyNothing(t, c.Dir)
}

// Whatever a source announces and sends, there is the adapter that it announced
// or nothing.
func TestHostileSources(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*memory)
		want   error
		says   string
	}{
		"longer":    {func(m *memory) { m.sizes = map[string]int64{adapters.SafeFile: 799} }, ErrCorrupt, adapters.SafeFile + ": " + ErrCorrupt.Error() + ": more than 799 bytes"},
		"shorter":   {func(m *memory) { m.sizes = map[string]int64{adapters.SafeFile: 801} }, ErrUnreachable, "cut at byte 800 of 801"},
		"another":   {func(m *memory) { m.digests = map[string]string{adapters.SafeFile: strings.Repeat("ab", 32)} }, ErrCorrupt, "want abab"},
		"no config": {func(m *memory) { delete(m.files, adapters.ConfigFile) }, ErrNotFound, adapters.ConfigFile},
		"two of llama.cpp's": {func(m *memory) {
			delete(m.files, adapters.ConfigFile)
			m.files["a.gguf"], m.files["b.gguf"] = "a", "b"
		}, adapters.ErrConfig, "a.gguf"},
		"hidden":   {func(m *memory) { m.files[".a.gguf"] = "a" }, ErrReply, ".a.gguf"},
		"large":    {func(m *memory) { m.sizes = map[string]int64{adapters.SafeFile: 1 << 20} }, ErrTooLarge, "1048603 bytes"},
		"negative": {func(m *memory) { m.sizes = map[string]int64{adapters.SafeFile: -1} }, ErrReply, "-1 bytes"},
		"overflowing": {func(m *memory) {
			m.sizes = map[string]int64{adapters.SafeFile: math.MaxInt64, "additional_chat_templates/a.jinja": math.MaxInt64}
		}, ErrReply, "bytes"},
		"out":       {func(m *memory) { m.files["../tokenizer.json"] = "x" }, ErrReply, `"../tokenizer.json"`},
		"out by \\": {func(m *memory) { m.files[`tokenizer\..\..\x`] = "x" }, ErrReply, "tokenizer"},
		"absolute":  {func(m *memory) { m.files["/etc/tokenizer.json"] = "x" }, ErrReply, "/etc"},
		"folder":    {func(m *memory) { m.files["additional_chat_templates/../a.jinja"] = "x" }, ErrReply, ".."},
		"own file":  {func(m *memory) { m.files[kept] = "{}" }, ErrReply, kept},
		"many": {func(m *memory) {
			for i := range 300 {
				m.files[fmt.Sprintf("tokenizer%d", i)] = "x"
			}
		}, ErrTooLarge, "303 files"},
	} {
		t.Run(name, func(t *testing.T) {
			m, config := newMemory(), configOf(t)
			c.change(m)
			_, err := New(config).Fetch(t.Context(), m, uri)
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, uri)
			require.ErrorContains(t, err, c.says)
			verifyNothing(t, config.Dir)
		})
	}
}

// A file of llama.cpp's is an adapter where there is no configuration, and stays where
// it is beside one. It is refused by the bases that are told before it is asked for.
func TestStoredGGUF(t *testing.T) {
	m, c := newMemory(), configOf(t)
	m.files["a.gguf"], m.files[adapters.TorchFile] = "file", "weights"
	f, err := New(c).Fetch(t.Context(), m, uri)
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(f.Dir, "a.gguf"))
	require.NoFileExists(t, filepath.Join(f.Dir, adapters.TorchFile), "of two forms of the tensors one is read")

	m, c = newMemory(), configOf(t)
	delete(m.files, adapters.ConfigFile)
	delete(m.files, adapters.SafeFile)
	m.files["a.gguf"], m.bases = "file", []string{"digest of a"}
	errOther := errors.New("for another base")
	c.Suits = func(d Described) error {
		if !slices.Contains(d.Bases, "digest of a") {
			return errOther
		}
		return nil
	}
	f, err = New(c).Fetch(t.Context(), m, uri)
	require.NoError(t, err)
	found, err := adapters.GGUFIn(f.Dir)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(f.Dir, "a.gguf"), found)
	m.id, m.bases, m.read = "other", []string{"digest of b"}, nil
	_, err = New(c).Fetch(t.Context(), m, uri)
	require.ErrorIs(t, err, errOther)
	require.NotContains(t, m.read, "a.gguf")
}

// An adapter for another base is refused before its weights are asked for, and
// each time again, since bases may share a store.
func TestOtherBases(t *testing.T) {
	m, c := newMemory(), configOf(t)
	m.bases = []string{"digest of a", "digest of b"}
	errOther := errors.New("for another base")
	suits := func(own string) *Store {
		c.Suits = func(d Described) error {
			text, err := os.ReadFile(filepath.Join(d.Dir, adapters.ConfigFile))
			require.NoError(t, err)
			require.Equal(t, m.files[adapters.ConfigFile], string(text))
			if !slices.Contains(d.Bases, own) {
				return errOther
			}
			return nil
		}
		return New(c)
	}
	_, err := suits("digest of c").Fetch(t.Context(), m, uri)
	require.ErrorIs(t, err, errOther)
	require.Equal(t, []string{adapters.ConfigFile}, m.read)
	verifyNothing(t, c.Dir)

	_, err = suits("digest of b").Fetch(t.Context(), m, uri)
	require.NoError(t, err)
	_, err = suits("digest of c").Fetch(t.Context(), m, uri)
	require.ErrorIs(t, err, errOther)
	m.pinned = "one"
	_, err = suits("digest of c").Fetch(t.Context(), m, uri)
	require.ErrorIs(t, err, errOther)
}

func TestStallsEnd(t *testing.T) {
	m, c := newMemory(), configOf(t)
	m.stalls, c.Idle = true, 10*time.Millisecond
	_, err := New(c).Fetch(t.Context(), m, uri)
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorContains(t, err, "no byte for 10ms")
	require.Len(t, m.read, 3, "it is tried again")
	verifyNothing(t, c.Dir)

	m, c = newMemory(), configOf(t)
	m.stalls, c.Timeout = true, 10*time.Millisecond
	_, err = New(c).Fetch(t.Context(), m, uri)
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorContains(t, err, "it took more than 10ms")
	verifyNothing(t, c.Dir)

	m, c = newMemory(), configOf(t)
	m.stalls = true
	ctx, cancel := context.WithCancel(t.Context())
	c.Progress = func(Progress) { cancel() }
	_, err = New(c).Fetch(ctx, m, uri)
	require.ErrorIs(t, err, context.Canceled)
	verifyNothing(t, c.Dir)
}

// Who wants the same at once waits for one transfer.
func TestFetchedOnce(t *testing.T) {
	m, c := newMemory(), configOf(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			f, err := New(c).Fetch(t.Context(), m, uri)
			if err != nil || f.ID != "one" {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
	all.Wait()
	require.Len(t, m.read, len(m.files))
	verifyWhole(t, m, filepath.Join(c.Dir, "one"))
}

// What a process has left that died is removed by the next.
func TestLeftovers(t *testing.T) {
	m, c := newMemory(), configOf(t)
	left := filepath.Join(c.Dir, ".one.abc", "one")
	require.NoError(t, os.MkdirAll(left, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(left, adapters.SafeFile), bytes.Repeat([]byte("x"), 99), 0o644))
	_, err := New(c).Fetch(t.Context(), m, uri)
	require.NoError(t, err)
	require.NoDirExists(t, filepath.Dir(left))
}

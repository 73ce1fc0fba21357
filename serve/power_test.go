//go:build unix

package serve

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/disk/disktest"
)

// goldenArchive is a golden adapter as it is uploaded, with a file in a folder.
func goldenArchive(t *testing.T, name string) string {
	t.Helper()
	files := []entry{{name: "additional_chat_templates/tool.jinja", body: "{{ messages[0].content }}"}, {name: "chat_template.jinja", body: "{{ messages[0].content }}"}}
	for _, file := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		text, err := os.ReadFile(filepath.Join(goldens, "adapters", name, file))
		require.NoError(t, err)
		files = append(files, entry{name: file, body: string(text)})
	}
	return string(gzipOf(t, tarOf(t, files...)))
}

func goldenDigest(t *testing.T, name string) string {
	t.Helper()
	folder, err := adapters.Open(filepath.Join(goldens, "adapters", name))
	require.NoError(t, err)
	return folder.Digest()
}

// layUpload lays an adapter among the others as an upload leaves it.
func layUpload(t *testing.T, root, name, adapter string) {
	t.Helper()
	folder := filepath.Join(root, name)
	require.NoError(t, os.Mkdir(folder, 0o755))
	require.NoError(t, unpackInto(folder, strings.NewReader(goldenArchive(t, adapter)), archiveLimits{1 << 30, 100, 4}))
	require.NoError(t, mark(folder))
}

func unlogged() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// found is the digest of the adapter x that the next server finds in a folder,
// whole, and "" for none. Nothing else is there.
func found(t *testing.T, dir string) string {
	t.Helper()
	recoverStaging(dir, unlogged())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	if len(entries) == 0 {
		return ""
	}
	require.Len(t, entries, 1)
	require.Equal(t, "x", entries[0].Name())
	folder, err := adapters.Open(filepath.Join(dir, "x"))
	require.NoError(t, err)
	require.True(t, isUploaded(filepath.Join(dir, "x")))
	return folder.Digest()
}

// A server that dies, a disk that is full, and one that fails, at each operation
// of an upload or a DELETE: what is there after it, even if the power is lost
// too, is the old version or the new one, whole, the new one if the client was
// told so, and nothing else.
func TestPublishAndDeleteOutlastPower(t *testing.T) {
	lora, dora, archive := goldenDigest(t, "lora"), goldenDigest(t, "dora"), goldenArchive(t, "dora")
	s := newSite(t, func(config *Config, _ *Parts) { config.Adapters = t.TempDir() })
	require.Equal(t, http.StatusOK, s.get(t, "/health").status) // it has read its settings
	for _, c := range []struct {
		name, method, old, made string
		noExchange              bool
	}{
		{"publish", http.MethodPut, "", dora, false},
		{"replace", http.MethodPut, lora, dora, false},
		{"replace by renaming", http.MethodPut, lora, dora, true},
		{"delete", http.MethodDelete, lora, "", false},
	} {
		t.Run(c.name, disktest.Trial{
			NoExchange: c.noExchange,
			Prepare: func(t *testing.T, root string) {
				if c.old != "" {
					layUpload(t, root, "x", "lora")
				}
			},
			Act: func(t *testing.T, root string) error {
				s.server.config.Adapters = root // nobody is asking for anything
				s.catalogue.Add("x", filepath.Join(root, "x"))
				body := ""
				if c.method == http.MethodPut {
					body = archive
				}
				got := s.send(t, c.method, "/v1/adapters/x", body)
				if got.status < 300 {
					return nil
				}
				if !strings.Contains(got.body, disktest.ErrDead.Error()) { // which nobody hears
					require.GreaterOrEqual(t, got.status, 500, got.body)
					require.NotContains(t, got.body, root)
				}
				return errors.New(got.body)
			},
			Check: func(t *testing.T, dir string, done bool) {
				got := found(t, dir)
				require.True(t, got == c.made || got == c.old && !done, "%q is there, done: %v", got, done)
			},
		}.Run)
	}
}

// What a server has left that died while it replaced an adapter by renaming is
// mended, though the one that mends it dies too.
func TestRecoveryOutlastsPower(t *testing.T) {
	lora := goldenDigest(t, "lora")
	disktest.Trial{
		Prepare: func(t *testing.T, root string) {
			left := filepath.Join(root, incoming+"1")
			require.NoError(t, os.Mkdir(left, 0o755))
			require.NoError(t, os.WriteFile(left+lockSuffix, nil, 0o644))
			layUpload(t, left, asidePrefix+"x", "lora")
			layUpload(t, left, "files", "dora")
		},
		Act:   func(_ *testing.T, root string) error { recoverStaging(root, unlogged()); return nil },
		Check: func(t *testing.T, dir string, _ bool) { require.Equal(t, lora, found(t, dir)) },
	}.Run(t)
}

// A full disk is told as such, changes nothing, and can be emptied.
func TestFullDisk(t *testing.T) {
	root := t.TempDir()
	layUpload(t, root, "x", "lora")
	s := newSite(t, func(config *Config, _ *Parts) { config.Adapters = root })
	s.catalogue.Add("x", filepath.Join(root, "x"))
	full := disktest.New(t, root)
	full.Fail = func(_ int, op string) error {
		if strings.HasPrefix(op, "write") || strings.HasPrefix(op, "mkdir") {
			return syscall.ENOSPC
		}
		return nil
	}
	got := s.send(t, http.MethodPut, "/v1/adapters/x", goldenArchive(t, "dora"))
	require.Equal(t, http.StatusInsufficientStorage, got.status, got.body)
	require.Contains(t, got.body, `"code":"disk_full"`)
	require.Equal(t, goldenDigest(t, "lora"), found(t, root))
	require.Equal(t, http.StatusNoContent, s.send(t, http.MethodDelete, "/v1/adapters/x", "").status)
	require.Empty(t, found(t, root))
}

// A start removes what servers that are no more have left, with a lock and, as
// earlier releases left it, without, and nothing that another server is at work
// on.
func TestStartSparesLivingServers(t *testing.T) {
	root := t.TempDir()
	living, err := newStaging(root)
	require.NoError(t, err)
	dead, err := newStaging(root)
	require.NoError(t, err)
	require.NoError(t, disk.Mkdir(dead.files()))
	require.NoError(t, dead.lock.Release())
	for _, earlier := range []string{"123", "removed-123"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, incoming+earlier, "x"), 0o755))
	}
	layUpload(t, root, "x", "lora")
	newSite(t, func(config *Config, _ *Parts) { config.Adapters = root })
	require.NoDirExists(t, dead.dir)
	require.NoFileExists(t, dead.dir+lockSuffix)
	require.DirExists(t, living.dir)
	require.NoError(t, living.remove())
	require.Equal(t, goldenDigest(t, "lora"), found(t, root))
}

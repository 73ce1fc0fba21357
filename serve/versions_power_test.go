//go:build unix

package serve

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/disk/disktest"
)

// digestCatalogue knows the adapters in a folder by their digests alone.
func digestCatalogue(t *testing.T, dir string) *catalogue.Catalogue {
	t.Helper()
	known, err := catalogue.New(func(_ context.Context, s catalogue.Source) (catalogue.Adapter, error) {
		folder, err := adapters.Open(s.Dir)
		if err != nil {
			return nil, err
		}
		return fakeAdapter{digest: folder.Digest(), bytes: 1}, nil
	}, catalogue.Options{Dir: dir, Log: unlogged()})
	require.NoError(t, err)
	return known
}

// meaning is what the next server makes of the adapter x in a folder: the digests
// of the live version and of the canary, and of all that are on the disk, each
// whole. Nothing else is there.
func meaning(t *testing.T, dir string) (live, canary string, all []string) {
	t.Helper()
	recoverStaging(dir, unlogged())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.Contains(t, []string{"x", catalogue.VersionsFolder, catalogue.AliasesFolder}, e.Name())
	}
	known := digestCatalogue(t, dir)
	defer func() { require.NoError(t, known.Close()) }()
	versions, alias, err := known.Versions("x")
	if errors.Is(err, catalogue.ErrUnknown) {
		return "", "", nil
	}
	require.NoError(t, err)
	for _, session := range []string{"", sessionOfCanary(alias)} {
		lease, err := known.Acquire("x", session)
		require.NoError(t, err)
		require.NoError(t, lease.Wait(t.Context()))
		if session == "" {
			live = lease.Digest()
		} else if lease.Digest() != live {
			canary = lease.Digest()
		}
		lease.Release()
	}
	for _, v := range versions {
		folder, err := adapters.Open(v.Dir)
		require.NoError(t, err)
		require.True(t, isUploaded(v.Dir))
		if v.Dir != filepath.Join(dir, "x") {
			require.Equal(t, folder.Digest(), filepath.Base(v.Dir))
		}
		all = append(all, folder.Digest())
	}
	return live, canary, all
}

// sessionOfCanary is one that a canary of 100 % answers.
func sessionOfCanary(catalogue.Alias) string { return "anyone" }

// A server that dies, a disk that is full, and one that fails, at each operation
// by which versions come, change their roles and go: the name means what it meant,
// or what it was to mean, whole, and that if the client was told so; and what was
// promised to be kept is there.
func TestVersionsOutlastPower(t *testing.T) {
	lora, dora, other := goldenDigest(t, "lora"), goldenDigest(t, "dora"), goldenDigest(t, "prefix")
	s := newSite(t, func(config *Config, _ *Parts) { config.Adapters, config.KeepVersions = t.TempDir(), 1 })
	require.Equal(t, http.StatusOK, s.get(t, "/health").status) // it has read its settings
	plain := func(t *testing.T, root string) { layUpload(t, root, "x", "lora") }
	alias := func(t *testing.T, root, text string) {
		folder := filepath.Join(root, catalogue.AliasesFolder)
		require.NoError(t, os.MkdirAll(folder, 0o755))
		require.NoError(t, os.WriteFile(catalogue.AliasFile(folder, "x"), []byte(text), 0o644))
	}
	version := func(t *testing.T, root, adapter string) {
		folder := filepath.Join(root, catalogue.VersionsFolder, "x")
		require.NoError(t, os.MkdirAll(folder, 0o755))
		layUpload(t, folder, goldenDigest(t, adapter), adapter)
	}
	two := func(t *testing.T, root string) {
		version(t, root, "lora")
		version(t, root, "dora")
		alias(t, root, "live: "+lora)
	}
	tried := func(t *testing.T, root string) {
		two(t, root)
		alias(t, root, "live: "+lora+"\ncanary: {digest: "+dora+", percent: 100}")
	}
	type role struct{ live, canary string }
	for _, c := range []struct {
		name         string
		prepare      func(t *testing.T, root string)
		method, path string
		body         string
		old, made    role
		keeps        []string // whatever happens
		noExchange   bool
	}{
		{"replace the first", plain, "PUT", "", "dora", role{lora, ""}, role{dora, ""}, []string{lora}, false},
		{"replace", two, "PUT", "", "prefix", role{lora, ""}, role{other, ""}, nil, false},
		{"replace by a kept one by renaming", two, "PUT", "", "dora", role{lora, ""}, role{dora, ""}, []string{lora, dora}, true},
		{"publish a canary", plain, "PUT", "?canary=100", "dora", role{lora, ""}, role{lora, dora}, []string{lora}, false},
		{"roll back", two, "POST", "/rollback", `{"digest":"` + dora + `"}`, role{lora, ""}, role{dora, ""}, []string{lora, dora}, false},
		{"end a canary", tried, "POST", "/canary", `{"percent":0}`, role{lora, dora}, role{lora, ""}, []string{lora, dora}, false},
		{"promote a canary", tried, "POST", "/rollback", `{"digest":"` + dora + `"}`, role{lora, dora}, role{dora, ""}, []string{lora, dora}, false},
		{"delete", tried, "DELETE", "", "", role{lora, dora}, role{}, nil, false},
	} {
		t.Run(c.name, disktest.Trial{
			NoExchange: c.noExchange,
			Prepare:    c.prepare,
			Act: func(t *testing.T, root string) error {
				known := digestCatalogue(t, root)
				defer func() { require.NoError(t, known.Close()) }()
				s.server.config.Adapters, s.server.catalogue = root, known // nobody is asking for anything
				body := c.body
				if c.method == http.MethodPut {
					body = goldenArchive(t, c.body)
				}
				path := "/v1/adapters/x" + c.path
				got := s.send(t, c.method, path, body)
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
				live, canary, all := meaning(t, dir)
				got := role{live, canary}
				require.True(t, got == c.made || got == c.old && !done, "%v, done: %v", got, done)
				for _, digest := range c.keeps {
					require.True(t, slices.Contains(all, digest), "%s is not kept: %v", digest, all)
				}
			},
		}.Run)
	}
}

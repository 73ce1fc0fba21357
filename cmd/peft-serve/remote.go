package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/remote"
	"github.com/peft-serve/peft-serve/adapters/remote/oci"
	"github.com/peft-serve/peft-serve/adapters/remote/s3"
	"github.com/peft-serve/peft-serve/builtin"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/downloads"
	"github.com/peft-serve/peft-serve/models/hub"
)

// remotes are registries and stores that adapters come from, and the folder
// where they are kept. The variables are read when the first URI comes.
type remotes struct {
	log    *slog.Logger
	folder string
	store  *remote.Store
	oci    func() (remote.Source, error)
	s3     func() (remote.Source, error)

	shown    *downloads.Display
	starting atomic.Bool // fetches are shown
}

// remotes are those of the settings, for base b.
func (c *serveCommand) remotes(b *base, con console, log *slog.Logger) *remotes {
	r := &remotes{log: log, folder: c.adapterCache(), shown: downloads.New(con.err, bytesText)}
	r.starting.Store(true)
	r.store = remote.New(remote.Config{
		Dir: r.folder, Limit: int64(c.UploadLimit), Timeout: c.FetchTimeout, Suits: b.suits,
		Progress: func(p remote.Progress) {
			if r.starting.Load() {
				r.shown.Show(p.URI, p.File, p.Done, p.Size)
			}
		},
		Waiting: func(err error, wait time.Duration) {
			log.Warn("a source of adapters does not answer", "error", err, "again in", wait)
		},
	})
	settings := sync.OnceValues(func() (s3.Config, error) {
		config, err := s3.ConfigFrom(os.Getenv)
		config.Client = remote.Client(c.trustedHosts(config.Endpoint)...)
		return config, err
	})
	r.oci = sync.OnceValues(func() (remote.Source, error) {
		config, _ := settings() // an error is for who asks for s3://
		return oci.New(oci.Config{Credentials: oci.CredentialsFile(os.Getenv), PlainHTTP: c.PlainHTTP, Client: config.Client})
	})
	r.s3 = sync.OnceValues(func() (remote.Source, error) {
		config, err := settings()
		if err != nil {
			return nil, err
		}
		return s3.New(config), nil
	})
	return r
}

// scheme lets the catalogue take adapters by URIs of a source.
func (r *remotes) scheme(source func() (remote.Source, error)) catalogue.Scheme {
	return func(ctx context.Context, uri string) (string, error) {
		from, err := source()
		if err != nil {
			return "", err
		}
		if r.folder == "" {
			return "", errNoCache
		}
		f, err := r.store.Fetch(ctx, from, uri)
		if err != nil {
			return "", err
		}
		if f.Stale != nil {
			r.log.Warn("a source of adapters cannot be reached, what it had before is used", "adapter", uri, "id", f.ID, "error", f.Stale)
		}
		r.log.Info("adapter fetched", "adapter", uri, "id", f.ID)
		return f.Dir, nil
	}
}

var errNoCache = errors.New("--adapter-cache: name a folder for fetched adapters: the user has no home folder")

// schemes are all that adapters beside those of folders are named by.
func (r *remotes) schemes() map[string]catalogue.Scheme {
	return map[string]catalogue.Scheme{
		builtin.Scheme: builtinScheme, "hf": hubScheme(r.log), "oci": r.scheme(r.oci), "s3": r.scheme(r.s3),
	}
}

// checkRemote refuses what is no URI of an adapter elsewhere.
func checkRemote(uri string) (err error) {
	scheme, _, _ := strings.Cut(uri, "://")
	switch scheme {
	case "hf":
		_, err = hub.ParseRef(uri)
	case "oci":
		_, err = oci.ParseRef(uri)
	case "s3":
		_, err = s3.ParseRef(uri)
	default:
		err = fmt.Errorf("%q: want oci://, s3:// or hf://", uri)
	}
	return err
}

// adaptersFrom are the names and URIs of --adapters-from; every fault is told.
func (c *hosting) adaptersFrom() (named [][2]string, faults []error) {
	seen := map[string]bool{}
	for _, setting := range c.AdaptersFrom {
		name, uri, ok := strings.Cut(setting, "=")
		switch {
		case !ok || name == "":
			faults = append(faults, fmt.Errorf("%q is not NAME=URI, as in sst2=oci://registry.example/sst2:v1", setting))
			continue
		case seen[name]:
			faults = append(faults, fmt.Errorf("%s is named twice", name))
		case name == c.baseName():
			faults = append(faults, fmt.Errorf("%s is the name of the base", name))
		}
		seen[name] = true
		if err := checkRemote(uri); err != nil {
			faults = append(faults, err)
		}
		named = append(named, [2]string{name, uri})
	}
	return named, faults
}

// fetchNamed loads the adapters of --adapters-from, so that what is wrong with
// one shows at the start.
func (c *serveCommand) fetchNamed(ctx context.Context, known *catalogue.Catalogue, r *remotes) error {
	defer r.starting.Store(false)
	named, _ := c.adaptersFrom()
	wrong := make([]error, len(named))
	var loading sync.WaitGroup
	for i, n := range named {
		name, uri := n[0], n[1]
		if e, err := known.Lookup(name); err == nil && e.URI != c.builtinURIs()[name] {
			wrong[i] = fmt.Errorf("--adapters-from: %s is a folder of --adapters too", name)
			continue
		}
		if err := known.Add(name, uri); err != nil {
			wrong[i] = fmt.Errorf("--adapters-from: %w", err)
			continue
		}
		loading.Go(func() {
			if _, err := known.Load(ctx, name); err != nil {
				wrong[i] = fmt.Errorf("--adapters-from: %w", catalogue.OfAdapter(name, err))
			}
		})
	}
	loading.Wait()
	r.shown.End()
	return errors.Join(wrong...)
}

// trustedHosts are those that the operator names: whatever leads there is
// followed.
func (c *serveCommand) trustedHosts(endpoint string) (hosts []string) {
	for _, uri := range slices.Concat(c.AdaptersFrom, c.AllowSource) {
		if _, rest, ok := strings.Cut(uri, oci.Scheme); ok {
			host, _, _ := strings.Cut(rest, "/")
			hosts = append(hosts, host)
		}
	}
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		hosts = append(hosts, u.Host)
	}
	return hosts
}

// adapterCache is the folder for adapters of registries and stores; empty: the
// user has none.
func (c *serveCommand) adapterCache() string {
	if c.AdapterCache != "" {
		return c.AdapterCache
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "peft-serve", "adapters")
}

// suits refuses an adapter that says that it is for another base.
func (b *base) suits(d remote.Described) error {
	if own := b.digest(); len(d.Bases) > 0 && !slices.Contains(d.Bases, own) {
		return fmt.Errorf("%w: it is for the base %s (%s), and the base served here is %s (%s): what is trained for this one too is pushed with a further --base",
			adapters.ErrBase, cmp.Or(adapters.NamedBase(d.Dir), "of digest"), strings.Join(d.Bases, ", "), b.names[0], own)
	}
	if stranger := b.stranger(adapters.NamedBase(d.Dir)); stranger != "" && b.strict {
		return fmt.Errorf("%w: %s (--strict-base)", adapters.ErrBase, stranger)
	}
	return nil
}

// pinned refuses an adapter that is not the one that a URI pins. Of oci:// it is
// the manifest that is pinned, and has been compared.
func pinned(uri, digest string) error {
	if !strings.HasPrefix(uri, s3.Scheme) {
		return nil
	}
	ref, err := s3.ParseRef(uri)
	if err == nil && ref.Digest != "" && ref.Digest != digest {
		err = fmt.Errorf("%s: %w: the adapter's digest is %s", uri, remote.ErrCorrupt, digest)
	}
	return err
}

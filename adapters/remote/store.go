package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/regular"
)

// Config says where a Store lies and what it takes.
type Config struct {
	Dir     string        // of the store; made when it is needed
	Limit   int64         // the most bytes of an adapter; no default
	Timeout time.Duration // the longest that fetching one may take; default 10 min
	Idle    time.Duration // without a byte after which an answer is given up; default 30 s

	Attempts int           // for one answer, the first included; default 3
	Backoff  time.Duration // before the second attempt, doubling; default 1 s

	// Suits refuses an adapter that is not for the base at hand, before its
	// weights are fetched; nil: all are taken.
	Suits func(Described) error

	// Progress and Waiting, one call at a time, tell how far a file is and why an
	// attempt failed; they may be nil.
	Progress func(Progress)
	Waiting  func(err error, wait time.Duration)
}

// Described is what is known of an adapter before its weights are.
type Described struct {
	Dir   string   // a folder with its configuration
	Bases []string // digests of the bases that it is for; none: it does not say
}

// Progress tells how far a file of an adapter is.
type Progress struct {
	URI, File  string
	Done, Size int64
}

// Store is a folder of adapters that were fetched. Several processes may share
// one.
//
//	<id>/              an artefact's files, and kept
//	refs/<digest>      of a URI that may change: the ID of what it last named
//	locks/<id>         held while an artefact is fetched
type Store struct {
	config    Config
	reporting sync.Mutex // held while Progress or Waiting runs
}

// New returns a Store.
func New(c Config) *Store {
	fill := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	fill(&c.Timeout, 10*time.Minute)
	fill(&c.Idle, 30*time.Second)
	fill(&c.Backoff, time.Second)
	if c.Attempts == 0 {
		c.Attempts = 3
	}
	return &Store{config: c}
}

// Fetched is an adapter in a Store.
type Fetched struct {
	ID, Dir string
	Stale   error // why the source could not be asked for a newer one; nil where it was
}

// kept is the file in an artefact's folder that says what else is known of it.
const kept = ".artefact.json"

type keptArtefact struct {
	URI   string   `json:"uri"`
	Bases []string `json:"bases,omitempty"`
}

// Fetch brings what uri names now into the store, unless it is there. Where the
// source does not answer, what uri last named is taken, with Stale set. What is
// pinned and there is not asked for.
func (s *Store) Fetch(ctx context.Context, from Source, uri string) (Fetched, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.config.Timeout, fmt.Errorf("%w: it took more than %s", ErrUnreachable, s.config.Timeout))
	defer cancel()
	f, err := s.fetch(ctx, from, uri)
	if err != nil {
		return Fetched{}, fmt.Errorf("%s: %w", uri, err)
	}
	return f, nil
}

func (s *Store) fetch(ctx context.Context, from Source, uri string) (Fetched, error) {
	if id := from.Pinned(uri); id != "" && s.has(id) {
		return s.taken(id)
	}
	var a *Artefact
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeoutCause(ctx, s.config.Idle, fmt.Errorf("%w: no answer for %s", ErrUnreachable, s.config.Idle))
		defer cancel()
		a, err = from.Open(ctx, uri)
		return caused(ctx, err)
	})
	if errors.Is(err, ErrUnreachable) {
		if id := s.last(uri); id != "" {
			f, fault := s.taken(id)
			f.Stale = err
			return f, fault
		}
	}
	if err != nil {
		return Fetched{}, err
	}
	if err := a.check(s.config.Limit); err != nil {
		return Fetched{}, err
	}
	if err := s.bring(ctx, a, uri); err != nil {
		return Fetched{}, err
	}
	f, err := s.taken(a.ID)
	if err == nil && from.Pinned(uri) == "" {
		err = s.remember(uri, a.ID)
	}
	return f, err
}

func (s *Store) folder(id string) string { return filepath.Join(s.config.Dir, id) }

func (s *Store) has(id string) bool {
	_, err := os.Stat(filepath.Join(s.folder(id), kept))
	return err == nil
}

// taken is an artefact that is there, if it suits.
func (s *Store) taken(id string) (Fetched, error) {
	f := Fetched{ID: id, Dir: s.folder(id)}
	text, err := regular.Read(filepath.Join(f.Dir, kept), regular.Config)
	if err != nil {
		return Fetched{}, err
	}
	var k keptArtefact
	if err := json.Unmarshal(text, &k); err != nil {
		return Fetched{}, fmt.Errorf("%s: %w", filepath.Join(f.Dir, kept), err)
	}
	return f, s.suits(Described{Dir: f.Dir, Bases: k.Bases})
}

func (s *Store) suits(d Described) error {
	if s.config.Suits == nil {
		return nil
	}
	return s.config.Suits(d)
}

// bring fetches an artefact's files unless they are there. Who wants the same
// ones waits.
func (s *Store) bring(ctx context.Context, a *Artefact, uri string) error {
	if err := disk.MkdirAll(s.config.Dir); err != nil {
		return err
	}
	release, err := disk.WaitLock(ctx, filepath.Join(s.config.Dir, "locks", a.ID))
	if err != nil {
		return caused(ctx, err)
	}
	defer release()
	if err := s.sweep(a.ID); err != nil || s.has(a.ID) {
		return err
	}
	return disk.Make(s.folder(a.ID), func(made string) error {
		if err := disk.Mkdir(made); err != nil {
			return err
		}
		for _, f := range a.inOrder() {
			if strings.HasSuffix(f.Name, adapters.GGUFSuffix) { // there is no configuration to come before it
				if err := s.suits(Described{Dir: made, Bases: a.Bases}); err != nil {
					return err
				}
			}
			if err := s.file(ctx, a, f, filepath.Join(made, filepath.FromSlash(f.Name)), uri); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			if f.Name == adapters.ConfigFile {
				if err := s.suits(Described{Dir: made, Bases: a.Bases}); err != nil {
					return err
				}
			}
		}
		text, err := json.Marshal(keptArtefact{uri, a.Bases})
		if err != nil {
			return err
		}
		return disk.Write(filepath.Join(made, kept), text)
	})
}

// sweep removes what a process that died over an artefact has left of it; its
// lock is held.
func (s *Store) sweep(id string) error {
	left, err := os.ReadDir(s.config.Dir)
	if err != nil {
		return err
	}
	for _, e := range left {
		if strings.HasPrefix(e.Name(), "."+id+".") {
			if err := disk.RemoveAll(filepath.Join(s.config.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) ref(uri string) string {
	sum := sha256.Sum256([]byte(uri))
	return filepath.Join(s.config.Dir, "refs", hex.EncodeToString(sum[:]))
}

// last is the ID of what uri last named, if that is there.
func (s *Store) last(uri string) (id string) {
	text, err := os.ReadFile(s.ref(uri))
	if id = string(text); err != nil || id != filepath.Base(id) || !s.has(id) {
		return ""
	}
	return id
}

func (s *Store) remember(uri, id string) error {
	if s.last(uri) == id {
		return nil
	}
	if err := disk.MkdirAll(filepath.Join(s.config.Dir, "refs")); err != nil {
		return err
	}
	return disk.Write(s.ref(uri), []byte(id))
}

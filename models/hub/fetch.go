package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/internal/regular"
)

// Hub fetches from one endpoint into one cache. It may be used by many
// goroutines at a time.
type Hub struct {
	config    Config
	reporting sync.Mutex // held while Config.Progress or Config.Waiting runs
}

// New returns a Hub, or all the faults of its configuration.
func New(c Config) (*Hub, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return &Hub{config: c.withDefaults()}, nil
}

// Snapshot is a fetched repository, or one file of it, at a commit.
type Snapshot struct {
	Ref    Ref
	Commit string
	Dir    string   // holds Files; other files may lie there too
	Files  []string // with slashes, sorted
	Stale  error    // why the hub could not be asked for newer ones; nil where it was
}

// Path is the file that the Ref names, or Dir where it names none.
func (s Snapshot) Path() string { return filepath.Join(s.Dir, filepath.FromSlash(s.Ref.File)) }

// Fetch brings what ref names into the cache and returns where it is. Where
// the hub cannot be reached but the cache has all of it, the answer is the
// cache's, with Stale set. Only missing files are asked for.
func (h *Hub) Fetch(ctx context.Context, ref Ref) (Snapshot, error) {
	return h.fetchChosen(ctx, ref, ModelFiles)
}

// FetchAdapter is Fetch of what AdapterFiles chooses.
func (h *Hub) FetchAdapter(ctx context.Context, ref Ref) (Snapshot, error) {
	return h.fetchChosen(ctx, ref, AdapterFiles)
}

// chooser are those files of a repository that are wanted.
type chooser func(all []string) ([]string, error)

func (h *Hub) fetchChosen(ctx context.Context, ref Ref, chosen chooser) (Snapshot, error) {
	if ref.Revision == "" {
		ref.Revision = "main"
	}
	s, err := h.fetch(ctx, ref, chosen)
	if err != nil {
		return Snapshot{}, fmt.Errorf("%s (revision %s): %w", ref.Repo, ref.Revision, err)
	}
	return s, nil
}

func (h *Hub) fetch(ctx context.Context, ref Ref, chosen chooser) (Snapshot, error) {
	if err := ref.check(); err != nil {
		return Snapshot{}, err
	}
	if h.config.Offline {
		return h.cached(ref, chosen)
	}
	if commitName.MatchString(ref.Revision) && ref.File != "" {
		if s, err := h.cached(ref, chosen); err == nil { // a commit never changes
			return s, nil
		}
	}
	commit, all, err := h.list(ctx, ref)
	if err != nil {
		if s, missing := h.cached(ref, chosen); errors.Is(err, ErrUnreachable) && missing == nil && ctx.Err() == nil {
			s.Stale = err
			return s, nil
		}
		return Snapshot{}, err
	}
	files, err := choose(ref, all, chosen)
	if err != nil {
		return Snapshot{}, err
	}
	r := h.repository(ref.Repo)
	if err := h.fetchFiles(ctx, r, ref.Repo, commit, files); err != nil {
		return Snapshot{}, err
	}
	if more := inModules(r.snapshot(commit), files, all); len(more) > 0 {
		if err := h.fetchFiles(ctx, r, ref.Repo, commit, more); err != nil {
			return Snapshot{}, err
		}
		files = sorted(append(files, more...))
	}
	return Snapshot{Ref: ref, Commit: commit, Dir: r.snapshot(commit), Files: files}, r.setCommit(ref.Revision, commit)
}

func choose(ref Ref, all []string, chosen chooser) ([]string, error) {
	if ref.File == "" {
		return chosen(all)
	}
	files := parts(ref.File)
	for _, file := range files {
		if !slices.Contains(all, file) {
			return nil, fmt.Errorf("%s: %w; the repository has %s", file, ErrNotFound, strings.Join(all, ", "))
		}
	}
	return files, nil
}

// fetchFiles brings the missing files of a commit, some at a time, and stops
// at the first error.
func (h *Hub) fetchFiles(ctx context.Context, r repository, repo, commit string, files []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	places := make(chan struct{}, h.config.Parallel)
	var running sync.WaitGroup
	for _, file := range files {
		if r.has(commit, file) {
			continue
		}
		places <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-places }()
			if err := h.fetchFile(ctx, r, repo, commit, file); err != nil {
				cancel(fmt.Errorf("%s: %w", file, err))
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

func (h *Hub) fetchFile(ctx context.Context, r repository, repo, commit, file string) error {
	segments := strings.Split(file, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	address := h.config.Endpoint + "/" + repo + "/resolve/" + commit + "/" + strings.Join(segments, "/")
	c, err := h.describe(ctx, address)
	if err != nil {
		return err
	}
	if err := h.fetchBlob(ctx, r, address, c, h.reporter(repo, file, c.size)); err != nil {
		return err
	}
	return r.link(commit, file, c.etag)
}

// reporter returns what passes a file's progress on, ten times a second.
func (h *Hub) reporter(repo, file string, size int64) func(done int64) {
	if h.config.Progress == nil {
		return func(int64) {}
	}
	var last time.Time
	return func(done int64) {
		if now := time.Now(); done == size || now.Sub(last) >= 100*time.Millisecond {
			last = now
			h.reporting.Lock()
			defer h.reporting.Unlock()
			h.config.Progress(Progress{Repo: repo, File: file, Done: done, Size: size})
		}
	}
}

// cached answers from the cache alone.
func (h *Hub) cached(ref Ref, chosen chooser) (Snapshot, error) {
	r := h.repository(ref.Repo)
	commit, ok := r.commit(ref.Revision)
	if !ok {
		return Snapshot{}, fmt.Errorf("%w (%s): fetch it once with HF_HUB_OFFLINE unset", ErrOffline, h.config.Cache)
	}
	all, err := r.files(commit)
	if err != nil {
		return Snapshot{}, fmt.Errorf("%w: %w", ErrOffline, err)
	}
	files := parts(ref.File)
	if ref.File == "" {
		if files, err = chosen(all); err != nil {
			return Snapshot{}, fmt.Errorf("%w: %w", ErrOffline, err)
		}
		files = append(files, inModules(r.snapshot(commit), files, all)...)
		files = append(files, promised(r.snapshot(commit), files)...)
	}
	for _, file := range files {
		if !slices.Contains(all, file) {
			return Snapshot{}, fmt.Errorf("%s: %w (%s): fetch it once with HF_HUB_OFFLINE unset", file, ErrOffline, h.config.Cache)
		}
	}
	return Snapshot{Ref: ref, Commit: commit, Dir: r.snapshot(commit), Files: sorted(files)}, nil
}

// inModules are those of all that are in the modules' folders, where files have a list
// of modules.
func inModules(dir string, files, all []string) []string {
	if !slices.Contains(files, modulesFile) {
		return nil
	}
	b, err := regular.Read(filepath.Join(dir, modulesFile), regular.Config)
	if err != nil {
		return nil // whoever opens it will say so
	}
	return ModuleFiles(b, all)
}

// promised lists the shards that the index files among files name.
func promised(dir string, files []string) []string {
	var shards []string
	for _, file := range matching(files, "*.index.json") {
		var index struct {
			Shards map[string]string `json:"weight_map"`
		}
		b, err := regular.Read(filepath.Join(dir, file), regular.Config)
		if err != nil || json.Unmarshal(b, &index) != nil {
			continue // whoever opens it will say so
		}
		for _, shard := range index.Shards {
			shards = append(shards, shard)
		}
	}
	slices.Sort(shards)
	return slices.Compact(shards)
}

package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/peft-serve/peft-serve/internal/disk"
)

var commitName = regexp.MustCompile(`^[0-9a-f]{40}$`)

// repository is a repository's part of the cache:
//
//	models--owner--name/refs/<revision>             a file holding the commit
//	models--owner--name/blobs/<etag>                a file's content
//	models--owner--name/blobs/<etag>.incomplete     one that is being fetched
//	models--owner--name/snapshots/<commit>/<file>   a link to its blob
//	.locks/models--owner--name/<etag>.lock          held while fetching a blob
type repository struct{ cache, folder string }

func (h *Hub) repository(repo string) repository {
	return repository{h.config.Cache, "models--" + strings.ReplaceAll(repo, "/", "--")}
}

func (r repository) blob(etag string) string {
	return filepath.Join(r.cache, r.folder, "blobs", etag)
}

func (r repository) lock(etag string) string {
	return filepath.Join(r.cache, ".locks", r.folder, etag+".lock")
}

func (r repository) snapshot(commit string) string {
	return filepath.Join(r.cache, r.folder, "snapshots", commit)
}

// has reports whether a file of a commit is there, its blob included.
func (r repository) has(commit, file string) bool {
	stat, err := os.Stat(filepath.Join(r.snapshot(commit), filepath.FromSlash(file)))
	return err == nil && stat.Mode().IsRegular()
}

// commit is what a revision stood for when it was last fetched.
func (r repository) commit(revision string) (string, bool) {
	if commitName.MatchString(revision) {
		_, err := os.Stat(r.snapshot(revision))
		return revision, err == nil
	}
	b, err := os.ReadFile(filepath.Join(r.cache, r.folder, "refs", filepath.FromSlash(revision)))
	commit := strings.TrimSpace(string(b))
	return commit, err == nil && commitName.MatchString(commit)
}

// setCommit records what a revision stands for.
func (r repository) setCommit(revision, commit string) error {
	if known, ok := r.commit(revision); revision == commit || ok && known == commit {
		return nil
	}
	path := filepath.Join(r.cache, r.folder, "refs", filepath.FromSlash(revision))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return disk.Replace(path, writing(commit))
}

// files lists what is there of a commit, with slashes.
func (r repository) files(commit string) ([]string, error) {
	root := r.snapshot(commit)
	var files []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if name = filepath.ToSlash(name); err == nil && r.has(commit, name) {
			files = append(files, name)
		}
		return err
	})
	return files, err
}

// link makes a file of a commit point to its blob. Where the system has no
// symbolic links it is a hard one.
func (r repository) link(commit, file, etag string) error {
	path := filepath.Join(r.snapshot(commit), filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(path), r.blob(etag))
	if err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%x.link", r.blob(etag), rand.Uint64())
	if os.Symlink(target, temporary) != nil {
		if err := os.Link(r.blob(etag), temporary); err != nil {
			return err
		}
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return disk.Sync(filepath.Dir(path))
}

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
)

// Errors of Store.Fetch, and of sources.
var (
	ErrNotFound     = errors.New("there is no such adapter")
	ErrUnauthorized = errors.New("access refused")
	ErrUnreachable  = errors.New("the source does not answer as it should") // which may pass
	ErrReply        = errors.New("the source gave an answer that is not followed")
	ErrCorrupt      = errors.New("what was received is not what was announced")
	ErrTooLarge     = errors.New("the adapter is too large to be fetched")
)

// Source tells what URIs of one scheme name.
type Source interface {
	// Open asks what uri names now.
	Open(ctx context.Context, uri string) (*Artefact, error)
	// Pinned is the ID of the only artefact that uri can ever name; empty: it may
	// name another one tomorrow.
	Pinned(uri string) (id string)
}

// Artefact is an adapter at its source.
type Artefact struct {
	ID    string   // of its content: no two have the same
	Files []File   // of the adapter's folder; those that are not part of the adapter are left where they are
	Bases []string // digests of the bases that it is for; none: it does not say

	// Read returns a file's content, of which Store checks size and digest.
	Read func(context.Context, File) (io.ReadCloser, error)
}

// File is one file of an artefact.
type File struct {
	Name   string // within the adapter's folder, with slashes
	Size   int64
	SHA256 string // in hex; empty: not known before it is read
}

// maxFiles is the most that an adapter has: as of an upload.
const maxFiles = 256

// check leaves an artefact the files of its adapter, and refuses one that is none, or
// more than most bytes.
func (a *Artefact) check(most int64) error {
	if a.ID == "" || a.ID != filepath.Base(a.ID) || strings.HasPrefix(a.ID, ".") {
		panic("remote: an artefact's ID is the name of a folder")
	}
	names, seen := []string(nil), map[string]bool{}
	for _, f := range a.Files {
		switch {
		case !adapters.IsFile(f.Name):
			return fmt.Errorf("%w: it has a file named %q", ErrReply, f.Name)
		case seen[f.Name]:
			return fmt.Errorf("%w: it has %s twice", ErrReply, f.Name)
		}
		seen[f.Name], names = true, append(names, f.Name)
	}
	if !slices.ContainsFunc(names, complete) {
		return fmt.Errorf("%w: it has no %s and no %s file", ErrNotFound, adapters.ConfigFile, adapters.GGUFSuffix)
	}
	chosen, err := adapters.Chosen(names)
	if err != nil {
		return err
	}
	if len(chosen) > maxFiles {
		return fmt.Errorf("%w: it has %d files, and at most %d are taken", ErrTooLarge, len(chosen), maxFiles)
	}
	part := map[string]bool{}
	for _, name := range chosen {
		part[name] = true
	}
	a.Files = slices.DeleteFunc(slices.Clone(a.Files), func(f File) bool { return !part[f.Name] })
	total := int64(0)
	for _, f := range a.Files {
		if f.Size < 0 || f.Size > math.MaxInt64-total {
			return fmt.Errorf("%w: %s is said to have %d bytes", ErrReply, f.Name, f.Size)
		}
		total += f.Size
	}
	if total > most {
		return fmt.Errorf("%w: it has %d bytes, and at most %d are fetched", ErrTooLarge, total, most)
	}
	return nil
}

// complete reports whether a file says what an adapter is.
func complete(name string) bool {
	return name == adapters.ConfigFile || strings.HasSuffix(name, adapters.GGUFSuffix)
}

// inOrder are the files, the configuration first.
func (a *Artefact) inOrder() []File {
	var first, rest []File
	for _, f := range a.Files {
		if f.Name == adapters.ConfigFile {
			first = append(first, f)
		} else {
			rest = append(rest, f)
		}
	}
	return append(first, rest...)
}

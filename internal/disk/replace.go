package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Replace writes the file at path with what content writes. It goes to a
// temporary file beside path, which takes the name once it is on disk; after
// an error what was at path is still there.
func Replace(path string, content func(io.Writer) error) error {
	temporary, err := Beside(path, content)
	if err != nil {
		return err
	}
	if err := Rename(temporary, path); err != nil {
		return errors.Join(err, Remove(temporary))
	}
	return Sync(filepath.Dir(path))
}

// Beside writes a temporary file, which is on disk when it returns, in path's
// folder, for whoever gives several files their names at once.
func Beside(path string, content func(io.Writer) error) (temporary string, err error) {
	file, temporary, err := CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	if err := fill(file, content); err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w", path, err), Remove(temporary))
	}
	return temporary, nil
}

// Write is Replace for a content that is at hand.
func Write(path string, content []byte) error {
	return Replace(path, bytesOf(content))
}

func bytesOf(content []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(content); return err }
}

// fill writes, syncs and closes file.
func fill(file File, content func(io.Writer) error) error {
	w := bufio.NewWriterSize(file, 1<<18)
	if err := content(w); err != nil {
		return errors.Join(err, file.Close())
	}
	return errors.Join(w.Flush(), file.Sync(), file.Close())
}

// CreateTemp creates a file whose name is pattern with a number for its "*",
// and returns its path too.
func CreateTemp(dir, pattern string) (file File, path string, err error) {
	path, err = fresh(dir, pattern, func(path string) (err error) { file, err = Create(path); return err })
	return file, path, err
}

// MkdirTemp makes a folder whose name is pattern with a number for its "*".
func MkdirTemp(dir, pattern string) (path string, err error) { return fresh(dir, pattern, Mkdir) }

func fresh(dir, pattern string, make func(path string) error) (string, error) {
	before, after, _ := strings.Cut(pattern, "*")
	for {
		path := filepath.Join(dir, before+strconv.FormatUint(rand.Uint64(), 36)+after)
		if err := make(path); !errors.Is(err, fs.ErrExist) {
			return path, err
		}
	}
}

// Sweep removes from a folder what a process that died in Replace or Beside has left
// of the named files.
func Sweep(dir string, names ...string) error {
	left, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range left {
		for _, name := range names {
			if strings.HasPrefix(e.Name(), "."+name+".") {
				if err := Remove(filepath.Join(dir, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
)

// Replace writes the file at path with what content writes. It goes to a
// temporary file beside path, which takes the name once it is on disk; after
// an error what was at path is still there.
func Replace(path string, content func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	if err := fill(file, content); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", path, err), os.Remove(file.Name()))
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return SyncFolder(filepath.Dir(path))
}

// fill writes, syncs and closes file.
func fill(file *os.File, content func(io.Writer) error) error {
	w := bufio.NewWriterSize(file, 1<<18)
	if err := content(w); err != nil {
		return errors.Join(err, file.Close())
	}
	return errors.Join(w.Flush(), file.Chmod(0o644), file.Sync(), file.Close())
}

// SyncFolder makes the renames done in dir durable, where the system can.
func SyncFolder(dir string) error {
	if goruntime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

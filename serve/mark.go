package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// markFile says of a folder that it was uploaded, and what it held then: a
// folder that somebody else has laid there, or written to since, is not the
// server's to delete.
const markFile = ".uploaded"

// mark marks an unpacked folder, whatever the archive had under that name.
func mark(folder string) error {
	path := filepath.Join(folder, markFile)
	if err := disk.RemoveAll(path); err != nil {
		return err
	}
	contents, err := contentsOf(folder)
	if err != nil {
		return err
	}
	return disk.Write(path, []byte(contents))
}

// isUploaded reports whether a folder, not a link to one, holds what was
// uploaded and nothing else.
func isUploaded(folder string) bool {
	stat, err := os.Lstat(folder)
	if err != nil || !stat.IsDir() {
		return false
	}
	marked, err := os.ReadFile(filepath.Join(folder, markFile))
	if err != nil {
		return false
	}
	contents, err := contentsOf(folder)
	return err == nil && contents == string(marked)
}

// contentsOf tells folders apart by their files' names, sizes and times, in
// whole seconds, which every file system keeps.
func contentsOf(folder string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil || name == markFile {
			return err
		}
		stat, err := d.Info()
		if err == nil {
			_, err = fmt.Fprintf(h, "%q %d %d\n", name, stat.Size(), stat.ModTime().Unix())
		}
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// notUploaded answers a DELETE of an adapter whose folder stays.
func notUploaded(name string) *failure {
	return &failure{
		status: http.StatusConflict, kind: invalidRequest, code: "not_uploaded", param: "name",
		message: fmt.Sprintf("the folder of adapter %q was not uploaded, or has been written to since: remove it by hand, or forget the adapter alone with POST /v1/unload_lora_adapter", name),
	}
}

// exists reports whether something is there.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}

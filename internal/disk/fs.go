package disk

import (
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
)

// FS is what writing takes of a file system. Files and folders are made with
// the permissions that the process's umask leaves of 0644 and 0755.
type FS interface {
	Create(path string) (File, error) // fails where there is something
	Append(path string) (File, error) // to a file that is there
	Mkdir(path string) error
	Rename(from, to string) error // a file takes the place of one that is there
	Exchange(a, b string) error   // in one step, or errors.ErrUnsupported
	Remove(path string) error     // a file or an empty folder

	// Sync puts a file's content, or a folder's names, on the disk. A new name
	// is there after a loss of power only if its folder was synced since.
	Sync(path string) error
}

// File is an open file that is written to.
type File interface {
	io.Writer
	io.Seeker
	io.Closer
	Truncate(size int64) error
	Sync() error
}

var current FS = system{}

// Use has all writes of this process go to fs until restore is called. It is
// for tests, one at a time.
func Use(fs FS) (restore func()) {
	before := current
	current = fs
	return func() { current = before }
}

// The operations of the FS in use.

func Create(path string) (File, error) { return current.Create(path) }
func Append(path string) (File, error) { return current.Append(path) }
func Mkdir(path string) error          { return current.Mkdir(path) }
func Rename(from, to string) error     { return current.Rename(from, to) }
func Exchange(a, b string) error       { return current.Exchange(a, b) }
func Remove(path string) error         { return current.Remove(path) }
func Sync(path string) error           { return current.Sync(path) }

// System is the operating system's file system.
func System() FS { return system{} }

type system struct{}

func (system) Create(path string) (File, error) {
	return open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
}
func (system) Append(path string) (File, error) { return open(path, os.O_WRONLY|os.O_APPEND) }
func (system) Mkdir(path string) error          { return os.Mkdir(path, 0o755) }
func (system) Rename(from, to string) error     { return os.Rename(from, to) }
func (system) Exchange(a, b string) error       { return exchange(a, b) }
func (system) Remove(path string) error         { return os.Remove(path) }

func (system) Sync(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if goruntime.GOOS == "windows" {
		return nil // which syncs nothing that is open for reading, and no folder
	}
	return file.Sync()
}

// open keeps an error from becoming a File that is not nil.
func open(path string, flags int) (File, error) {
	file, err := os.OpenFile(filepath.Clean(path), flags, 0o644)
	if err != nil {
		return nil, err
	}
	return file, nil
}

package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ErrLocked is a lock that a living process holds.
var ErrLocked = errors.New("locked")

// Lock is a lock file that this process holds until it gives it up, or ends.
type Lock struct{ file *os.File }

// CreateLock makes a lock file at path, where there is none, and holds it. On
// a file system without locks it is held in name only.
func CreateLock(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	l, err := lock(file)
	if errors.Is(err, errors.ErrUnsupported) {
		return &Lock{file}, nil
	}
	return l, err
}

// TryLock takes the lock file at path, which is there. A living process that
// holds it is ErrLocked.
func TryLock(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return lock(file)
}

// lock closes the file unless it takes the lock.
func lock(file *os.File) (*Lock, error) {
	held, err := LockFile(file)
	if err == nil && !held {
		err = ErrLocked
	}
	if err == nil && !stillThere(file) { // whoever held it has removed it
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "lock", Path: file.Name(), Err: errors.Join(err, file.Close())}
	}
	return &Lock{file}, nil
}

func stillThere(file *os.File) bool {
	now, err := os.Stat(file.Name())
	own, fault := file.Stat()
	return err == nil && fault == nil && os.SameFile(now, own)
}

// Release gives the lock up; its file stays.
func (l *Lock) Release() error { return l.file.Close() }

// Remove gives the lock up, and its file with it.
func (l *Lock) Remove() error {
	if err := os.Remove(l.file.Name()); err == nil {
		return l.file.Close()
	}
	// Windows removes no file that is open.
	return errors.Join(l.file.Close(), os.Remove(l.file.Name()))
}

// WaitLock waits for the lock file at path, which is made if need be with the
// folders above it, and returns what gives it up. The file stays: removing it
// would let two processes hold locks of the same name.
func WaitLock(ctx context.Context, path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		held, err := LockFile(file)
		switch {
		case err != nil:
			_ = file.Close()
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		case held:
			return func() { _ = file.Close() }, nil // which releases it
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

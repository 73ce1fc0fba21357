//go:build unix

package catalogue

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// fileState tells a file from another of the same size and time in its place: which
// file it is, and when anything of it was last changed. The zero one is no file.
type fileState struct {
	there         bool
	dir           bool
	size          int64
	modified      int64 // in nanoseconds
	device, inode uint64
	changed       int64 // likewise
}

// stateOf is the state of what is at a path. Links are followed.
func stateOf(path string) (fileState, error) {
	var s unix.Stat_t
	for {
		err := unix.Stat(path, &s)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fileState{}, &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		break
	}
	return fileState{
		there: true, dir: s.Mode&unix.S_IFMT == unix.S_IFDIR, size: s.Size, modified: unix.TimespecToNsec(s.Mtim),
		device: uint64(s.Dev), inode: uint64(s.Ino), //nolint:unconvert // they are of other types on some systems
		changed: unix.TimespecToNsec(s.Ctim),
	}, nil
}

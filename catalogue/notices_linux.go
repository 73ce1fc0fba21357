package catalogue

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// notices are the kernel's of what happens to the folders of listings: while there is none
// of a folder, it need not be looked at. The kernel gives notice of a change before whoever
// made it goes on, and notices are taken when a folder is asked for, so each change is seen
// at once. What the kernel cannot tell of, on another machine or behind a link, is looked at.
type notices struct {
	mu      sync.Mutex
	fd      int // -1: closed
	number  uint64
	all     uint64             // the number of the last notice that is of all folders
	folders map[string]*folder // by path
	of      map[int32]*folder  // by watch; nil: a folder above others
	buffer  [4 << 10]byte
}

// folder is one that has been listed.
type folder struct {
	path    string
	device  uint64
	changed uint64 // the number of the last notice
	watches int
}

// What is told of: of anything, that it is not what its path leads to any more, or that it
// may not be reached; of a file, what it holds, whatever it was written by, and of a
// mapping when it is closed; of a folder, what is in it.
const (
	tellsOfPath   = unix.IN_MOVE_SELF | unix.IN_DELETE_SELF | unix.IN_ATTRIB
	tellsOfFile   = tellsOfPath | unix.IN_MODIFY | unix.IN_CLOSE_WRITE
	tellsOfFolder = tellsOfPath | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
)

// localSystems are file systems to whose files nothing happens but through this kernel.
var localSystems = []int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC}

// newNotices returns nil where the system gives none.
func newNotices() *notices {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil
	}
	return &notices{fd: fd, folders: map[string]*folder{}, of: map[int32]*folder{}}
}

// begin gives a listing notice of what happens on the path to its folder, and reports
// whether that is all that can happen there.
func (n *notices) begin(l *listing, path string) bool {
	var system unix.Statfs_t
	if n == nil || unix.Statfs(path, &system) != nil || !slices.Contains(localSystems, int64(system.Type)) { //nolint:unconvert // it is of another type on some systems
		return false
	}
	var s unix.Stat_t
	if unix.Lstat(path, &s) != nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.drain() {
		return false
	}
	if l.folder = n.folders[path]; l.folder == nil {
		l.folder = &folder{path: path} // it is kept as soon as something in it is watched
	}
	l.folder.device, l.since = s.Dev, n.number
	for above := filepath.Dir(path); ; above = filepath.Dir(above) {
		if !n.watch(nil, above) {
			return false
		}
		if above == filepath.Dir(above) {
			return true
		}
	}
}

// look is begin for a file of the folder, or the folder itself.
func (n *notices) look(l *listing, path string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.watch(l.folder, path)
}

// watch begins to give notice of what happens at a path: it counts for a folder or, nil,
// for all. It reports whether the path has no link; n.mu is held.
func (n *notices) watch(to *folder, path string) bool {
	var s unix.Stat_t
	if unix.Lstat(path, &s) != nil {
		return false
	}
	what := uint32(tellsOfPath)
	switch kind := s.Mode & unix.S_IFMT; {
	case kind != unix.S_IFDIR && kind != unix.S_IFREG:
		return false
	case to == nil:
	case s.Dev != to.device: // it is mounted there
		return false
	case kind == unix.S_IFDIR:
		what = tellsOfFolder
	default:
		what = tellsOfFile
	}
	watch, err := unix.InotifyAddWatch(n.fd, path, what|unix.IN_DONT_FOLLOW|unix.IN_MASK_ADD)
	if err != nil {
		return false // there are as many as there may be, say
	}
	before, known := n.of[int32(watch)]
	switch {
	case known && before == nil: // all are told
		return true
	case known && before != to && to != nil: // it has two names
		return false
	case known:
		n.drop(before)
	}
	if n.of[int32(watch)] = to; to != nil {
		to.watches++
		n.folders[to.path] = to
	}
	return true
}

// drop takes a watch from a folder, which may be nil; n.mu is held.
func (n *notices) drop(f *folder) {
	if f == nil {
		return
	}
	if f.watches--; f.watches == 0 && n.folders[f.path] == f {
		delete(n.folders, f.path)
	}
}

// take takes the notices that there are, and reports whether it could.
func (n *notices) take() bool {
	if n == nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.drain()
}

// still reports whether the notices that were taken tell of nothing that has happened to
// what a listing has found.
func (n *notices) still(l *listing) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(n.all, l.folder.changed) <= l.since
}

// drain is take; n.mu is held.
func (n *notices) drain() bool {
	for {
		size, err := unix.Read(n.fd, n.buffer[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || size <= 0:
			return errors.Is(err, unix.EAGAIN)
		}
		for rest := n.buffer[:size]; len(rest) >= unix.SizeofInotifyEvent; {
			n.heed(int32(binary.NativeEndian.Uint32(rest)), binary.NativeEndian.Uint32(rest[4:]))
			rest = rest[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(rest[12:]):]
		}
	}
}

// heed takes in a notice; n.mu is held.
func (n *notices) heed(watch int32, what uint32) {
	n.number++
	f, known := n.of[watch]
	switch {
	case what&unix.IN_Q_OVERFLOW != 0 || known && f == nil:
		n.all = n.number
	case known:
		f.changed = n.number
	}
	if what&unix.IN_IGNORED != 0 { // what was there is gone
		delete(n.of, watch)
		n.drop(f)
	}
}

func (n *notices) close() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = unix.Close(n.fd)
	n.fd = -1
}

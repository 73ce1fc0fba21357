package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/disk"
)

// incoming begins the names of what is no adapter in the adapters' folder.
// They begin with a dot, so that nobody takes them for one.
const incoming = ".incoming-"

// staging is where an upload is written: a folder in the adapters' folder, so
// that it gets its place there by renaming.
//
//	.incoming-ID.lock        held while the server is at work on it
//	.incoming-ID/files       the upload
//	.incoming-ID/aside-NAME  an adapter's old version, for a moment, where two
//	                         names cannot be exchanged
//	                         (aside-NAME@DIGEST: one of its versions)
//	.incoming-ID/alias       an alias before it has its place
//	.incoming-ID/old-DIGEST  a version that is not kept any more
//
// Several servers may share a folder of adapters: what is not locked was left
// by one that is no more.
type staging struct {
	adapters, dir string
	lock          *disk.Lock
}

const (
	lockSuffix  = ".lock"
	asidePrefix = "aside-"
)

// newStaging makes a staging. The lock comes first: a folder without one has nobody.
func newStaging(adapters string) (*staging, error) {
	s := &staging{adapters: adapters, dir: filepath.Join(adapters, incoming+newID())}
	var err error
	if s.lock, err = disk.CreateLock(s.dir + lockSuffix); err != nil {
		return nil, err
	}
	if err := disk.Mkdir(s.dir); err != nil {
		return nil, errors.Join(err, s.lock.Remove())
	}
	return s, nil
}

// remove ends the staging. What cannot be put back or removed is left, unlocked,
// to the next start.
func (s *staging) remove() error {
	if err := recoverFolder(s.adapters, s.dir); err != nil {
		return errors.Join(err, s.lock.Release())
	}
	return s.lock.Remove()
}

func (s *staging) files() string { return filepath.Join(s.dir, "files") }

// place gives a folder of the staging its name among the adapters. What had
// that name is in the staging then, unless check refuses that it goes.
func (s *staging) place(folder, name string, check func(old string) error) error {
	return disk.Place(folder, filepath.Join(s.adapters, name), filepath.Join(s.dir, asidePrefix+name), check)
}

// takeAway takes a folder away, for good, and returns where it is until it is
// removed. It makes no file: a full disk can be emptied. What check refuses, once
// nobody reaches it by its name any more, goes back.
func takeAway(adapters, place string, check func(taken string) error) (taken string, err error) {
	taken = filepath.Join(adapters, incoming+newID())
	if err := disk.Rename(place, taken); err != nil {
		return "", err
	}
	if err := check(taken); err != nil {
		return "", errors.Join(err, disk.Rename(taken, place))
	}
	if err := disk.Sync(filepath.Dir(place)); err != nil {
		return "", errors.Join(err, disk.Rename(taken, place))
	}
	return taken, nil
}

// ofDisk reports whether an error is the disk's and nobody else's.
func ofDisk(err error) bool {
	for _, fault := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

// diskFault is the answer to an upload that the disk did not take, without our
// paths, which the log has; any other error stays as it is.
func (s *Server) diskFault(err error) error {
	if !ofDisk(err) {
		return err
	}
	s.config.Log.Error("an upload cannot be written", "error", err)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &failure{
			status: http.StatusInsufficientStorage, kind: serverFault, code: "disk_full",
			message: "the disk that the adapters' folder is on is full, and nothing has changed: delete adapters that nobody needs, or make room, and send it again",
		}
	}
	return &failure{
		status: http.StatusInternalServerError, kind: serverFault, code: "disk_fault",
		message: fmt.Sprintf("the adapter cannot be written to the adapters' folder: %s", cause(err)),
	}
}

// recoverStaging ends what servers that are no more have left half done among
// the adapters: versions that were set aside get their names back, and the rest
// is removed.
func recoverStaging(adapters string, log *slog.Logger) {
	entries, err := os.ReadDir(adapters)
	if err != nil {
		log.Warn("uploads that were not finished cannot be looked for", "error", err)
		return
	}
	for _, e := range entries {
		name, isLock := strings.CutSuffix(e.Name(), lockSuffix)
		if !strings.HasPrefix(name, incoming) {
			continue
		}
		dir := filepath.Join(adapters, name)
		if !isLock && exists(dir+lockSuffix) {
			continue // it is dealt with by its lock
		}
		switch err := recoverOne(adapters, dir, isLock); {
		case err == nil:
			log.Info("removed what an earlier server left half done", "folder", dir)
		case !errors.Is(err, disk.ErrLocked) && !errors.Is(err, fs.ErrNotExist):
			log.Warn("what an earlier server left half done cannot be removed", "folder", dir, "error", err)
		}
	}
}

func recoverOne(adapters, dir string, locked bool) error {
	if !locked {
		return recoverFolder(adapters, dir)
	}
	lock, err := disk.TryLock(dir + lockSuffix)
	if err != nil {
		return err
	}
	return (&staging{adapters, dir, lock}).remove()
}

// recoverFolder puts back what was set aside, unless its new version is there,
// and removes the rest.
func recoverFolder(adapters, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), asidePrefix)
		place := filepath.Join(adapters, name)
		if of, digest, version := strings.Cut(name, "@"); version {
			place = catalogue.VersionFolder(adapters, of, digest)
		}
		if ok && !exists(place) {
			if err := errors.Join(disk.Rename(filepath.Join(dir, e.Name()), place), disk.Sync(filepath.Dir(place))); err != nil {
				return fmt.Errorf("adapter %q: %w", name, err)
			}
		}
	}
	return disk.RemoveAll(dir)
}

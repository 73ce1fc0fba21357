//go:build unix

// Package disktest has a file system on which a test can lose its power, and
// on which any operation can fail.
package disktest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// ErrDead is what a process gets that goes on after its end.
var ErrDead = errors.New("the process is dead")

// Strict passes operations on a folder to the system, counts them, and knows
// what of the folder is on the disk: the content that a file had when it was
// last synced, and the names that a folder had, each of which leads to a file
// or folder by identity, so that a rename which was not synced is undone on
// its own. All else is lost with the power: see Survivors.
type Strict struct {
	// Fail is asked before each operation, by its number and what it does, and
	// the operation fails with what it returns: nil, an error, or ErrDead,
	// with which all that follow fail too. A write that fails is half done.
	Fail func(n int, op string) error
	// NoExchange is a system that cannot exchange two names.
	NoExchange bool
	// Stop has writes go to the system again.
	Stop func()

	root string
	mu   sync.Mutex
	ops  int
	dead bool
	on   map[inode]*image
}

type inode uint64

// image is what is on the disk of a file or folder.
type image struct {
	folder  bool
	names   map[string]inode
	content []byte
	changed time.Time
	held    *os.File // keeps the system from giving the number to another
}

// New returns a file system for the folder at root, all of which is on the
// disk. It is in use until Stop, or the end of the test.
func New(t testing.TB, root string) *Strict {
	t.Helper()
	s := &Strict{root: root, on: map[inode]*image{}, Fail: func(int, string) error { return nil }}
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return s.keep(path)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Stop = sync.OnceFunc(disk.Use(s))
	t.Cleanup(func() {
		s.Stop()
		for _, i := range s.on {
			_ = i.held.Close()
		}
	})
	return s
}

// Operations is how many there have been.
func (s *Strict) Operations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ops
}

func (s *Strict) do(op, path string, act func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fails(op, path); err != nil {
		return err
	}
	return act()
}

func (s *Strict) fails(op, path string) error {
	err := ErrDead
	if !s.dead {
		err = s.Fail(s.ops, op+" "+path)
		s.dead = errors.Is(err, ErrDead)
		s.ops++
	}
	if err != nil {
		return &os.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

func (s *Strict) Create(path string) (f disk.File, err error) {
	err = s.do("create", path, func() (err error) { f, err = s.open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL); return err })
	return f, err
}

func (s *Strict) Append(path string) (f disk.File, err error) {
	err = s.do("open", path, func() (err error) { f, err = s.open(path, os.O_RDWR|os.O_APPEND); return err })
	return f, err
}

func (s *Strict) open(path string, flags int) (disk.File, error) {
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	return &file{f, s}, nil
}

func (s *Strict) Mkdir(path string) error {
	return s.do("mkdir", path, func() error { return disk.System().Mkdir(path) })
}

func (s *Strict) Rename(from, to string) error {
	return s.do("rename", from+" to "+to, func() error { return disk.System().Rename(from, to) })
}

func (s *Strict) Exchange(a, b string) error {
	if s.NoExchange {
		return errors.ErrUnsupported
	}
	return s.do("exchange", a+" and "+b, func() error { return disk.System().Exchange(a, b) })
}

func (s *Strict) Remove(path string) error {
	return s.do("remove", path, func() error { return disk.System().Remove(path) })
}

func (s *Strict) Sync(path string) error {
	return s.do("sync", path, func() error { return s.keep(path) })
}

type file struct {
	*os.File
	fs *Strict
}

func (f *file) Write(b []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	dead := f.fs.dead
	if err := f.fs.fails("write", f.Name()); err != nil {
		if dead {
			return 0, err
		}
		n, fault := f.File.Write(b[:len(b)/2])
		return n, errors.Join(err, fault)
	}
	return f.File.Write(b)
}

func (f *file) Truncate(size int64) error {
	return f.fs.do("truncate", f.Name(), func() error { return f.File.Truncate(size) })
}

func (f *file) Sync() error {
	return f.fs.do("sync", f.Name(), func() error {
		stat, err := f.Stat()
		if err != nil {
			return err
		}
		i, err := f.fs.image(f.Name(), stat)
		if err != nil {
			return err
		}
		i.content, err = io.ReadAll(io.NewSectionReader(f.File, 0, stat.Size()))
		i.changed = stat.ModTime()
		return err
	})
}

// keep puts what is at path on the disk: content, or names.
func (s *Strict) keep(path string) error {
	stat, err := os.Lstat(path)
	if err != nil {
		return err
	}
	i, err := s.image(path, stat)
	if err != nil || !i.folder {
		if err == nil {
			i.content, err = os.ReadFile(path)
			i.changed = stat.ModTime()
		}
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	i.names = map[string]inode{}
	for _, e := range entries {
		stat, err := e.Info()
		if err != nil {
			return err
		}
		if _, err := s.image(filepath.Join(path, e.Name()), stat); err != nil {
			return err
		}
		i.names[e.Name()] = number(stat)
	}
	return nil
}

// image is what is on the disk of a file or folder, nothing at first.
func (s *Strict) image(path string, stat os.FileInfo) (*image, error) {
	i := s.on[number(stat)]
	if i != nil {
		return i, nil
	}
	held, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	i = &image{folder: stat.IsDir(), held: held, changed: stat.ModTime()}
	s.on[number(stat)] = i
	return i, nil
}

func number(stat os.FileInfo) inode { return inode(stat.Sys().(*syscall.Stat_t).Ino) }

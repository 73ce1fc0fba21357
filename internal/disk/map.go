package disk

import (
	"fmt"
	"io/fs"
	"math"
	"os"

	mmap "github.com/edsrzf/mmap-go"

	"github.com/peft-serve/peft-serve/internal/regular"
)

// Mapping is a file's content, until Close.
type Mapping struct {
	Bytes []byte
	m     mmap.MMap // nil for an empty file, which cannot be mapped
}

// Map views the regular file at path, read-only. The file must not shrink
// while it is mapped; Replace never does that.
func Map(path string) (*Mapping, error) { return mapped(path, mmap.RDONLY) }

// MapPrivate is Map for one who writes to Bytes: the file stays as it is, and
// a page that was written to takes the place of the file's own, so that
// nothing is held twice.
func MapPrivate(path string) (*Mapping, error) { return mapped(path, mmap.COPY) }

func mapped(path string, access int) (*Mapping, error) {
	if err := regular.Check(path, math.MaxInt64); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	stat, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if stat.Size() == 0 {
		return &Mapping{}, nil
	}
	m, err := mmap.Map(file, access, 0)
	if err == nil && !largePages(file, m) {
		if err = m.Unmap(); err == nil {
			m, err = mmap.Map(file, access, 0)
		}
		if err == nil {
			largePages(file, m)
		}
	}
	if err != nil {
		return nil, &fs.PathError{Op: "map", Path: path, Err: err}
	}
	return &Mapping{Bytes: m, m: m}, nil
}

// Memory returns n bytes of zeros that are no file's, in large pages where there are
// some, until Close.
func Memory(n int) (*Mapping, error) {
	if n == 0 {
		return &Mapping{}, nil
	}
	m, err := mmap.MapRegion(nil, n, own, mmap.ANON, 0)
	if err != nil {
		return nil, fmt.Errorf("%d bytes of memory: %w", n, err)
	}
	inLargePages(m)
	return &Mapping{Bytes: m, m: m}, nil
}

// Close unmaps the file; Bytes must not be used after it.
func (m *Mapping) Close() error {
	m.Bytes = nil
	if m.m == nil {
		return nil
	}
	return m.m.Unmap() // which sets m.m to nil
}

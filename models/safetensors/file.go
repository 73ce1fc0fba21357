package safetensors

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// ErrMissing is wrapped by the error of asking for a tensor that a File lacks.
var ErrMissing = errors.New("no such tensor")

// File is a view of the tensors of one safetensors file or of a sharded
// folder. It may be read by many goroutines at a time.
type File struct {
	path     string // the file, the folder, or the name given to Parse
	names    []string
	tensors  map[string]Tensor
	metadata map[string]string
	maps     []*disk.Mapping
	private  bool // mapped to be written to
}

// Open maps the safetensors file at path.
func Open(path string) (*File, error) { return newFile(path, false).open() }

func newFile(path string, private bool) *File {
	return &File{path: path, tensors: map[string]Tensor{}, metadata: map[string]string{}, private: private}
}

func (f *File) open() (*File, error) {
	tensors, metadata, err := f.mapped(f.path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.fill(tensors, metadata)
	return f, nil
}

// Parse views b, the whole of a safetensors file, without copying it. Errors
// call it name.
func Parse(name string, b []byte) (*File, error) {
	f := newFile(name, false)
	tensors, metadata, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f.fill(tensors, metadata)
	return f, nil
}

// mapped maps one file and parses it; Close unmaps it.
func (f *File) mapped(path string) ([]placed, map[string]string, error) {
	view := disk.Map
	if f.private {
		view = disk.MapPrivate
	}
	m, err := view(path)
	if err != nil {
		return nil, nil, err
	}
	f.maps = append(f.maps, m)
	tensors, metadata, err := parse(m.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return tensors, metadata, nil
}

// fill adds a file's tensors, whose names are not in f yet, and its metadata,
// where an earlier file's values stay.
func (f *File) fill(tensors []placed, metadata map[string]string) {
	for _, t := range tensors {
		f.tensors[t.Name] = t.Tensor
	}
	for key, value := range metadata {
		if _, ok := f.metadata[key]; !ok {
			f.metadata[key] = value
		}
	}
	f.names = slices.Sorted(maps.Keys(f.tensors))
}

// Close unmaps the files. No Data of the File's tensors may be used after it.
func (f *File) Close() error {
	var err error
	for _, m := range f.maps {
		err = errors.Join(err, m.Close())
	}
	f.maps, f.names, f.tensors = nil, nil, nil
	return err
}

// Path is the file or folder that was opened, or the name given to Parse.
func (f *File) Path() string { return f.path }

// Len is the number of tensors.
func (f *File) Len() int { return len(f.names) }

// Names lists the tensors in byte order of their names.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Metadata is a copy of the header's string map; of a sharded folder, the
// union over its files.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Lookup returns the tensor called name, and whether there is one.
func (f *File) Lookup(name string) (Tensor, bool) {
	t, ok := f.tensors[name]
	return t, ok
}

// Tensor returns the tensor called name, or an error that wraps ErrMissing.
func (f *File) Tensor(name string) (Tensor, error) {
	t, ok := f.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("%s: %w: %q", f.path, ErrMissing, name)
	}
	return t, nil
}

// All yields the tensors in the order of Names.
func (f *File) All() iter.Seq[Tensor] {
	return func(yield func(Tensor) bool) {
		for _, name := range f.names {
			if !yield(f.tensors[name]) {
				return
			}
		}
	}
}

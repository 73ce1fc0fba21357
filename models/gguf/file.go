package gguf

import (
	"errors"
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/kernels"
)

// File is a view of a GGUF model: of one file or of the parts of a split one.
// It may be read by many goroutines at a time.
type File struct {
	path    string // the file, or the name given to Parse
	version int
	keys    []string
	values  map[string]value
	tensors []Tensor
	byName  map[string]int
	maps    []*disk.Mapping
	private bool // mapped to be written to
}

// Open maps the GGUF file at path, and with it the other parts where path is
// one of a split model (name-00001-of-00003.gguf).
func Open(path string) (*File, error) {
	return open(&File{path: path, byName: map[string]int{}})
}

// OpenPrivate is Open for one who writes to the tensors' Data, which changes
// this File alone and never the file on disk.
func OpenPrivate(path string) (*File, error) {
	return open(&File{path: path, byName: map[string]int{}, private: true})
}

func open(f *File) (*File, error) {
	if err := f.open(f.path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Parse views b, the whole of a GGUF file that is not split, without copying
// it. Errors call it name.
func Parse(name string, b []byte) (*File, error) {
	p, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f := &File{path: name, byName: map[string]int{}}
	f.head(p)
	if parts, _ := f.Int(keySplitCount); parts > 1 {
		return nil, fmt.Errorf("%s: %w: it is one of %d parts; open it as a file", name, ErrInvalid, parts)
	}
	return f, f.add(name, p)
}

func (f *File) open(path string) error {
	p, err := f.mapped(path)
	if err != nil {
		return err
	}
	f.head(p)
	if parts, _ := f.Int(keySplitCount); parts > 1 {
		return f.openSplit(path, parts)
	}
	return f.add(path, p)
}

// head takes over the metadata of p.
func (f *File) head(p *part) { f.version, f.keys, f.values = p.version, p.keys, p.values }

// add takes over the tensors of p, the file at path.
func (f *File) add(path string, p *part) error {
	for _, t := range p.tensors {
		if _, ok := f.byName[t.Name]; ok {
			return fmt.Errorf("%s: %w: tensor %q is in an earlier part too", path, ErrInvalid, t.Name)
		}
		f.byName[t.Name] = len(f.tensors)
		f.tensors = append(f.tensors, t)
	}
	return nil
}

// mapped maps one file and parses it; Close unmaps it.
func (f *File) mapped(path string) (*part, error) {
	view := disk.Map
	if f.private {
		view = disk.MapPrivate
	}
	m, err := view(path)
	if err != nil {
		return nil, err
	}
	f.maps = append(f.maps, m)
	p, err := parse(m.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Close unmaps the file. Neither metadata nor tensors may be used after it.
func (f *File) Close() error {
	var err error
	for _, m := range f.maps {
		err = errors.Join(err, m.Close())
	}
	*f = File{path: f.path, private: f.private}
	return err
}

// Path is the file that was opened, or the name given to Parse.
func (f *File) Path() string { return f.path }

// Version is the format's version: 2 or 3.
func (f *File) Version() int { return f.version }

// Keys lists the metadata keys in file order.
func (f *File) Keys() []string { return slices.Clone(f.keys) }

// Tensors lists the tensors in file order.
func (f *File) Tensors() []Tensor { return slices.Clone(f.tensors) }

// Lookup returns the tensor called name, and whether there is one.
func (f *File) Lookup(name string) (Tensor, bool) {
	i, ok := f.byName[name]
	if !ok {
		return Tensor{}, false
	}
	return f.tensors[i], true
}

// Tensor returns the tensor called name, or an error that wraps ErrMissing.
func (f *File) Tensor(name string) (Tensor, error) {
	t, ok := f.Lookup(name)
	if !ok {
		return Tensor{}, fmt.Errorf("%s: %w: %q", f.path, ErrMissing, name)
	}
	return t, nil
}

// Weight views the tensor called name as a frozen matrix; see Tensor.Weight.
func (f *File) Weight(name string) (kernels.Weight, error) {
	t, err := f.Tensor(name)
	if err != nil {
		return kernels.Weight{}, err
	}
	w, err := t.Weight()
	if err != nil {
		return kernels.Weight{}, fmt.Errorf("%s: %w", f.path, err)
	}
	return w, nil
}

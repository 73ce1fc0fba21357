package torchfile

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// ErrMissing is wrapped by the error of asking for a tensor that a File lacks.
var ErrMissing = safetensors.ErrMissing

// Bounds on what a small hostile file can make of itself.
const (
	maxDepth   = 8       // of dicts within dicts
	maxVisited = 1 << 20 // dict entries
	maxCopied  = 4       // bytes copied for strided tensors, over the file's
)

// File is a view of a checkpoint's tensors. It may be read by many goroutines
// at a time.
type File struct {
	path    string
	names   []string
	tensors map[string]safetensors.Tensor
	mapping *disk.Mapping
	visited int
	copied  int // bytes that may still be copied
}

// Open maps and reads the checkpoint at path.
func Open(path string) (*File, error) {
	m, err := disk.Map(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(path, m.Bytes)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	f.mapping = m
	return f, nil
}

// Parse reads b, the whole of a checkpoint; contiguous tensors are views of
// it. Errors call it name.
func Parse(name string, b []byte) (*File, error) {
	value, err := load(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrInvalid, err)
	}
	top, ok := value.(*dict)
	if !ok {
		return nil, fmt.Errorf("%s: %w: it holds a %T, not a dict of tensors", name, ErrInvalid, value)
	}
	f := &File{path: name, tensors: map[string]safetensors.Tensor{}, copied: maxCopied * len(b)}
	if err := f.collect("", top, 0); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrInvalid, err)
	}
	f.names = slices.Sorted(maps.Keys(f.tensors))
	return f, nil
}

// collect adds the tensors of d, those of the dicts in it under joined names.
func (f *File) collect(prefix string, d *dict, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("dict %q is nested too deeply", prefix)
	}
	for i, key := range d.keys {
		if f.visited++; f.visited > maxVisited {
			return fmt.Errorf("more than %d entries", maxVisited)
		}
		name, ok := key.(string)
		if !ok {
			return fmt.Errorf("dict %q has a key that is a %T", prefix, key)
		}
		name = prefix + name
		var err error
		switch v := d.values[i].(type) {
		case *dict:
			err = f.collect(name+".", v, depth+1)
		case *tensor:
			err = f.add(name, v)
		default:
			err = fmt.Errorf("%q is not a tensor", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *File) add(name string, t *tensor) error {
	if _, ok := f.tensors[name]; ok {
		return fmt.Errorf("tensor %q occurs twice", name)
	}
	count, err := t.check()
	if err != nil {
		return fmt.Errorf("tensor %q: %w", name, err)
	}
	out := safetensors.Tensor{Name: name, DType: t.dtype, Shape: slices.Clone(t.shape)}
	switch {
	case count == 0:
	case t.contiguous():
		out.Data = t.view(count)
	default:
		if f.copied -= count * t.dtype.Size(); f.copied < 0 {
			return fmt.Errorf("tensor %q: strided tensors are over %d times the file's size", name, maxCopied)
		}
		out.Data = t.gather(count)
	}
	f.tensors[name] = out
	return nil
}

// Close unmaps the file. No Data of the File's tensors may be used after it.
func (f *File) Close() error {
	f.names, f.tensors = nil, nil
	if f.mapping == nil {
		return nil
	}
	return f.mapping.Close()
}

// Path is the file that was opened, or the name given to Parse.
func (f *File) Path() string { return f.path }

// Len is the number of tensors.
func (f *File) Len() int { return len(f.names) }

// Names lists the tensors in byte order of their names; a tensor of a dict
// within the dict has the names of both, joined by a dot.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Lookup returns the tensor called name, and whether there is one.
func (f *File) Lookup(name string) (safetensors.Tensor, bool) {
	t, ok := f.tensors[name]
	return t, ok
}

// Tensor returns the tensor called name, or an error that wraps ErrMissing.
func (f *File) Tensor(name string) (safetensors.Tensor, error) {
	t, ok := f.tensors[name]
	if !ok {
		return safetensors.Tensor{}, fmt.Errorf("%s: %w: %q", f.path, ErrMissing, name)
	}
	return t, nil
}

// All yields the tensors in the order of Names.
func (f *File) All() iter.Seq[safetensors.Tensor] {
	return func(yield func(safetensors.Tensor) bool) {
		for _, name := range f.names {
			if !yield(f.tensors[name]) {
				return
			}
		}
	}
}

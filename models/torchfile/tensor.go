package torchfile

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// storage is a run of elements that tensors view. Bytes may be filled in after
// the pickle has been run.
type storage struct {
	key   string
	dtype safetensors.DType // "" for a storage of bytes
	count int               // elements; bytes for a storage of bytes
	bytes []byte
}

// size is the storage's bytes; false where they do not fit an int.
func (s *storage) size() (int, bool) {
	width := max(1, s.dtype.Size())
	return s.count * width, s.count >= 0 && s.count <= math.MaxInt/width
}

// storageOf makes the storage of a persistent id: ("storage", class, key,
// location, count), and in old files a view of another storage or None.
func storageOf(id any) (*storage, error) {
	parts, ok := id.(tuple)
	if !ok || len(parts) < 5 {
		return nil, errors.New("a persistent id that is not a storage")
	}
	kind, _ := parts[0].(string)
	class, isGlobal := parts[1].(global)
	key, hasKey := parts[2].(string)
	count, counted := parts[4].(int)
	switch {
	case kind != "storage" || !isGlobal || !hasKey || !counted || class.dtype == "" && !class.untyped:
		return nil, errors.New("a persistent id that is not a storage")
	case len(parts) > 5 && parts[5] != nil:
		return nil, fmt.Errorf("storage %q is a view of another", key)
	}
	s := &storage{key: key, dtype: class.dtype, count: count}
	if _, ok := s.size(); !ok {
		return nil, fmt.Errorf("storage %q claims %d elements", key, count)
	}
	return s, nil
}

// tensor is a strided view of a storage, in elements of dtype.
type tensor struct {
	storage        *storage
	dtype          safetensors.DType
	offset         int
	shape, strides []int
}

// check demands that every element lies in the storage, and that there are no
// more elements than there; it returns their number.
func (t *tensor) check() (count int, err error) {
	width := t.dtype.Size()
	if width == 0 {
		return 0, errors.New("a storage of bytes without an element type")
	}
	held := len(t.storage.bytes) / width
	switch {
	case len(t.shape) != len(t.strides):
		return 0, fmt.Errorf("shape %v with strides %v", t.shape, t.strides)
	case t.offset < 0 || t.offset > held:
		return 0, fmt.Errorf("offset %d in a storage of %d elements", t.offset, held)
	}
	if slices.ContainsFunc(t.shape, func(dim int) bool { return dim < 0 }) {
		return 0, fmt.Errorf("shape %v", t.shape)
	}
	if slices.Contains(t.shape, 0) {
		return 0, nil
	}
	count = 1
	room := held - t.offset // elements from the first one on
	if room == 0 {
		return 0, fmt.Errorf("offset %d in a storage of %d elements", t.offset, held)
	}
	for i, dim := range t.shape {
		stride := t.strides[i]
		if stride < 0 || dim > 1 && stride > (room-1)/(dim-1) {
			return 0, fmt.Errorf("shape %v with strides %v at %d leaves its storage of %d elements", t.shape, t.strides, t.offset, held)
		}
		if dim > 1 {
			room -= (dim - 1) * stride
		}
		if dim > held/count {
			return 0, fmt.Errorf("shape %v repeats elements of a storage of %d", t.shape, held)
		}
		count *= dim
	}
	return count, nil
}

// contiguous reports whether the elements lie in row-major order.
func (t *tensor) contiguous() bool {
	want := 1
	for i, dim := range slices.Backward(t.shape) {
		if dim != 1 && t.strides[i] != want {
			return false
		}
		want *= dim
	}
	return true
}

// view returns the bytes of count contiguous elements.
func (t *tensor) view(count int) []byte {
	width := t.dtype.Size()
	start, end := t.offset*width, (t.offset+count)*width
	return t.storage.bytes[start:end:end]
}

// gather copies count elements into row-major order.
func (t *tensor) gather(count int) []byte {
	width := t.dtype.Size()
	out := make([]byte, 0, count*width)
	index := make([]int, len(t.shape))
	for range count {
		at := t.offset
		for i, n := range index {
			at += n * t.strides[i]
		}
		out = append(out, t.storage.bytes[at*width:(at+1)*width]...)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < t.shape[i] {
				break
			}
			index[i] = 0
		}
	}
	return out
}

package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// PyTorch is the metadata that the Python libraries write and look for.
func PyTorch() map[string]string { return map[string]string{"format": "pt"} }

// WriteFile writes tensors, in any order, to path, replacing what is there
// only once the whole file is on disk. The same tensors and metadata always
// give the same bytes, those of Python's safetensors.torch.save_file.
func WriteFile(path string, tensors []Tensor, metadata map[string]string) error {
	return WriteFileFunc(path, tensors, metadata, stored)
}

// WriteFileFunc is WriteFile for tensors whose bytes are made as they are
// written: content is called for each tensor, in the order of the file, and
// must write exactly its bytes. Data is not looked at.
func WriteFileFunc(path string, tensors []Tensor, metadata map[string]string, content func(io.Writer, Tensor) error) error {
	return disk.Replace(path, func(w io.Writer) error { return write(w, tensors, metadata, content) })
}

// Write writes tensors to w as WriteFile does.
func Write(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	return write(w, tensors, metadata, stored)
}

func stored(w io.Writer, t Tensor) error {
	_, err := w.Write(t.Data)
	return err
}

func write(w io.Writer, tensors []Tensor, metadata map[string]string, content func(io.Writer, Tensor) error) error {
	tensors = slices.SortedFunc(slices.Values(tensors), func(a, b Tensor) int {
		return cmp.Or(-cmp.Compare(a.DType.rank(), b.DType.rank()), cmp.Compare(a.Name, b.Name))
	})
	header, err := formatHeader(tensors, metadata)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		size, _ := byteSize(t.DType, t.Shape)
		counted := &counter{w: w}
		if err := content(counted, t); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if counted.n != size {
			return fmt.Errorf("tensor %q: %d bytes for %s %v, want %d", t.Name, counted.n, t.DType, t.Shape, size)
		}
	}
	return nil
}

// formatHeader returns the length and the padded header for tensors in the
// order of their bytes.
func formatHeader(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	b := make([]byte, 8, 1024)
	b = append(b, '{')
	if len(metadata) > 0 {
		b = append(appendString(b, metadataKey), ':', '{')
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
				return nil, fmt.Errorf("metadata %q is not UTF-8", key)
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(append(appendString(b, key), ':'), metadata[key])
		}
		b = append(b, '}', ',')
	}
	at, seen := 0, map[string]bool{metadataKey: true}
	for _, t := range tensors {
		size, ok := byteSize(t.DType, t.Shape)
		switch {
		case t.DType.Size() == 0:
			return nil, fmt.Errorf("tensor %q: unknown type %q", t.Name, t.DType)
		case !ok || at+size < at:
			return nil, fmt.Errorf("tensor %q: shape %v is too large", t.Name, t.Shape)
		case seen[t.Name]:
			return nil, fmt.Errorf("tensor %q occurs twice", t.Name)
		case !utf8.ValidString(t.Name):
			return nil, fmt.Errorf("tensor %q: the name is not UTF-8", t.Name)
		}
		seen[t.Name] = true
		b = append(appendString(b, t.Name), `:{"dtype":`...)
		b = append(appendString(b, string(t.DType)), `,"shape":[`...)
		for i, dim := range t.Shape {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(dim), 10)
		}
		b = fmt.Appendf(b, `],"data_offsets":[%d,%d]},`, at, at+size)
		at += size
	}
	b = append(bytes.TrimSuffix(b, []byte{','}), '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	if len(b)-8 > maxHeader {
		return nil, fmt.Errorf("a header of %d bytes is over the limit of %d", len(b)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	return b, nil
}

// appendString appends s as a JSON string, escaping what Rust's serde_json
// does and nothing more.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, c := range []byte(s) {
		switch short := strings.IndexByte("\"\\\b\t\n\f\r", c); {
		case short >= 0:
			b = append(b, '\\', `"\btnfr`[short])
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// counter passes writes on and counts their bytes.
type counter struct {
	w io.Writer
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += n
	return n, err
}

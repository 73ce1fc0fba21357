package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxHeader is the longest header that the Python library reads, in bytes.
const maxHeader = 100_000_000

// metadataKey is the header's one key that is not a tensor.
const metadataKey = "__metadata__"

// ErrInvalid is wrapped by every error about a file that breaks the format.
var ErrInvalid = errors.New("not a valid safetensors file")

// placed is a tensor of a header and its bytes [start, end) after the header.
type placed struct {
	Tensor
	start, end int
}

// parse checks one whole file and returns its tensors, in the order of the
// bytes, with views of b, and its metadata.
func parse(b []byte) ([]placed, map[string]string, error) {
	if len(b) < 8 {
		return nil, nil, fmt.Errorf("%w: %d bytes is too short", ErrInvalid, len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > maxHeader {
		return nil, nil, fmt.Errorf("%w: a header of %d bytes is over the limit of %d", ErrInvalid, n, maxHeader)
	}
	if n > uint64(len(b)-8) {
		return nil, nil, fmt.Errorf("%w: a header of %d bytes in a file of %d", ErrInvalid, n, len(b))
	}
	tensors, metadata, err := parseHeader(b[8 : 8+n])
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	body := b[8+n:]
	slices.SortStableFunc(tensors, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
	})
	at := 0
	for i := range tensors {
		t := &tensors[i]
		if err := t.check(at, len(body)); err != nil {
			return nil, nil, fmt.Errorf("%w: tensor %q: %w", ErrInvalid, t.Name, err)
		}
		t.Data = body[t.start:t.end:t.end]
		at = t.end
	}
	if at != len(body) {
		return nil, nil, fmt.Errorf("%w: %d bytes belong to no tensor", ErrInvalid, len(body)-at)
	}
	return tensors, metadata, nil
}

// ReadMetadata reads a file from its beginning as far as its metadata goes.
func ReadMetadata(r io.Reader) (map[string]string, error) {
	var length [8]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader {
		return nil, fmt.Errorf("%w: a header of %d bytes is over the limit of %d", ErrInvalid, n, maxHeader)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	_, metadata, err := parseHeader(header)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return metadata, nil
}

// check reports what is wrong with a tensor whose bytes must begin at at and
// lie within length.
func (t *placed) check(at, length int) error {
	if t.DType.Size() == 0 {
		return fmt.Errorf("unknown type %q", t.DType)
	}
	size, ok := byteSize(t.DType, t.Shape)
	switch {
	case !ok:
		return fmt.Errorf("shape %v is too large", t.Shape)
	case t.end < t.start:
		return fmt.Errorf("offsets [%d, %d] run backwards", t.start, t.end)
	case t.end-t.start != size:
		return fmt.Errorf("%d bytes for %s %v, want %d", t.end-t.start, t.DType, t.Shape, size)
	case t.start < at:
		return fmt.Errorf("offset %d overlaps the tensor before it", t.start)
	case t.start > at:
		return fmt.Errorf("a gap of %d bytes before offset %d", t.start-at, t.start)
	case t.end > length:
		return fmt.Errorf("ends at %d, %d bytes beyond the file", t.end, t.end-length)
	}
	return nil
}

// parseHeader reads the JSON header token by token, since encoding/json's own
// maps and structs take repeated and misspelt keys in silence.
func parseHeader(header []byte) ([]placed, map[string]string, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, errors.New("the header does not begin with '{'")
	}
	if !utf8.Valid(header) {
		return nil, nil, errors.New("the header is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(header))
	dec.UseNumber()
	var tensors []placed
	metadata := map[string]string{}
	err := object(dec, func(key string) error {
		if key == metadataKey {
			return object(dec, func(key string) error {
				value, err := next[string](dec)
				metadata[key] = value
				return within(err, "metadata %q", key)
			})
		}
		t, err := parseTensor(dec)
		t.Name = key
		tensors = append(tensors, t)
		return within(err, "tensor %q", key)
	})
	if err != nil {
		return nil, nil, within(err, "header")
	}
	if rest := bytes.TrimRight(header[dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, nil, fmt.Errorf("%d bytes after the header's object", len(rest))
	}
	return tensors, metadata, nil
}

func parseTensor(dec *json.Decoder) (placed, error) {
	var t placed
	var offsets []int
	var seen int
	err := object(dec, func(key string) (err error) {
		switch key {
		case "dtype":
			var name string
			name, err = next[string](dec)
			t.DType = DType(name)
		case "shape":
			t.Shape, err = integers(dec)
		case "data_offsets":
			offsets, err = integers(dec)
		default:
			return fmt.Errorf("unknown key %q", key)
		}
		seen++
		return within(err, "%s", key)
	})
	switch {
	case err != nil:
		return t, err
	case seen != 3:
		return t, errors.New("dtype, shape or data_offsets is missing")
	case len(offsets) != 2:
		return t, fmt.Errorf("%d data_offsets, want 2", len(offsets))
	}
	t.start, t.end = offsets[0], offsets[1]
	return t, nil
}

// object reads a JSON object whose keys differ, calling member to read the
// value of each.
func object(dec *json.Decoder, member func(key string) error) error {
	if open, err := next[json.Delim](dec); err != nil || open != '{' {
		return cmp.Or(err, errors.New("not an object"))
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := next[string](dec)
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%q occurs twice", key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// integers reads a JSON array of integers from 0 to the largest int. The
// decoder reads it at once, since it allocates for each value that it reads.
func integers(dec *json.Decoder) ([]int, error) {
	var array json.RawMessage
	if err := dec.Decode(&array); err != nil {
		return nil, err
	}
	if array[0] != '[' {
		return nil, errors.New("not an array")
	}
	values := make([]int, 0, 2)
	inside := bytes.TrimSpace(array[1 : len(array)-1])
	for len(inside) > 0 {
		number, rest, _ := bytes.Cut(inside, []byte{','})
		number = bytes.TrimSpace(number)
		v, err := strconv.ParseUint(string(number), 10, 64)
		if err != nil || v > math.MaxInt {
			return nil, fmt.Errorf("%s is not a size", number)
		}
		values, inside = append(values, int(v)), rest
	}
	return values, nil
}

// next reads one token, which must be a T.
func next[T any](dec *json.Decoder) (T, error) {
	token, err := dec.Token()
	value, ok := token.(T)
	if err == nil && !ok {
		err = fmt.Errorf("unexpected %v", token)
	}
	return value, err
}

// within wraps err with the place it happened; nil stays nil.
func within(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid is wrapped by every error about a file that is not a checkpoint
// of tensors.
var ErrInvalid = errors.New("not a readable torch checkpoint")

// legacyMagic begins a stream of torch before 1.6: a pickle, by protocol 2, of
// the number 0x1950a86a20f9469cfc6c.
var legacyMagic = []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.")

// load runs the pickle of a whole file and returns its value, whose storages
// have their bytes.
func load(b []byte) (any, error) {
	switch {
	case bytes.HasPrefix(b, []byte("PK")):
		return loadZip(b)
	case bytes.HasPrefix(b, legacyMagic):
		return loadLegacy(b[len(legacyMagic):])
	}
	return nil, errors.New("it is neither a zip archive nor a stream of torch before 1.6")
}

// loadZip reads <folder>/data.pkl and, beside it, data/<key>.
func loadZip(b []byte) (any, error) {
	archive, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	files, folder := map[string]*zip.File{}, ""
	for _, file := range archive.File {
		if _, ok := files[file.Name]; ok {
			return nil, fmt.Errorf("two files %q in the archive", file.Name)
		}
		files[file.Name] = file
		if name, ok := strings.CutSuffix(file.Name, "/data.pkl"); ok && !strings.Contains(name, "/") {
			folder = name
		}
	}
	open := func(name string) ([]byte, error) { return stored(b, files[folder+"/"+name], name) }
	if order, err := open("byteorder"); err == nil && string(order) != "little" {
		return nil, errors.New("it is not little-endian")
	}
	program, err := open("data.pkl")
	if err != nil {
		return nil, err
	}
	seen := map[string]*storage{}
	value, _, err := run(program, func(id any) (any, error) {
		s, err := storageOf(id)
		if err != nil {
			return nil, err
		}
		if old, ok := seen[s.key]; ok && old.dtype == s.dtype && old.count == s.count {
			return old, nil
		}
		seen[s.key] = s
		content, err := open("data/" + s.key)
		if err != nil {
			return nil, err
		}
		size, _ := s.size()
		if len(content) != size {
			return nil, fmt.Errorf("storage %q has %d bytes, want %d", s.key, len(content), size)
		}
		s.bytes = content
		return s, nil
	})
	return value, err
}

// stored is the content of an archive's file, which torch never compresses, as
// a view of b.
func stored(b []byte, file *zip.File, name string) ([]byte, error) {
	if file == nil {
		return nil, fmt.Errorf("no file %q in the archive", name)
	}
	if file.Method != zip.Store || file.CompressedSize64 != file.UncompressedSize64 {
		return nil, fmt.Errorf("file %q in the archive is compressed", name)
	}
	offset, err := file.DataOffset()
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > int64(len(b)) || file.CompressedSize64 > uint64(int64(len(b))-offset) {
		return nil, fmt.Errorf("file %q lies outside the archive", name)
	}
	end := offset + int64(file.CompressedSize64)
	return b[offset:end:end], nil
}

// loadLegacy reads what follows the magic number: pickles of the protocol's
// version, of facts about the system, of the object and of the storages' keys,
// then each storage as its count, 8 bytes, and its elements.
func loadLegacy(b []byte) (any, error) {
	none := func(any) (any, error) { return nil, errors.New("a persistent id outside the object") }
	version, b, err := run(b, none)
	if err != nil {
		return nil, err
	}
	if version != 1001 {
		return nil, errors.New("its protocol version is not 1001")
	}
	system, b, err := run(b, none)
	if err != nil {
		return nil, err
	}
	if facts, ok := system.(*dict); !ok || facts.get("little_endian") != true {
		return nil, errors.New("it is not little-endian")
	}
	byKey := map[string]*storage{}
	value, b, err := run(b, func(id any) (any, error) {
		s, err := storageOf(id)
		if err != nil {
			return nil, err
		}
		old, ok := byKey[s.key]
		if !ok {
			byKey[s.key] = s
			return s, nil
		}
		if old.dtype != s.dtype || old.count != s.count {
			return nil, fmt.Errorf("storage %q is described in two ways", s.key)
		}
		return old, nil
	})
	if err != nil {
		return nil, err
	}
	order, b, err := run(b, none)
	if err != nil {
		return nil, err
	}
	keys, ok := order.(*list)
	if !ok || len(keys.items) != len(byKey) {
		return nil, fmt.Errorf("the list of storages does not fit the %d in use", len(byKey))
	}
	for _, item := range keys.items {
		key, _ := item.(string)
		if b, err = byKey[key].cut(b); err != nil {
			return nil, fmt.Errorf("storage %q: %w", key, err)
		}
	}
	return value, nil
}

// cut takes the storage's count and bytes off the front of b.
func (s *storage) cut(b []byte) (rest []byte, err error) {
	if s == nil || s.bytes != nil {
		return nil, errors.New("not in use, or listed twice")
	}
	size, _ := s.size()
	if len(b) < 8 || size > len(b)-8 {
		return nil, errEnds
	}
	if n := binary.LittleEndian.Uint64(b); n != uint64(s.count) {
		return nil, fmt.Errorf("%d elements, want %d", n, s.count)
	}
	s.bytes = b[8 : 8+size : 8+size]
	return b[8+size:], nil
}

// get is the value last set for a key.
func (d *dict) get(key string) any {
	for i := len(d.keys) - 1; i >= 0; i-- {
		if d.keys[i] == any(key) {
			return d.values[i]
		}
	}
	return nil
}

// Package regular reads the small files that lie beside a model's weights:
// configurations, indexes, tokenizers, templates. Such a folder may have come
// from anyone, so only a regular file is opened (a pipe would wait for a
// writer, a device may have no end) and only so much of it is read.
package regular

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

// What is wrong with a file that is there and is not read.
var (
	ErrKind = errors.New("is not a regular file")
	ErrSize = errors.New("is too large")
	ErrText = errors.New("is not valid UTF-8")
)

// Config is the largest size of a configuration, in bytes.
const Config = 64 << 20

// Check refuses what is no regular file, or has more than most bytes.
func Check(path string, most int64) error {
	stat, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !stat.Mode().IsRegular():
		return fmt.Errorf("%s %w", path, ErrKind)
	case stat.Size() > most:
		return fmt.Errorf("%s %w: %d bytes, more than %d", path, ErrSize, stat.Size(), most)
	}
	return nil
}

// Read returns the content of the regular file at path, which has at most most
// bytes. Of a file that is not there the error is os.ReadFile's.
func Read(path string, most int64) ([]byte, error) {
	if err := Check(path, most); err != nil {
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
	b := make([]byte, stat.Size())
	n, err := io.ReadFull(file, b)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF): // it has shrunk meanwhile
		return b[:n], nil
	case err != nil:
		return nil, err
	}
	return b, nil
}

// Text is Read of a file that has to be UTF-8, as Python's readers demand of
// JSON: Go's would put other characters for what is none.
func Text(path string, most int64) ([]byte, error) {
	b, err := Read(path, most)
	if err == nil && !utf8.Valid(b) {
		return nil, fmt.Errorf("%s %w", path, ErrText)
	}
	return b, err
}

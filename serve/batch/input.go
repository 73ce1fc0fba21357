package batch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
)

// input is a file of rows.
type input struct {
	file *os.File
	sum  string // of its bytes
	rows int
}

// openInput opens a file and counts its rows.
func openInput(path string) (in *input, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	stat, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !stat.Mode().IsRegular() {
		return nil, filesFault("%s is no regular file: it is read twice, and again after a restart", path)
	}
	hash := sha256.New()
	in = &input{file: file}
	for all := newLines(io.TeeReader(file, hash), 0); ; in.rows++ {
		if _, err := all.row(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	if in.rows == 0 {
		return nil, filesFault("%s holds no row", path)
	}
	in.sum = hex.EncodeToString(hash.Sum(nil))
	return in, nil
}

// lines are those of the file, from the first.
func (in *input) lines(most int64) (*lines, error) {
	_, err := in.file.Seek(0, io.SeekStart)
	return newLines(in.file, most), err
}

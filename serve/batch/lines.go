package batch

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// lines reads the lines of a file.
type lines struct {
	in     *bufio.Reader
	most   int64 // bytes of a line that are kept
	number int   // of the last one, from 1
}

// line is one of them.
type line struct {
	text  []byte // without its end; empty if it is long
	long  bool   // it has more bytes than are kept
	blank bool
	ended bool // by a newline
}

func newLines(in io.Reader, most int64) *lines {
	return &lines{in: bufio.NewReaderSize(in, 1<<18), most: most}
}

// row returns the next line that is not blank, and io.EOF after the last.
func (l *lines) row() (line, error) {
	for {
		if next, err := l.next(); err != nil || !next.blank {
			return next, err
		}
	}
}

// next returns the next line, and io.EOF after the last.
func (l *lines) next() (line, error) {
	next := line{blank: true}
	for begun := false; ; begun = true {
		part, err := l.in.ReadSlice('\n')
		part, next.ended = bytes.CutSuffix(part, []byte("\n"))
		next.blank = next.blank && len(bytes.TrimSpace(part)) == 0
		if next.long = next.long || int64(len(next.text)+len(part)) > l.most; next.long {
			next.text = nil
		} else {
			next.text = append(next.text, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (begun || len(part) > 0): // a last line without an end
		case err != nil:
			return line{}, err
		}
		l.number++
		return next, nil
	}
}

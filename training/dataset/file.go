package dataset

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// file is one file of records, each known by its place.
type file struct {
	path   string
	kind   string // the extension
	f      *os.File
	starts []int64 // of each record; one more for the end
	lines  []int32
	header []string // CSV and TSV
}

// Extensions lists the kinds of file that are read.
var Extensions = []string{".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt"}

// openFile finds the records of a file. header names the columns of a table
// without a header row; empty: the first row does.
func openFile(path string, header []string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t := &file{path: path, kind: strings.ToLower(filepath.Ext(path)), f: f, header: header}
	switch t.kind {
	case ".jsonl", ".ndjson":
		err = t.indexLines(false)
	case ".tsv":
		err = t.indexLines(len(header) == 0)
	case ".csv":
		err = t.indexCSV()
	case ".json":
		err = t.indexArray()
	case ".txt":
		err = t.indexParagraphs()
	default:
		err = fmt.Errorf("%s: the kind of file is not known (%s)", path, strings.Join(Extensions, " "))
	}
	if err == nil && len(t.lines) == 0 {
		err = fmt.Errorf("%s: no records", path)
	}
	if err == nil && len(t.starts) > math.MaxInt32 {
		err = fmt.Errorf("%s: %d records are more than can be counted", path, len(t.starts))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

func (t *file) add(start int64, line int) {
	t.starts, t.lines = append(t.starts, start), append(t.lines, int32(line))
}

// indexLines takes each line that is not blank as a record.
func (t *file) indexLines(header bool) error {
	r := bufio.NewReaderSize(t.f, 1<<20)
	at, line := int64(0), 0
	for {
		start := at
		text, err := readLine(r, &at)
		if errors.Is(err, io.EOF) && start == at {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w", t.path, err)
		}
		line++
		switch {
		case header && line == 1:
			t.header = cells(text)
		case len(bytes.TrimSpace(text)) > 0:
			t.add(start, line)
		}
	}
	t.starts = append(t.starts, at)
	return nil
}

func readLine(r *bufio.Reader, at *int64) ([]byte, error) {
	text, err := r.ReadBytes('\n')
	*at += int64(len(text))
	return text, err
}

// cells splits a line of TSV, in which quotes are literal.
func cells(line []byte) []string {
	return strings.Split(strings.TrimRight(strings.TrimPrefix(string(line), "\ufeff"), "\r\n"), "\t")
}

// indexCSV reads RFC 4180, where a record may go over several lines.
func (t *file) indexCSV() error {
	r := csv.NewReader(bufio.NewReaderSize(t.f, 1<<20))
	r.ReuseRecord, r.FieldsPerRecord = true, len(t.header)
	named := len(t.header) > 0
	for {
		start := r.InputOffset()
		row, err := r.Read()
		if err == io.EOF {
			t.starts = append(t.starts, start)
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.path, err)
		}
		if !named {
			for _, c := range row {
				t.header = append(t.header, strings.TrimPrefix(c, "\ufeff"))
			}
			named = true
			continue
		}
		line, _ := r.FieldPos(0)
		t.add(start, line)
	}
}

// indexArray reads a JSON array of objects.
func (t *file) indexArray() error {
	lines := &lineCounter{r: bufio.NewReaderSize(t.f, 1<<20)}
	dec := json.NewDecoder(lines)
	open, err := dec.Token()
	if err != nil {
		return fmt.Errorf("%s: want a JSON array of objects: %w", t.path, err)
	}
	if open != json.Delim('[') {
		return fmt.Errorf("%s: want a JSON array of objects, not %v", t.path, open)
	}
	for dec.More() {
		start := dec.InputOffset()
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			at := dec.InputOffset()
			var syntax *json.SyntaxError
			if errors.As(err, &syntax) {
				at = syntax.Offset
			}
			return fmt.Errorf("%s:%d: %w", t.path, lines.at(at), err)
		}
		t.add(start, lines.at(dec.InputOffset()-int64(len(value))))
	}
	t.starts = append(t.starts, dec.InputOffset())
	return nil
}

// lineCounter tells on which line an offset lies.
type lineCounter struct {
	r       io.Reader
	read    int64
	pending []int64 // offsets of line breaks not yet passed
	passed  int
}

func (l *lineCounter) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	for i, c := range b[:n] {
		if c == '\n' {
			l.pending = append(l.pending, l.read+int64(i))
		}
	}
	l.read += int64(n)
	return n, err
}

func (l *lineCounter) at(offset int64) int {
	i := 0
	for i < len(l.pending) && l.pending[i] < offset {
		i++
	}
	l.passed += i
	l.pending = l.pending[i:]
	return l.passed + 1
}

// indexParagraphs takes what stands between blank lines as a record.
func (t *file) indexParagraphs() error {
	r := bufio.NewReaderSize(t.f, 1<<20)
	at, line, open := int64(0), 0, false
	for {
		start := at
		text, err := readLine(r, &at)
		if errors.Is(err, io.EOF) && start == at {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w", t.path, err)
		}
		line++
		blank := len(bytes.TrimSpace(text)) == 0
		if !blank && !open {
			t.add(start, line)
		}
		open = !blank
	}
	t.starts = append(t.starts, at)
	return nil
}

// read returns record i.
func (t *file) read(i int) (*Record, error) {
	r := &Record{File: t.path, Line: int(t.lines[i])}
	b := make([]byte, t.starts[i+1]-t.starts[i])
	if _, err := t.f.ReadAt(b, t.starts[i]); err != nil {
		return nil, r.fault("%w", err)
	}
	switch t.kind {
	case ".tsv":
		return r, t.table(r, cells(bytes.TrimRight(b, "\r\n")))
	case ".csv":
		c := csv.NewReader(bytes.NewReader(b))
		c.FieldsPerRecord = -1
		row, err := c.Read()
		if err != nil {
			return nil, r.fault("%w", err)
		}
		return r, t.table(r, row)
	case ".txt":
		r.text = map[string]string{"text": strings.TrimSpace(string(b))}
		return r, nil
	}
	b = bytes.TrimLeft(b, ", \t\r\n\ufeff")
	if err := json.Unmarshal(b, &r.raw); err != nil {
		return nil, r.fault("not a JSON object: %w", err)
	}
	return r, nil
}

func (t *file) table(r *Record, row []string) error {
	if len(row) != len(t.header) {
		return r.fault("%d columns, want %d (%s)", len(row), len(t.header), strings.Join(t.header, ", "))
	}
	r.text = map[string]string{}
	for i, c := range t.header {
		r.text[c] = row[i]
	}
	return nil
}

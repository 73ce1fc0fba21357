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
	"unicode/utf8"
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
	if stat, err := f.Stat(); err == nil && stat.IsDir() {
		return nil, errors.Join(fmt.Errorf("%s is a folder: name its files, or the --task whose folder it is", path), f.Close())
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
		err = t.indexJSON()
	case ".txt":
		err = t.indexParagraphs()
	default:
		err = fmt.Errorf("%s: the kind of file is not known (%s)", path, strings.Join(Extensions, " "))
	}
	if err == nil && len(t.lines) == 0 {
		err = fmt.Errorf("%s: no records", path)
	}
	if err == nil {
		err = t.checkHeader()
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
			return t.csvFault(err)
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

// csvFault names the line where a record of CSV cannot be read.
func (t *file) csvFault(err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	line := parse.Line
	if errors.Is(err, csv.ErrFieldCount) {
		line = parse.StartLine
	}
	return fmt.Errorf("%s:%d: %w", t.path, line, parse.Err)
}

// checkHeader refuses a table in which a column's name means two columns.
func (t *file) checkHeader() error {
	seen := map[string]bool{}
	for _, c := range t.header {
		if seen[c] {
			return fmt.Errorf("%s:1: there are two columns %q", t.path, c)
		}
		seen[c] = true
	}
	return nil
}

// indexJSON reads an array of objects, or the objects a line each that many
// call .json too.
func (t *file) indexJSON() error {
	r := bufio.NewReader(t.f)
	first, err := r.ReadByte()
	for err == nil && bytes.IndexByte([]byte(" \t\r\n\xef\xbb\xbf"), first) >= 0 {
		first, err = r.ReadByte()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	if _, err := t.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if first == '{' {
		return t.indexLines(false)
	}
	return t.indexArray()
}

// indexArray reads a JSON array of objects.
func (t *file) indexArray() error {
	lines := &lineCounter{r: bufio.NewReaderSize(t.f, 1<<20)}
	dec := json.NewDecoder(lines)
	fault := func(err error) error {
		at := dec.InputOffset()
		var syntax *json.SyntaxError
		switch {
		case errors.As(err, &syntax):
			at = max(at, syntax.Offset)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			at, err = lines.read, errors.New("the file ends before its array does")
		}
		return fmt.Errorf("%s:%d: %w", t.path, lines.at(at), err)
	}
	open, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return nil // no records
	}
	if err != nil {
		return fault(err)
	}
	if open != json.Delim('[') {
		return fmt.Errorf("%s: want a JSON array of objects, not %v", t.path, open)
	}
	for dec.More() {
		start := dec.InputOffset()
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fault(err)
		}
		t.add(start, lines.at(dec.InputOffset()-int64(len(value))))
	}
	t.starts = append(t.starts, dec.InputOffset())
	if _, err := dec.Token(); err != nil { // the closing bracket
		return fault(err)
	}
	if extra, err := dec.Token(); !errors.Is(err, io.EOF) {
		if err != nil {
			return fault(err)
		}
		return fmt.Errorf("%s:%d: %v follows the array", t.path, lines.at(dec.InputOffset()), extra)
	}
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
	if l.read == 0 && bytes.HasPrefix(b[:n], []byte("\ufeff")) {
		copy(b, "   ") // a mark of the byte order is no JSON
	}
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
	if !utf8.Valid(b) {
		return nil, r.fault("not UTF-8 at byte %d of the record: % x", invalid(b), b[invalid(b):min(len(b), invalid(b)+4)])
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
	err := json.Unmarshal(b, &r.raw)
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return nil, r.fault("want a JSON object, not this %s: %s", kind.Value, clip(string(bytes.TrimSpace(b))))
	case err != nil:
		return nil, r.fault("not a JSON object: %w", err)
	case r.raw == nil:
		return nil, r.fault("want a JSON object, not null")
	}
	if err := strict(b); err != nil {
		return nil, r.fault("%w", err)
	}
	return r, nil
}

// invalid is the place of the first byte that is not UTF-8.
func invalid(b []byte) int {
	at := 0
	for at < len(b) {
		r, n := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return at
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

// firstRow are the cells of the first row of a table; nil: it is none, or cannot be
// read.
func firstRow(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	switch strings.ToLower(filepath.Ext(path)) {
	case ".tsv":
		at := int64(0)
		line, err := readLine(bufio.NewReader(f), &at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil
		}
		return cells(line)
	case ".csv":
		row, err := csv.NewReader(f).Read()
		if err != nil {
			return nil
		}
		return row
	}
	return nil
}

package batch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// Options say what is answered, by what, and where to.
type Options struct {
	Input  string
	Output string // of the whole file; a shard's name has its number
	// Shard of so many, which have the same number of rows, or one more.
	Shard, Shards int
	// By is what the answers depend on beside the rows, by name: answers by
	// something else are not gone on with.
	By map[string]string
	// Kernels computed; others may go on, and say so.
	Kernels string
	// Replace what is there of other rows, or by something else.
	Replace  bool
	RowLimit int64 // bytes of a row that are read
}

// job is what the answers in a file are of, and is kept beside it.
type job struct {
	Input   string            `json:"input"` // its name: what counts are the bytes
	Sum     string            `json:"sha256"`
	Rows    int               `json:"rows"` // of the file
	Shard   int               `json:"shard"`
	Shards  int               `json:"shards"`
	By      map[string]string `json:"by"`
	Kernels string            `json:"kernels"`
}

// differs says in words what is not the same of two jobs; empty: they are one.
func (j *job) differs(other *job) string {
	var words []string
	is := func(what string, same bool) {
		if !same {
			words = append(words, what)
		}
	}
	is("the input", j.Sum == other.Sum)
	is("the shards", j.Shard == other.Shard && j.Shards == other.Shards)
	for name := range j.By {
		is("--"+name, other.By[name] == j.By[name])
	}
	for name := range other.By {
		if _, known := j.By[name]; !known {
			is("--"+name, false)
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// A FilesError is of an input, or of what is there of its answers, that this job cannot go
// on with: to run it again comes to the same.
type FilesError struct{ text string }

func (e *FilesError) Error() string { return e.text }

func filesFault(format string, args ...any) error {
	return &FilesError{fmt.Sprintf(format, args...)}
}

// A Shard is the part of a file's rows that one process answers.
type Shard struct {
	Output string // its own
	// Done are the rows that have been committed, Failed those of them whose
	// answer is an error, of Rows.
	Done, Failed, Rows int
	// Warning is what an operator should know of what is gone on with; empty:
	// nothing.
	Warning string

	first int // row of the file
	limit int64
	in    *input
	lock  *disk.Lock
	file  disk.File // nil: all is done
}

// Open looks at the input and at what is there of its answers.
func Open(o Options) (_ *Shard, err error) {
	in, err := openInput(o.Input)
	if err != nil {
		return nil, err
	}
	s := &Shard{Output: outputOf(o), in: in, limit: o.RowLimit}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	s.first = in.rows * o.Shard / o.Shards
	s.Rows = in.rows*(o.Shard+1)/o.Shards - s.first
	if err := disk.MkdirAll(filepath.Dir(s.Output)); err != nil {
		return nil, err
	}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	want := &job{filepath.Base(o.Input), in.sum, in.rows, o.Shard, o.Shards, o.By, o.Kernels}
	if err := s.resume(want, o.Replace); err != nil {
		return nil, err
	}
	return s, nil
}

// Complete reports whether all rows are answered, and the output is there.
func (s *Shard) Complete() bool { return s.file == nil }

// outputOf is where the answers of a shard go.
func outputOf(o Options) string {
	if o.Shards == 1 {
		return o.Output
	}
	end := filepath.Ext(o.Output)
	return fmt.Sprintf("%s-%05d-of-%05d%s", strings.TrimSuffix(o.Output, end), o.Shard, o.Shards, end)
}

// The files beside an output.
func (s *Shard) partial() string  { return s.Output + ".partial" } // the answers so far
func (s *Shard) jobFile() string  { return s.Output + ".job" }
func (s *Shard) lockFile() string { return s.Output + ".lock" }

// takeLock keeps another process from the same output.
func (s *Shard) takeLock() (err error) {
	if s.lock, err = disk.CreateLock(s.lockFile()); errors.Is(err, fs.ErrExist) {
		s.lock, err = disk.TryLock(s.lockFile())
	}
	switch {
	case errors.Is(err, disk.ErrLocked):
		return fmt.Errorf("another process answers into %s", s.Output)
	case errors.Is(err, errors.ErrUnsupported): // a file system without locks
		return nil
	}
	return err
}

// resume finds out where to go on.
func (s *Shard) resume(want *job, replace bool) error {
	output, partial := there(s.Output), there(s.partial())
	if !output && !partial {
		return s.begin(want)
	}
	had, err := readJob(s.jobFile())
	if err != nil {
		return err
	}
	path := s.partial()
	if output {
		path = s.Output
	}
	if had == nil || want.differs(had) != "" {
		if replace {
			return s.begin(want)
		}
		if had == nil {
			return filesFault("%s is there, and nothing tells of what: name another --output, or give --overwrite", path)
		}
		return filesFault("%s is there, of another job (%s): name another --output, or give --overwrite", path, want.differs(had))
	}
	if had.Kernels != want.Kernels {
		s.Warning = fmt.Sprintf("the answers so far were computed by %s kernels, and these are %s: log-probabilities may differ in their last bits", had.Kernels, want.Kernels)
	}
	whole, err := s.count(path)
	if err != nil || output && s.Done == s.Rows {
		return err
	}
	if output {
		return filesFault("%s has %d answers to %d rows: it has been changed: move it away", path, s.Done, s.Rows)
	}
	if s.file, err = disk.Append(path); err != nil {
		return err
	}
	return s.file.Truncate(whole)
}

// begin makes an output from the start, with nothing of another beside it.
func (s *Shard) begin(j *job) error {
	for _, path := range []string{s.jobFile(), s.partial(), s.Output} {
		if err := disk.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := disk.Sync(filepath.Dir(s.Output)); err != nil { // before what says that they are of this job
		return err
	}
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	if err := disk.Write(s.jobFile(), append(text, '\n')); err != nil {
		return err
	}
	if s.file, err = disk.Create(s.partial()); err != nil {
		return err
	}
	return disk.Sync(filepath.Dir(s.Output))
}

// readJob is nil where there is none.
func readJob(path string) (*job, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var j job
	if err == nil {
		err = json.Unmarshal(text, &j)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &j, nil
}

// count counts the answers in a file and returns how many bytes they take: what
// follows was being written when the power went.
func (s *Shard) count(path string) (whole int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	in := newLines(file, 1<<40)
	for {
		answered, err := in.next()
		var answer struct {
			Response *struct {
				Status int `json:"status_code"`
			} `json:"response"`
		}
		if err != nil || !answered.ended || json.Unmarshal(answered.text, &answer) != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return whole, err
		}
		if s.Done == s.Rows {
			return 0, filesFault("%s has more answers than there are rows, %d: it has been changed: move it away", path, s.Rows)
		}
		whole += int64(len(answered.text)) + 1
		s.Done++
		if answer.Response == nil || answer.Response.Status >= 400 {
			s.Failed++
		}
	}
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Close gives up the input and the lock; what is committed stays.
func (s *Shard) Close() error {
	errs := []error{s.in.file.Close()}
	if s.file != nil {
		errs = append(errs, s.file.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Remove())
	}
	return errors.Join(errs...)
}

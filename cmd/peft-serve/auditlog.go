package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// auditFile is a file that lines are appended to. It can be opened anew, so that
// what rotates logs may move it away. A line that cannot be written is an error
// in the log, with the line. A nil auditFile is none.
type auditFile struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	file *os.File
}

// openAudit opens the file of --audit-log, if there is one.
func openAudit(path string, log *slog.Logger) (*auditFile, error) {
	if path == "" {
		return nil, nil
	}
	f := &auditFile{path: path, log: log}
	var err error
	if f.file, err = f.open(); err != nil {
		return nil, fmt.Errorf("--audit-log: %w", err)
	}
	return f, nil
}

// logger writes lines of JSON; nil: there is no file.
func (f *auditFile) logger() *slog.Logger {
	if f == nil {
		return nil
	}
	return slog.New(slog.NewJSONHandler(f, nil))
}

func (f *auditFile) open() (*os.File, error) {
	return os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

// reopen keeps the file that is open where there is no other.
func (f *auditFile) reopen() (changes string, err error) {
	if f == nil {
		return "", nil
	}
	file, err := f.open()
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	file, f.file = f.file, file
	f.mu.Unlock()
	return "opened anew", file.Close()
}

// Write appends one line.
func (f *auditFile) Write(line []byte) (int, error) {
	f.mu.Lock()
	n, err := f.file.Write(line)
	f.mu.Unlock()
	if err != nil {
		f.log.Error("a line of the audit log cannot be written", "error", err, "line", strings.TrimSpace(string(line)))
	}
	return n, err
}

// close closes the file, when nothing is written any more.
func (f *auditFile) close() {
	if f == nil {
		return
	}
	if err := f.file.Close(); err != nil {
		f.log.Error("audit log", "error", err)
	}
}

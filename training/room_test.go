package training

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// TestRunWaitsForRoom: a full disk loses nothing.
func TestRunWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, tries := &Run{observer: &quiet{}}, 0
		full := &fs.PathError{Op: "write", Path: "adapter", Err: syscall.ENOSPC}
		until := func(last int, then error) func() error {
			tries = 0
			return func() error {
				if tries++; tries < last {
					return full
				}
				return then
			}
		}
		if err := r.withRoom(ctx, until(4, nil)); err != nil || tries != 4 {
			t.Errorf("after %d tries: %v", tries, err)
		}
		if err := r.withRoom(ctx, until(1, fs.ErrPermission)); !errors.Is(err, fs.ErrPermission) || tries != 1 {
			t.Errorf("another fault, after %d tries: %v", tries, err)
		}
		go cancel()
		if err := r.withRoom(ctx, until(1000, nil)); !errors.Is(err, full) {
			t.Errorf("interrupted after %d tries: %v", tries, err)
		}
	})
}

// TestJournalUndo: what was written in part is cut off, and what follows
// stands where it would have stood.
func TestJournalUndo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	j, err := openJournal(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.close() }()
	sizes := func() (lines, events int64) {
		for f, n := range map[disk.File]*int64{j.f: &lines, j.events.f: &events} {
			var err error
			if *n, err = f.Seek(0, io.SeekEnd); err != nil {
				t.Fatal(err)
			}
		}
		return lines, events
	}
	if err := j.write(StepReport{Step: 1}); err != nil {
		t.Fatal(err)
	}
	lines, events := sizes()
	undo, err := j.undo()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.write(StepReport{Step: 2, Loss: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if l, e := sizes(); l != lines || e != events {
		t.Errorf("%d and %d bytes are left, want %d and %d", l, e, lines, events)
	}
	if err := j.write(StepReport{Step: 2}); err != nil {
		t.Fatal(err)
	}
	if all, err := readJournal(path); err != nil || len(all) != 2 {
		t.Errorf("%d lines, %v", len(all), err)
	}
}

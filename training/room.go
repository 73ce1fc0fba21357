package training

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"
)

// roomEvery is how often a run that waits for room on its disk tries again.
const roomEvery = 10 * time.Second

// withRoom writes, and where the disk is full waits for room and writes again:
// what a run has learned since its last checkpoint is nowhere else. What write
// has left of a failed attempt must not matter to the next. Who interrupts the
// wait gets the fault.
func (r *Run) withRoom(ctx context.Context, write func() error) error {
	for told := false; ; told = true {
		err := write()
		if !noRoom(err) || ctx.Err() != nil {
			return err
		}
		if !told {
			r.observer.Note("%s: the run waits for room, and an interrupt ends it", oneLine(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(roomEvery):
		}
	}
}

// spareRoom writes the parameters of a step that nobody has asked to keep: where
// the disk is full, the run goes on without them.
func (r *Run) spareRoom(step int, write func() error) error {
	err := write()
	if !noRoom(err) {
		return err
	}
	r.observer.Note("%s: the run goes on, and does not have the parameters of step %d if it diverges", oneLine(err), step)
	return nil
}

// noRoom reports whether a fault is that the disk is full.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

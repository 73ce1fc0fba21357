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
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) || ctx.Err() != nil {
			return err
		}
		if !told {
			r.observer.Note("%s: the run waits for room, and an interrupt ends it", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		select {
		case <-ctx.Done():
		case <-time.After(roomEvery):
		}
	}
}

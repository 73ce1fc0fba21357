//go:build unix

package main

import (
	"context"
	"syscall"
	"time"
)

// processorTime is what the process has had so far.
func processorTime(context.Context) (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

//go:build unix

// Package processor tells what time of the processors this process has had, which
// other work on a machine changes less than the clock, and what memory it holds.
package processor

import (
	"syscall"
	"time"
)

// Time is that of all threads, in user and in system mode; 0: unknown.
func Time() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

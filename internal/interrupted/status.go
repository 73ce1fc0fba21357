// Package interrupted tells by which signal a command was stopped.
package interrupted

import (
	"context"
	"os"
	"syscall"
)

// Status is the exit status of a command that a signal has stopped, 128 and the
// signal's number, as shells have it. ctx is of signal.NotifyContext, or below
// it, and the signal is one of those. Without one it is 0.
func Status(ctx context.Context, signals ...os.Signal) int {
	cause := context.Cause(ctx)
	for _, s := range signals {
		// signal.NotifyContext has no other way to tell the signal.
		if number, ok := s.(syscall.Signal); ok && cause != nil && cause.Error() == s.String()+" signal received" {
			return 128 + int(number)
		}
	}
	return 0
}

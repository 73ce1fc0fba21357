//go:build unix

package interrupted

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

func TestStatus(t *testing.T) {
	if got := Status(t.Context(), os.Interrupt); got != 0 {
		t.Errorf("%d of a context that has not ended", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	if cancel(); Status(ended, os.Interrupt) != 0 {
		t.Error("no signal came")
	}
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	for i, want := range []int{130, 143, 129} {
		ctx, stop := signal.NotifyContext(t.Context(), signals...)
		below, done := context.WithCancel(ctx)
		if err := syscall.Kill(os.Getpid(), signals[i].(syscall.Signal)); err != nil {
			t.Fatal(err)
		}
		<-below.Done()
		if got := Status(below, signals...); got != want {
			t.Errorf("%v: %d, want %d", signals[i], got, want)
		}
		done()
		stop()
	}
}

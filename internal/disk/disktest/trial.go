//go:build unix

package disktest

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// Trial is something that is done to a folder, and ended or hindered at each
// of its operations in turn.
type Trial struct {
	Prepare func(t *testing.T, root string)
	Act     func(t *testing.T, root string) error
	// Check looks at the folder as somebody finds it who comes next. done: Act
	// has returned without an error.
	Check func(t *testing.T, dir string, done bool)

	NoExchange bool // as in Strict
	DeathsOnly bool // where trials take long
}

// Run has Act die at each operation, and then fail at each, with a full disk
// and with a broken one, and checks after each time what is there if nothing
// is lost and if the power is.
func (x Trial) Run(t *testing.T) {
	faults := []error{ErrDead, syscall.ENOSPC, syscall.EIO}
	if x.DeathsOnly {
		faults = faults[:1]
	}
	for _, fault := range faults {
		for n, ended := 0, false; !ended; n++ {
			name := fmt.Sprintf("%v/%d", fault, n)
			if !t.Run(name, func(t *testing.T) { ended = x.once(t, n, fault) }) {
				return
			}
		}
	}
}

func (x Trial) once(t *testing.T, n int, fault error) (ended bool) {
	root := folder(t)
	x.Prepare(t, root)
	s := New(t, root)
	s.NoExchange = x.NoExchange
	at := "its end"
	s.Fail = func(i int, op string) error {
		if i != n {
			return nil
		}
		at = op
		return fault
	}
	err := x.Act(t, root)
	s.Stop()
	ended = s.Operations() <= n
	if ended && err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	for _, loss := range Losses {
		dir := folder(t)
		s.Survivors(t, loss, dir)
		x.Check(t, dir, err == nil)
		if t.Failed() {
			t.Fatalf("%v at %s (%v), lost is %s", fault, at, err, loss)
		}
	}
	return ended
}

// folder is an empty folder, in memory where the system has such a place:
// trials make thousands of files, and nothing here waits for a disk.
func folder(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "trial-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

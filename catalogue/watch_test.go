package catalogue

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/fsnotify/fsnotify"
)

// Whatever comes from the watcher is taken at once, though nobody looks at the
// directory meanwhile, as while it is being watched anew: the watcher may hold
// the lock that that takes.
func TestEventsAreTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, faults, changed := make(chan fsnotify.Event), make(chan error), make(chan struct{}, 1)
		done := make(chan struct{})
		go func() { drain(events, faults, changed); close(done) }()
		for range 100 {
			events <- fsnotify.Event{}
			faults <- errors.New("overflow")
		}
		<-changed
		synctest.Wait()
		select {
		case <-changed: // of what came meanwhile
		default:
		}
		close(events)
		<-done
	})
}

// What is described without a look at the directory is what is known.
func TestEntriesReadNoFolders(t *testing.T) {
	dir := t.TempDir()
	c := folders(t, dir)
	if err := c.watcher.close(); err != nil {
		t.Fatal(err)
	}
	writeAdapter(t, dir, "a", "one")
	if got := c.Entries(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := c.List(); len(got) != 1 || len(c.Entries()) != 1 {
		t.Errorf("%+v, %+v", got, c.Entries())
	}
}

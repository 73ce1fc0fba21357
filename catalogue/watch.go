package catalogue

import (
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/peft-serve/peft-serve/models/chat"
)

// watcher tells the catalogue of changes in its directory. It only makes them
// known sooner: each use of a name finds out what has happened to its folder anyway,
// by notices or a look, so nothing depends on its events arriving.
type watcher struct {
	events *fsnotify.Watcher
}

// quiet is how long a directory has to be quiet before it is looked at.
const quiet = 200 * time.Millisecond

// watch starts watching; a system without events goes without.
func (c *Catalogue) watch() {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return
	}
	c.watcher = &watcher{events}
	changed := make(chan struct{}, 1)
	c.work.Go(func() {
		defer close(changed)
		drain(events.Events, events.Errors, changed)
	})
	c.watchFolders()
	c.work.Go(func() { c.rescanWhenQuiet(changed) })
}

// drain turns events and errors, an overflow, say, into a sign on changed until
// the channels are closed. fsnotify may hold its lock while it sends, so whoever
// receives must never wait for that lock, as Watcher.Add does: this does
// nothing else.
func drain(events <-chan fsnotify.Event, errors <-chan error, changed chan<- struct{}) {
	for open := true; open; {
		select {
		case _, open = <-events:
		case _, open = <-errors:
		}
		select {
		case changed <- struct{}{}:
		default: // there is a sign already
		}
	}
}

// rescanWhenQuiet looks at the directory when changes have come to rest.
func (c *Catalogue) rescanWhenQuiet(changed <-chan struct{}) {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		select {
		case _, open := <-changed:
			if !open {
				return
			}
			timer.Reset(quiet)
		case <-timer.C:
			c.watchFolders()
			_ = c.Rescan()
		}
	}
}

// watchFolders watches the directory and its folders; those watched already
// stay so, and the system drops those that vanish.
func (c *Catalogue) watchFolders() {
	_ = c.watcher.events.Add(c.options.Dir)
	_ = c.watcher.events.Add(c.options.Aliases) // few have one
	files, _ := os.ReadDir(c.options.Dir)
	for _, f := range files {
		dir := filepath.Join(c.options.Dir, f.Name())
		if stat, err := os.Stat(dir); err == nil && stat.IsDir() && checkName(f.Name()) == nil {
			_ = c.watcher.events.Add(dir)
			_ = c.watcher.events.Add(filepath.Join(dir, chat.TemplateFolder)) // few have one
		}
	}
}

func (w *watcher) close() error {
	if w == nil {
		return nil
	}
	return w.events.Close()
}

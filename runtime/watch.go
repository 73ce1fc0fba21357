package runtime

import (
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/peft-serve/peft-serve/models/chat"
)

// watcher tells the catalogue of changes in its directory. It only makes them
// known sooner: each use of a name looks at its folder anyway, so nothing
// depends on events arriving.
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
	c.watchFolders()
	c.work.Go(func() {
		timer := time.NewTimer(quiet)
		defer timer.Stop()
		for {
			select {
			case _, ok := <-events.Events:
				if !ok {
					return
				}
				timer.Reset(quiet)
			case _, ok := <-events.Errors: // an overflow, say: look
				if !ok {
					return
				}
				timer.Reset(quiet)
			case <-timer.C:
				c.watchFolders()
				_ = c.Rescan()
			}
		}
	})
}

// watchFolders watches the directory and its folders; those watched already
// stay so, and the system drops those that vanish.
func (c *Catalogue) watchFolders() {
	_ = c.watcher.events.Add(c.options.Dir)
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

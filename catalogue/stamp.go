package catalogue

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/models/chat"
)

// stamp tells two states of a folder apart by its files' names, sizes, times of
// change and identities, those of its further chat templates included; the zero
// stamp is no folder. Links are followed.
type stamp [sha256.Size]byte

func stampOf(dir string) (stamp, error) {
	l := listing{start: time.Now()}
	return l.read(dir)
}

// listing is a folder as it was found, and all that has to be as it was for it to hold
// the same files in the same states.
type listing struct {
	stamp  stamp
	start  time.Time // when it was begun
	within bool      // the folder had changed a moment before: another change may have the same time
	all    []found

	notices *notices // nil: there are none
	told    bool     // notice is given of all that can happen to what was found
	folder  *folder
	since   uint64 // notices before are of what happened before
}

// found is what was at a path.
type found struct {
	path  string
	state fileState // zero: nothing that can be followed
}

// look keeps the state of what is at a path.
func (l *listing) look(path string) fileState {
	l.told = l.told && l.notices.look(l, path)
	state, _ := stateOf(path)
	l.all = append(l.all, found{path, state})
	return state
}

// settled is how long a folder has been as it is if its time tells it from all later
// states: file systems keep times to two seconds, or better.
const settled = 2 * time.Second

// list keeps the states of a folder, which is asked before its files are, and of what
// is in it.
func (l *listing) list(dir string) (files []found, err error) {
	state := l.look(dir)
	l.within = l.within || state.modified > l.start.Add(-settled).UnixNano()
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			continue // that another thing takes its place changes the time of dir
		}
		if state := l.look(path); state.there && !state.dir {
			files = append(files, found{e.Name(), state})
		}
	}
	return files, err
}

// read lists the folder of an adapter, or looks at its file, and returns its stamp.
func (l *listing) read(dir string) (stamp, error) {
	l.told = l.notices.begin(l, dir)
	h := sha256.New()
	add := func(files ...found) {
		for _, f := range files {
			h.Write(fmt.Appendf(nil, "%q %v\n", f.path, f.state))
		}
	}
	switch {
	case isGGUF(dir):
		add(found{filepath.Base(dir), l.look(dir)})
	case !Holds(dir):
		_, err := os.Stat(filepath.Join(dir, configName))
		return stamp{}, err
	default:
		files, err := l.list(dir)
		if err != nil {
			return stamp{}, err
		}
		add(files...)
		templates := filepath.Join(dir, chat.TemplateFolder)
		if state, _ := stateOf(templates); state.dir {
			h.Write([]byte("templates\n"))
			files, _ := l.list(templates)
			add(files...)
		}
	}
	l.stamp = stamp(h.Sum(nil))
	return l.stamp, nil
}

// stands reports whether all is as it was.
func (l *listing) stands() bool {
	if l.told && l.notices.take() && l.notices.still(l) {
		return true
	}
	if time.Since(l.start) >= listedFor {
		return false
	}
	for i := range l.all {
		if state, _ := stateOf(l.all[i].path); state != l.all[i].state {
			return false
		}
	}
	return true
}

// listings are those of the folders that requests name. A folder is not read again, nor
// its stamp made, as long as what was found in it and the folder's own time are as they
// were, and those are not looked at while there is no notice of them. Where a file system
// does not change a folder's time with what is in it, as some that stand for a store of
// objects, a file that comes new is seen within listedFor.
type listings struct {
	notices *notices
	mu      sync.Mutex
	all     map[string]*listing // by folder
}

// listedFor is how long a listing lasts that is looked at, and toldFor one of which there is
// notice: what is mounted over a folder is seen within that.
const (
	listedFor = 10 * time.Second
	toldFor   = time.Minute
)

// old reports whether the listing is to be made anew in any case.
func (l *listing) old() bool {
	if l.told {
		return time.Since(l.start) >= toldFor
	}
	return time.Since(l.start) >= listedFor
}

// kept is the stamp of a folder as it was found before, if it still stands.
func (k *listings) kept(dir string) (stamp, bool) {
	k.mu.Lock()
	l := k.all[dir]
	k.mu.Unlock()
	if l == nil || l.old() || !l.stands() {
		return stamp{}, false
	}
	return l.stamp, true
}

// quiet is kept by the notices that have been taken, without a look.
func (k *listings) quiet(dir string) (stamp, bool) {
	k.mu.Lock()
	l := k.all[dir]
	k.mu.Unlock()
	if l == nil || !l.told || l.old() || !k.notices.still(l) {
		return stamp{}, false
	}
	return l.stamp, true
}

// stampOf is stampOf by a look at what was found before, where that will do.
func (k *listings) stampOf(dir string) (stamp, error) {
	if now, ok := k.kept(dir); ok {
		return now, nil
	}
	return k.read(dir)
}

// read is stampOf, and what is found is kept: requests that look at the folder after a
// load go by what the load went by.
func (k *listings) read(dir string) (stamp, error) {
	next := &listing{start: time.Now(), notices: k.notices}
	now, err := next.read(dir)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil || next.within {
		delete(k.all, dir)
		return now, err
	}
	if k.all == nil {
		k.all = map[string]*listing{}
	}
	k.all[dir] = next
	return now, nil
}

// prune forgets the listings that would be read anew in any case.
func (k *listings) prune() {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.all, func(_ string, l *listing) bool { return l.old() })
}

package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MkdirAll makes a folder and those above it that are missing. What it makes
// outlasts a loss of power.
func MkdirAll(path string) error {
	stat, err := os.Stat(path)
	switch {
	case err == nil && stat.IsDir():
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return Mkdir(path) // which says what is wrong
	}
	above := filepath.Dir(path)
	if err := MkdirAll(above); err != nil {
		return err
	}
	if err := Mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return Sync(above)
}

// RemoveAll removes path, if it is any, and what is in it.
func RemoveAll(path string) error {
	if path == "" {
		return nil
	}
	stat, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && stat.IsDir() {
		var entries []fs.DirEntry
		if entries, err = os.ReadDir(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, e := range entries {
			if err := RemoveAll(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	if err == nil {
		err = Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else has removed it
	}
	return err
}

// SyncAll puts a file, or a folder with all that is in it, on the disk.
func SyncAll(path string) error {
	return filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return Sync(path)
	})
}

// Place gives a file or folder that is on the disk, as SyncAll puts it there,
// the name place. What had that name is then at made, or at aside on a system
// that cannot exchange two names: there a process that dies between the two
// steps leaves nothing at place, and whoever comes next has to bring back what
// is at aside. check, which may be nil, is shown where the old one is once
// nobody reaches it by its name any more, and may refuse. After an error all is
// as it was.
func Place(made, place, aside string, check func(old string) error) error {
	old, undo, err := exchangeOrMove(made, place, aside)
	if err != nil {
		return err
	}
	if check != nil && old != "" {
		err = check(old)
	}
	if err == nil {
		err = Sync(filepath.Dir(place))
	}
	if err != nil {
		return errors.Join(err, undo())
	}
	return nil
}

// Make makes a file or folder: fill writes it in a folder beside place, and it
// takes the place of what is there once all of it is on the disk.
func Make(place string, fill func(made string) error) (err error) {
	if place, err = filepath.Abs(place); err != nil {
		return err
	}
	if err := MkdirAll(filepath.Dir(place)); err != nil {
		return err
	}
	temporary, err := MkdirTemp(filepath.Dir(place), "."+filepath.Base(place)+".*")
	if err != nil {
		return err
	}
	made, aside := filepath.Join(temporary, filepath.Base(place)), filepath.Join(temporary, "old")
	err = fill(made)
	if err == nil {
		err = SyncAll(made)
	}
	if err == nil {
		err = Place(made, place, aside, nil)
	}
	if _, fault := os.Lstat(place); err != nil && fault != nil {
		if _, kept := os.Lstat(aside); kept == nil {
			return fmt.Errorf("%w; what was there is %s now", err, aside)
		}
	}
	if fault := RemoveAll(temporary); err == nil {
		return fault
	}
	return err
}

// exchangeOrMove returns where the old one is, if there was one.
func exchangeOrMove(made, place, aside string) (old string, undo func() error, err error) {
	back := func() error { return Rename(place, made) }
	if _, err := os.Lstat(place); errors.Is(err, fs.ErrNotExist) {
		return "", back, Rename(made, place)
	}
	err = Exchange(made, place)
	if !errors.Is(err, errors.ErrUnsupported) {
		return made, func() error { return Exchange(made, place) }, err
	}
	if err := Rename(place, aside); err != nil {
		return "", nil, err
	}
	restore := func() error { return Rename(aside, place) }
	if err := Rename(made, place); err != nil {
		return "", nil, errors.Join(err, restore())
	}
	return aside, func() error { return errors.Join(back(), restore()) }, nil
}

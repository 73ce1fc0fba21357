package keys

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files are the keys of one path as they were read.
type Files struct {
	Keys     []Key
	Warnings []string // what an operator should know though the keys are taken
	Sum      [sha256.Size]byte
}

// Read reads the keys of a file, or of all files of a folder as Kubernetes
// mounts it: hidden ones are passed over, links followed. Every fault is
// reported, by file and line. Sum tells two states of the files apart, and is
// there though they cannot be used.
func Read(path string) (read Files, err error) {
	paths, err := filesOf(path)
	if err != nil {
		read.Sum = sha256.Sum256([]byte(err.Error()))
		return read, err
	}
	var faults []error
	sum := sha256.New()
	for _, p := range paths {
		text, err := os.ReadFile(p)
		_, _ = fmt.Fprintf(sum, "%q %q %v\n", p, text, err) // a hash takes anything
		if err != nil {
			faults = append(faults, err)
			continue
		}
		f := parse(p, text)
		read.Keys, faults = append(read.Keys, f.keys...), append(faults, f.faults...)
		read.Warnings = append(read.Warnings, f.warnings...)
		if stat, err := os.Stat(p); err == nil && f.clear && stat.Mode().Perm()&0o004 != 0 {
			read.Warnings = append(read.Warnings, fmt.Sprintf("%s holds keys in clear and everybody on this machine may read it: chmod o-r, or put hashes there (peft-serve hash-key)", p))
		}
	}
	read.Sum = [sha256.Size]byte(sum.Sum(nil))
	if len(faults) == 0 && len(read.Keys) == 0 {
		faults = append(faults, fmt.Errorf("%s holds no key", path))
	}
	return read, errors.Join(faults...)
}

func filesOf(path string) ([]string, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !stat.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		p := filepath.Join(path, e.Name())
		if stat, err := os.Stat(p); err != nil {
			return nil, err
		} else if !stat.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no file: a folder of keys holds files, one a key", p)
		}
		paths = append(paths, p)
	}
	return paths, nil
}

//go:build !unix

package catalogue

import "os"

// fileState tells a file from another in its place, of another size or time: which
// file it is is not to be had without opening it. The zero one is no file.
type fileState struct {
	there    bool
	dir      bool
	size     int64
	modified int64 // in nanoseconds
}

// stateOf is the state of what is at a path. Links are followed.
func stateOf(path string) (fileState, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return fileState{}, err
	}
	return fileState{true, stat.IsDir(), stat.Size(), stat.ModTime().UnixNano()}, nil
}

//go:build linux || darwin

package serve

import "golang.org/x/sys/unix"

// freeDisk is what is free where a folder is.
func freeDisk(dir string) (bytes int64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true //nolint:unconvert // macOS's size has 32 bits
}

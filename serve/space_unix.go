//go:build linux || darwin

package serve

import "golang.org/x/sys/unix"

// freeDisk is what is free where a folder is.
func freeDisk(dir string) (bytes int64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, false
	}
	size := s.Bsize // of 64 bits on Linux, of 32 on macOS
	return int64(s.Bavail) * int64(size), true
}

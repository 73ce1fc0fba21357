//go:build unix

package serve

import "golang.org/x/sys/unix"

// descriptors is how many files the process may have open. Go's start has raised
// the soft limit to the hard one.
func descriptors() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	return int(min(uint64(limit.Cur), 1<<30)) //nolint:unconvert // FreeBSD's is signed
}

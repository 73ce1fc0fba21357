//go:build linux && !race

package chat

import (
	"fmt"
	"os"
	"syscall"
)

// memoryConfined tells whether confine bounds memory.
const memoryConfined = true

// confine bounds the memory of this process: what is mapped to be written,
// which leaves out what the Go runtime only reserves.
func confine() error {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // if memory runs out, this process first
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_DATA, &limit)
	limit.Max = min(limit.Max, maxMemory) // the server's own may be lower
	limit.Cur = limit.Max
	if err == nil {
		err = syscall.Setrlimit(syscall.RLIMIT_DATA, &limit)
	}
	if err != nil {
		return fmt.Errorf("the memory of a process cannot be bounded: %w", err)
	}
	return nil
}

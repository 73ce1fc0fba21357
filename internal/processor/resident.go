package processor

import (
	"bytes"
	"fmt"
	"os"
)

// Resident is Linux's count of the process's memory, in bytes; 0: unknown.
func Resident() int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int
	if _, err := fmt.Fscan(bytes.NewReader(text), &size, &resident); err != nil {
		return 0
	}
	return resident * os.Getpagesize()
}

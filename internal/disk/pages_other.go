//go:build !linux

package disk

import "os"

// largePages leaves the size of the pages to the system.
func largePages(*os.File, []byte) bool { return true }

func inLargePages([]byte) {}

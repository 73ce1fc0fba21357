//go:build !linux

package disk

import (
	"os"

	mmap "github.com/edsrzf/mmap-go"
)

// largePages leaves the size of the pages to the system.
func largePages(*os.File, []byte) bool { return true }

func inLargePages([]byte) {}

// own maps memory to read and to write.
const own = mmap.RDWR

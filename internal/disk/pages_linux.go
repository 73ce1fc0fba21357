package disk

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	mmap "github.com/edsrzf/mmap-go"
	"golang.org/x/sys/unix"
)

const (
	largePage = 2 << 20
	// worthwhile is the smallest file whose pages matter: a decode step reads
	// all of a model's weights, and the page walks of 4 KiB pages cost more
	// than half of the memory's bandwidth on a virtual machine.
	worthwhile = 8 * largePage
)

// largePages asks for m, a fresh mapping of file, to be cached in 2 MiB pages.
// Where the file is in the page cache already, in small pages, it reports
// false after dropping them: mapped anew it is read again, in large ones. What
// another process has mapped stays, and so does everything on a file system
// without large pages.
func largePages(file *os.File, m []byte) bool {
	if len(m) < worthwhile || unix.Madvise(m, unix.MADV_HUGEPAGE) != nil {
		return true
	}
	var touched byte
	for i := 1; i < 8; i++ {
		touched += m[len(m)/8/largePage*i*largePage]
	}
	large, err := mappedLarge(fmt.Sprintf("%p", m))
	_ = touched
	if large || err != nil {
		return true
	}
	return unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED) != nil
}

// own maps memory that is private: large pages of what is shared are another setting of
// the kernel's, which is off by default.
const own = mmap.COPY

// inLargePages asks for memory in 2 MiB pages.
func inLargePages(m []byte) { _ = unix.Madvise(m, unix.MADV_HUGEPAGE) } // where there are none it is as good

// mappedLarge reports whether the mapping at address holds a large page, by
// /proc/self/smaps.
func mappedLarge(address string) (bool, error) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	start := []byte(strings.TrimPrefix(address, "0x") + "-")
	ours := false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Bytes()
		if bytes.HasPrefix(line, start) {
			ours = true
			continue
		}
		if size, ok := bytes.CutPrefix(line, []byte("FilePmdMapped:")); ours && ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(string(size)), " kB"))
			return n > 0, err
		}
	}
	return false, lines.Err()
}

package memory

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"path"
	"runtime/metrics"
	"strconv"
	"strings"
)

// Limit is what a process may take.
type Limit struct {
	Bytes int64  // 0: not known
	From  string // what says so
	used  func() (bytes int64, ok bool)
}

// Used is what counts towards the limit now, of the process, or of all in its
// cgroup where that sets the limit. What the kernel can drop, such as the pages
// of mapped weights, does not.
func (l Limit) Used() int64 {
	if l.used != nil {
		if n, ok := l.used(); ok {
			return n
		}
	}
	return ofRuntime()
}

// Fixed is the limit that somebody has set, under that name.
func Fixed(root fs.FS, bytes int64, from string) Limit {
	return Limit{bytes, from, func() (int64, bool) { return ofProcess(root) }}
}

// Detect returns the lowest of the limits that hold for this process: of its
// cgroups (of either version), of the Go runtime (GOMEMLIMIT) and the machine's
// memory. root is the file system, from "/".
func Detect(root fs.FS, goLimit int64) Limit {
	lowest := Fixed(root, 0, "unknown")
	lower := func(l Limit) {
		if l.Bytes > 0 && (lowest.Bytes == 0 || l.Bytes < lowest.Bytes) {
			lowest = l
		}
	}
	lower(Fixed(root, fieldOf(root, "proc/meminfo", "MemTotal:")<<10, "this machine's memory"))
	for _, g := range groupsOf(root) {
		lower(Limit{g.limit(root), "the limit of its cgroup, /" + path.Join(g.dir, g.files.limit), func() (int64, bool) { return g.used(root) }})
	}
	if goLimit != math.MaxInt64 {
		lower(Fixed(root, goLimit, "GOMEMLIMIT"))
	}
	return lowest
}

// group is a cgroup that the process is in, or one above it.
type group struct {
	dir   string
	files *groupFiles
}

// groupFiles are what the two versions of cgroups call the same.
type groupFiles struct {
	limit, usage string
	caches       []string // of memory.stat: pages of files, which can be dropped
}

var (
	first  = &groupFiles{"memory.limit_in_bytes", "memory.usage_in_bytes", []string{"total_inactive_file", "total_active_file"}}
	second = &groupFiles{"memory.max", "memory.current", []string{"inactive_file", "active_file"}}
)

// groupsOf are the cgroups of /proc/self/cgroup and those above them. Inside of
// a container the path may be the host's: then the mounted root is the
// container's own.
func groupsOf(root fs.FS) []group {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	var all []group
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		mount, files := "sys/fs/cgroup", second
		if fields[0] != "0" || fields[1] != "" {
			mount, files = "sys/fs/cgroup/memory", first
			if !strings.Contains(","+fields[1]+",", ",memory,") {
				continue
			}
		}
		for dir := path.Join("/", fields[2]); ; dir = path.Dir(dir) {
			all = append(all, group{path.Join(mount, dir), files})
			if dir == "/" {
				break
			}
		}
	}
	return all
}

// limit is 0 where there is none: "max", no file, or the first version's number
// above all others.
func (g group) limit(root fs.FS) int64 {
	n, ok := number(root, path.Join(g.dir, g.files.limit))
	if !ok || n > math.MaxInt64/2 {
		return 0
	}
	return n
}

func (g group) used(root fs.FS) (int64, bool) {
	n, ok := number(root, path.Join(g.dir, g.files.usage))
	if !ok {
		return 0, false
	}
	for _, cache := range g.files.caches {
		n -= fieldOf(root, path.Join(g.dir, "memory.stat"), cache)
	}
	return max(n, 0), true
}

// ofProcess is the memory of this process that is no file's.
func ofProcess(root fs.FS) (int64, bool) {
	const status = "proc/self/status"
	n := fieldOf(root, status, "RssAnon:") + fieldOf(root, status, "RssShmem:")
	return n << 10, n > 0
}

// ofRuntime is what the Go runtime holds, where the system does not tell.
func ofRuntime() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

func number(root fs.FS, name string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// fieldOf is the number after a key that begins a line; 0: there is none.
func fieldOf(root fs.FS, name, key string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == key {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n
		}
	}
	return 0
}

package processor

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// tick is the unit in which Linux tells the times of processes, on every architecture
// that Go has.
const tick = 10 * time.Millisecond

// TimeOf is the time of the processors that another process of this machine has had,
// in user and in system mode, to the next 10 ms: Linux alone tells it.
func TimeOf(pid int) (time.Duration, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("there is no process %d here, or no %s to tell its time", pid, path)
	}
	if err != nil {
		return 0, err
	}
	return timeIn(text)
}

// timeIn reads the time from the text of /proc/N/stat. A name in parentheses, which may
// have any characters, stands before the fields of its state.
func timeIn(stat []byte) (time.Duration, error) {
	const user, system = 11, 12 // behind the name
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= system {
		return 0, fmt.Errorf("%q has no times of a process", stat)
	}
	ticks := 0
	for _, f := range fields[user : system+1] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			return 0, fmt.Errorf("%q has no times of a process: %w", stat, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

package training

import (
	"bytes"
	"os"
	"runtime/debug"
	"strconv"
)

// ResidentPeak is the most memory that the process has held since it began or
// ResetResidentPeak, in bytes: what the Account leaves out, such as the
// tokenizer and the binary itself, is part of it. 0: the system does not tell
// (it is read from Linux's /proc).
func ResidentPeak() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	line, _, _ := bytes.Cut(after, []byte("kB"))
	kilobytes, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil {
		return 0
	}
	return kilobytes << 10
}

// ResetResidentPeak gives free memory back to the system and has ResidentPeak
// count from what is left. Where the system cannot do that, the peak stays
// that of the whole process.
func ResetResidentPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

package processor

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
)

// Name is what the system calls the processor: Linux in /proc/cpuinfo, macOS by
// sysctl.
func Name() string {
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if key, name, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(key) == "model name" {
				return strings.TrimSpace(name)
			}
		}
	}
	if name, err := exec.Command("sysctl", "-n", "machdep.cpu.brand_string").Output(); err == nil {
		return strings.TrimSpace(string(name))
	}
	return "a processor whose name the system does not tell"
}

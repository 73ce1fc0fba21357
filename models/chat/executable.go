package chat

import (
	"os"
	"runtime"
)

// executable is this program, even where its file has been replaced since.
func executable() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

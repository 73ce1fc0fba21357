//go:build !noasm

package kernels

import "syscall"

// allowTiles asks the kernel for the tile registers' state, which it saves
// only for processes that ask (arch_prctl(2)).
func allowTiles() bool {
	const requestPermission, tileData = 0x1023, 18
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}

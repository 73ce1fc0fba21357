package serve

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// gone reports whether the peer has closed the connection. It looks at what
// the socket would read without taking it, and never blocks. Neither fasthttp
// nor fiber tells: a stream learns of it at a failed Flush, and a handler that
// computes never does.
//
// A peer that only shuts its sending side down looks the same and counts as
// gone, as in every server that reads ahead.
func gone(c net.Conn) bool {
	if inner, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = inner.NetConn()
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch err {
		case nil:
			closed = n == 0 // otherwise: a pipelined request, the peer is there
		case unix.EAGAIN, unix.EINTR:
		default:
			closed = true
		}
	})
	return err != nil || closed
}

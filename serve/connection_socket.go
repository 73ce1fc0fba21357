package serve

import (
	"net"
	"syscall"
)

// socketOf is the socket under a connection, nil if there is none.
func socketOf(conn net.Conn) syscall.RawConn {
	if inner, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = inner.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package serve

import (
	"context"
	"net"
)

// A watcher watches nobody here, where a socket cannot be asked without reading
// from it: a client that went away is noticed when a token is written to it,
// and at the end of its answer otherwise.
type watcher struct{}

func (*watcher) add(net.Conn, context.CancelCauseFunc) (remove func()) { return func() {} }

func (*watcher) close() error { return nil }

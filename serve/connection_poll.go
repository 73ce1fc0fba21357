//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package serve

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A poller does what Linux's watcher does where there is no epoll: it asks each
// socket again and again whether its peer has closed it. It looks at what is to
// be read without reading it, so a request that waits behind is no leaving.
type poller struct {
	mu      sync.Mutex
	closed  bool
	asking  bool // a goroutine does, as long as somebody is watched
	watched map[uint64]watched
	last    uint64
	work    sync.WaitGroup
}

type watched struct {
	socket  syscall.RawConn
	secured bool // by TLS
	cancel  context.CancelCauseFunc
}

// askEvery is how long a client may have been gone before it is noticed.
const askEvery = 20 * time.Millisecond

// add watches a connection until the returned function is called.
func (p *poller) add(conn net.Conn, cancel context.CancelCauseFunc) (remove func()) {
	socket := socketOf(conn)
	p.mu.Lock()
	defer p.mu.Unlock()
	if socket == nil || p.closed {
		return func() {}
	}
	if p.watched == nil {
		p.watched = map[uint64]watched{}
	}
	p.last++
	key := p.last
	_, secured := conn.(*tls.Conn)
	p.watched[key] = watched{socket, secured, cancel}
	if !p.asking {
		p.asking = true
		p.work.Go(p.ask)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watched, key)
	}
}

// ask cancels those who are gone until nobody is left to watch.
func (p *poller) ask() {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for range ticker.C {
		p.mu.Lock()
		for key, w := range p.watched {
			if w.isGone() {
				delete(p.watched, key)
				w.cancel(errClientGone)
			}
		}
		if len(p.watched) == 0 {
			p.asking = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}

// isGone reports whether the peer of a socket has closed it. Under TLS it says so
// before it does, and that is never read here: what is to be read then begins
// with a record that is an alert.
func (w watched) isGone() bool {
	var (
		n    int
		err  error
		next [recordHead]byte
	)
	if w.socket.Control(func(fd uintptr) {
		n, _, err = unix.Recvfrom(int(fd), next[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}) != nil {
		return false // closed here
	}
	if err == nil {
		return n == 0 || w.secured && n == recordHead && isAlert(next)
	}
	return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
}

// recordHead is the length of the head of a TLS record: its type, a version, and
// how many bytes follow.
const recordHead = 5

// isAlert reports whether a record is an alert: by its type in TLS 1.2, and in
// TLS 1.3, which hides that, by its length, which no request is as short as: two
// bytes, the hidden type, and the tag.
func isAlert(head [recordHead]byte) bool {
	const alert, hidden, hiddenAlert = 21, 23, 2 + 1 + 16
	return head[0] == alert || head[0] == hidden && binary.BigEndian.Uint16(head[3:]) == hiddenAlert
}

// close watches nobody from then on.
func (p *poller) close() error { //nolint:unparam // the same as Linux's watcher's
	p.mu.Lock()
	p.closed = true
	clear(p.watched)
	p.mu.Unlock()
	p.work.Wait()
	return nil
}

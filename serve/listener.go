package serve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A listener accepts connections as long as it is open, whatever the system
// lacks meanwhile, and holds as many of them as it may: who comes beyond that is
// told so.
type listener struct {
	net.Listener
	most         int64
	writeTimeout time.Duration
	tls          *tls.Config // nil: none
	log          *slog.Logger

	open    atomic.Int64
	turned  sync.WaitGroup // those who are being told that there is no room
	telling chan struct{}  // holds one for each of them
	closed  chan struct{}
	once    sync.Once

	logged map[string]time.Time // when each line stood in the log last
}

const (
	// atTheDoor is how many connections beyond the most are answered at once.
	atTheDoor = 32
	// doorTime is how long one of them may take for its request, and how long for
	// our answer.
	doorTime = time.Second
	// longestWait is how long accepting rests when it fails again and again.
	longestWait = time.Second
	// logAgain is how often one trouble of the listener stands in the log.
	logAgain = time.Minute
)

// listen puts a listener of our own around l.
func (s *Server) listen(l net.Listener) *listener {
	own := &listener{
		Listener: l, most: int64(s.config.MaxConnections), writeTimeout: s.config.WriteTimeout, log: s.config.Log,
		telling: make(chan struct{}, atTheDoor), closed: make(chan struct{}), logged: map[string]time.Time{},
	}
	if s.certificates != nil {
		own.tls = s.certificates.config()
	}
	return own
}

// Accept returns the next connection there is room for. One goroutine at a time
// may call it.
func (l *listener) Accept() (net.Conn, error) {
	for wait := time.Duration(0); ; {
		conn, err := l.Listener.Accept()
		switch {
		case err != nil && !passes(err):
			return nil, err
		case err != nil:
			l.warn("no connection can be accepted at the moment, which is tried again", "error", err)
			wait = min(max(2*wait, 5*time.Millisecond), longestWait)
			select {
			case <-time.After(wait):
			case <-l.closed:
			}
		case l.open.Add(1) > l.most:
			l.open.Add(-1)
			l.warn("a connection was refused: there are as many as there may be", "max_connections", l.most, "address", conn.RemoteAddr())
			l.turnAway(conn)
			wait = 0
		default:
			return l.secured(&connection{Conn: conn, writeTimeout: l.writeTimeout, release: func() { l.open.Add(-1) }}), nil
		}
	}
}

// passes reports whether accepting may go on after an error: it is of one
// connection, or of something that the system is short of now, such as
// descriptors (EMFILE, ENFILE) and memory.
func passes(err error) bool {
	var number syscall.Errno
	if !errors.As(err, &number) {
		return false
	}
	switch number {
	case syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EFAULT, syscall.EOPNOTSUPP: // of the listener itself
		return false
	}
	return true
}

// secured speaks TLS on a connection, if the listener does.
func (l *listener) secured(conn net.Conn) net.Conn {
	if l.tls == nil {
		return conn
	}
	return tls.Server(conn, l.tls)
}

// warn writes a line to the log, each at most once in a while.
func (l *listener) warn(line string, args ...any) {
	if now := time.Now(); now.Sub(l.logged[line]) > logAgain {
		l.logged[line] = now
		l.log.Warn(line, args...)
	}
}

// turnAway answers one for whom there is no room, and closes. A few get the time
// to send their request first, as HTTP has it; if more come at once, they get
// the answer with what they have sent unread, and may miss it.
func (l *listener) turnAway(conn net.Conn) {
	select {
	case l.telling <- struct{}{}:
		l.turned.Go(func() {
			defer func() {
				_ = conn.Close()
				<-l.telling
			}()
			soon := func() time.Time { return time.Now().Add(doorTime) }
			secured := l.secured(conn)
			if conn.SetDeadline(soon()) != nil {
				return
			}
			if _, err := secured.Read(make([]byte, 4<<10)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			if conn.SetDeadline(soon()) != nil {
				return
			}
			if _, err := secured.Write(noRoom()); err != nil {
				return
			}
			if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
				_, _ = io.CopyN(io.Discard, conn, 64<<10)
			}
		})
	default:
		if l.tls == nil && conn.SetWriteDeadline(time.Now().Add(doorTime)) == nil {
			_, _ = conn.Write(noRoom()) // into the socket's buffer, which is empty
		}
		_ = conn.Close()
	}
}

// noRoom is the answer to a connection beyond the most.
var noRoom = sync.OnceValue(func() []byte {
	f := &failure{
		status: http.StatusServiceUnavailable, kind: serverFault, code: "too_many_connections", retry: 1,
		message: "the server has as many connections as it may have: try again later, or start it with a larger --max-connections",
	}
	body, err := encode(openAI.errorBody(f))
	if err != nil {
		panic(err) // of an object that we have written
	}
	return []byte("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\nRetry-After: " + strconv.Itoa(f.retry) +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + string(body))
})

// forAllElse is how many files are left for what is no connection: the base,
// adapters, uploads, logs, and those who are turned away.
const forAllElse = atTheDoor + 32

// CheckConnections reports whether the process may have so many connections.
func CheckConnections(n int) error {
	if most := max(descriptors()-forAllElse, 1); n > most {
		return fmt.Errorf("%d: the process may have %d files open (ulimit -n), which leaves room for %d connections", n, descriptors(), most)
	}
	return nil
}

// Close ends Accept. It may be called again.
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
	})
	return err
}

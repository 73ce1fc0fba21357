package serve

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// A connection is one that the listener has counted. Each write to it has to be
// taken within the write timeout.
type connection struct {
	net.Conn
	writeTimeout time.Duration
	release      func() // its place

	waits  atomic.Int64 // when the write that goes on began, in nanoseconds since start; 0: none does
	waited atomic.Int64 // how long those before took, without the short ones

	unread    atomic.Bool // the client may still be sending what nobody will read
	abandoned atomic.Bool
	once      sync.Once
}

// NetConn is the connection below.
func (c *connection) NetConn() net.Conn { return c.Conn }

func (c *connection) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
		return 0, err
	}
	if c.abandoned.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	began := sinceStart()
	c.waits.Store(int64(began))
	n, err := c.Conn.Write(p)
	c.waits.Store(0)
	if took := sinceStart() - began; took > shortWait {
		c.waited.Add(int64(took))
	}
	return n, err
}

// shortWait is how long a write may take without anybody waiting for the client.
const shortWait = time.Millisecond

// waitedFor is how long writes have waited for the client in all.
func (c *connection) waitedFor() time.Duration {
	all := time.Duration(c.waited.Load())
	if began := c.waits.Load(); began != 0 {
		all += sinceStart() - time.Duration(began)
	}
	return all
}

var start = time.Now()

// sinceStart is the time that the process has run, by the clock that never goes
// back.
func sinceStart() time.Duration { return time.Since(start) }

// abandon makes the write that waits fail, and every later one.
func (c *connection) abandon() {
	c.abandoned.Store(true)
	_ = c.SetWriteDeadline(time.Unix(1, 0))
}

// Close closes the connection once, and gives its place to another.
func (c *connection) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		if c.unread.Load() {
			c.linger()
		}
		err = c.Conn.Close()
		c.release()
	})
	return err
}

// What a client may go on sending after its request was refused, and for how
// long, until it has seen the answer.
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 256 << 20
)

// linger says that nothing more will come, and reads what the client sends until
// it closes too: to close on data that nobody has read would destroy the answer
// on its way.
func (c *connection) linger() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
}

// connectionOf is the connection of ours below conn, nil if there is none.
func connectionOf(conn net.Conn) *connection {
	for conn != nil {
		if own, ok := conn.(*connection); ok {
			return own
		}
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = outer.NetConn()
	}
	return nil
}

// leaveUnread ends the connection after this answer, though the client may still
// be sending the request's body.
func leaveUnread(c *fasthttp.RequestCtx) {
	c.SetConnectionClose()
	if own := connectionOf(c.Conn()); own != nil {
		own.unread.Store(true)
	}
}

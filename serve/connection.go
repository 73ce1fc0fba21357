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
	return c.Conn.Write(p)
}

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

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package serve

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// connected returns both ends of a connection.
func connected(t *testing.T) (here, there net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	there, err = net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	here, err = listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

// The poller of other systems works here too: it notices who leaves, and only
// them.
func TestPoller(t *testing.T) {
	var p poller
	watch := func(conn net.Conn) (context.Context, func()) {
		ctx, cancel := context.WithCancelCause(t.Context())
		return ctx, p.add(conn, cancel)
	}
	here, there := connected(t)
	stays, stayer := connected(t)
	removed, leaver := connected(t)
	gone, _ := watch(here)
	still, _ := watch(stays)
	unwatched, remove := watch(removed)
	remove()
	_, err := stayer.Write([]byte("the next request"))
	require.NoError(t, err)
	require.NoError(t, there.Close())
	require.NoError(t, leaver.Close())
	select {
	case <-gone.Done():
		require.ErrorIs(t, context.Cause(gone), errClientGone)
	case <-time.After(5 * time.Second):
		t.Fatal("not noticed")
	}
	time.Sleep(3 * askEvery)
	require.NoError(t, still.Err())
	require.NoError(t, unwatched.Err())
	require.NoError(t, p.close())
	require.NoError(t, p.close())
	p.add(stays, nil)() // watches nobody any more
}

// Under TLS who leaves says so, and a request that waits is no leaving.
func TestPollerUnderTLS(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir+"/crt", dir+"/key", "first")
	pair, err := tls.LoadX509KeyPair(dir+"/crt", dir+"/key")
	require.NoError(t, err)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var p poller
		watch := func() (client *tls.Conn, ctx context.Context) {
			here, there := connected(t)
			server := tls.Server(here, &tls.Config{Certificates: []tls.Certificate{pair}})
			client = tls.Client(there, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
			shaken := make(chan error, 1)
			go func() { shaken <- server.Handshake() }()
			require.NoError(t, client.Handshake())
			require.NoError(t, <-shaken)
			ctx, cancel := context.WithCancelCause(t.Context())
			p.add(server, cancel)
			return client, ctx
		}
		stayer, stays := watch()
		leaver, leaves := watch()
		_, err = stayer.Write([]byte("the next request"))
		require.NoError(t, err)
		require.NoError(t, leaver.CloseWrite()) // it says so, and stays connected
		select {
		case <-leaves.Done():
			require.ErrorIs(t, context.Cause(leaves), errClientGone)
		case <-time.After(5 * time.Second):
			t.Fatal("not noticed")
		}
		time.Sleep(3 * askEvery)
		require.NoError(t, stays.Err())
		require.NoError(t, p.close())
	}
}

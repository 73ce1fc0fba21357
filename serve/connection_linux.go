package serve

import (
	"cmp"
	"context"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A watcher cancels the work of clients that have gone away, as soon as the
// kernel knows. One goroutine waits for all of them at an epoll instance,
// which itself waits in Go's poller, so that it costs no thread.
//
// A peer that only shuts its sending side down looks the same and counts as
// gone, as in every server that reads ahead.
type watcher struct {
	mu      sync.Mutex
	file    *os.File // the epoll instance; nil: nobody was watched yet
	closed  bool
	watched map[uint64]context.CancelCauseFunc
	last    uint64 // keys are never used again, file descriptors are
	done    chan struct{}
}

// add watches a connection until the returned function is called. A connection
// that is no socket is not watched: its client's leaving shows when a token is
// written to it.
func (w *watcher) add(conn net.Conn, cancel context.CancelCauseFunc) (remove func()) {
	socket := socketOf(conn)
	w.mu.Lock()
	defer w.mu.Unlock()
	if socket == nil || w.closed || w.open() != nil {
		return func() {}
	}
	w.last++
	key := w.last
	w.watched[key] = cancel
	event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(key), Pad: int32(key >> 32)}
	if err := w.control(socket, unix.EPOLL_CTL_ADD, &event); err != nil {
		delete(w.watched, key)
		return func() {}
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watched, key)
		_ = w.control(socket, unix.EPOLL_CTL_DEL, nil) // a closed one is gone from there
	}
}

// control changes what the epoll instance watches; w.mu is held.
func (w *watcher) control(socket syscall.RawConn, op int, event *unix.EpollEvent) error {
	epoll, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var onSocket, done error
	onEpoll := epoll.Control(func(instance uintptr) {
		onSocket = socket.Control(func(fd uintptr) { done = unix.EpollCtl(int(instance), op, int(fd), event) })
	})
	return cmp.Or(onEpoll, onSocket, done)
}

// open makes the epoll instance and starts the goroutine; w.mu is held.
func (w *watcher) open() error {
	if w.file != nil {
		return nil
	}
	instance, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(instance, true); err != nil { // for Go's poller to take it
		_ = unix.Close(instance)
		return err
	}
	w.file = os.NewFile(uintptr(instance), "epoll")
	w.watched, w.done = map[uint64]context.CancelCauseFunc{}, make(chan struct{})
	go w.wait(w.file)
	return nil
}

// wait cancels whom the kernel names until the epoll instance is closed.
func (w *watcher) wait(file *os.File) {
	defer close(w.done)
	epoll, err := file.SyscallConn()
	if err != nil {
		return
	}
	events := make([]unix.EpollEvent, 64)
	for {
		var n int
		err := epoll.Read(func(instance uintptr) bool {
			n, _ = unix.EpollWait(int(instance), events, 0)
			return n > 0 // else wait until there are some
		})
		if err != nil {
			return
		}
		w.mu.Lock()
		for _, e := range events[:n] {
			key := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			if cancel := w.watched[key]; cancel != nil {
				delete(w.watched, key)
				cancel(errClientGone)
			}
		}
		w.mu.Unlock()
	}
}

// close ends the goroutine. Nobody is watched from then on.
func (w *watcher) close() error {
	w.mu.Lock()
	file, again := w.file, w.closed
	w.closed = true
	w.mu.Unlock()
	if file == nil || again {
		return nil
	}
	err := file.Close()
	<-w.done
	return err
}

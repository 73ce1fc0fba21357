//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package serve

// A watcher asks every socket where there is no epoll.
type watcher = poller

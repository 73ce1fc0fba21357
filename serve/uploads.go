package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/memory"
)

// uploads lets so many adapters be uploaded at once, and bounds what they take of
// memory and of the disk.
type uploads struct {
	places chan struct{}
	queue  chan struct{}   // one for each that waits for a place
	wait   time.Duration   // for a place
	stall  time.Duration   // without a byte, or with too few
	memory *memory.Account // nil: unbounded

	mu     sync.Mutex
	staged int64 // bytes that all of them have on the disk
}

// What an upload takes of memory while it is unpacked: the usual window and the
// decoder's buffers.
const UploadBytes = usualWindow + 4<<20

const (
	waitingUploads = 64        // that wait for a place; further ones get a 429
	slowestUpload  = 16 << 10  // bytes a second, on average
	spareDisk      = 128 << 20 // that an upload leaves free
)

func newUploads(c Config, account *memory.Account) *uploads {
	return &uploads{
		places: make(chan struct{}, c.Uploads), queue: make(chan struct{}, waitingUploads),
		wait: 30 * time.Second, stall: 30 * time.Second, memory: account,
	}
}

// enter waits for a place, for as long as the client does and not for ever.
func (u *uploads) enter(ctx context.Context) (leave func(), err error) {
	leave = sync.OnceFunc(func() { <-u.places })
	select {
	case u.places <- struct{}{}:
		return leave, nil
	default:
	}
	select {
	case u.queue <- struct{}{}:
		defer func() { <-u.queue }()
	default:
		return nil, u.crowded()
	}
	timer := time.NewTimer(u.wait)
	defer timer.Stop()
	select {
	case u.places <- struct{}{}:
		return leave, nil
	case <-timer.C:
		return nil, u.crowded()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (u *uploads) crowded() *failure {
	return &failure{
		status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "uploads_full", retry: 5,
		message: fmt.Sprintf("%d adapters are being uploaded, and others wait: try again later, or start the server with more --uploads", cap(u.places)),
	}
}

// window sets memory aside for a window of zstd beyond the usual one.
func (u *uploads) window(ctx context.Context) func(bytes int64) (release func(), err error) {
	return func(bytes int64) (func(), error) {
		ctx, cancel := context.WithTimeout(ctx, u.wait)
		defer cancel()
		return u.memory.Take(ctx, memory.Unpacking, bytes)
	}
}

// stage is what an upload has on the disk.
type stage struct {
	uploads *uploads
	dir     string
	most    int64 // that all uploads may have on the disk, each with a step to spare
	taken   int64
}

// room refuses bytes for which there is no disk space: all uploads together have
// no more there than one may have, and leave some free.
func (s *stage) room(bytes int64) error {
	if free, ok := freeDisk(s.dir); ok && free-bytes < spareDisk {
		return noDisk(fmt.Sprintf("the disk of the adapters' folder has %d bytes free, and %d are left free: remove adapters from there", free, spareDisk))
	}
	u := s.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.staged+bytes > s.most+int64(cap(u.places))*roomStep {
		return noDisk("the uploads that are under way together unpack to more than --upload-limit: try again later")
	}
	u.staged += bytes
	s.taken += bytes
	return nil
}

// end gives back what the upload had of the disk, once its files have gone.
func (s *stage) end() {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	s.uploads.staged -= s.taken
	s.taken = 0
}

func noDisk(message string) *failure {
	return &failure{status: http.StatusInsufficientStorage, kind: serverFault, code: "disk_full", retry: 10, message: message}
}

// noMemory is the answer to an upload for which there is no memory; any other
// error stays.
func noMemory(err error) error {
	var pressed *memory.PressedError
	if !errors.Is(err, memory.ErrFull) && !errors.As(err, &pressed) {
		return err
	}
	f := failureOf(err)
	f.status, f.kind = http.StatusInsufficientStorage, serverFault
	return f
}

// slowUpload fails where nothing has come for a while, or too little: whoever
// sends it holds a place that others wait for.
type slowUpload struct {
	r     io.Reader
	conn  net.Conn
	stall time.Duration
	until time.Time // when all of it has to be there

	waited time.Duration
	got    int64
}

func (s *slowUpload) Read(p []byte) (int, error) {
	began := time.Now()
	deadline := began.Add(s.stall)
	if s.until.Before(deadline) {
		deadline = s.until
	}
	_ = s.conn.SetReadDeadline(deadline) // of a closed one the read tells
	n, err := s.r.Read(p)
	s.waited += time.Since(began)
	s.got += int64(n)
	slow := s.waited > s.stall && s.got < int64(slowestUpload*s.waited.Seconds())
	if !slow && !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	_ = s.conn.SetReadDeadline(began) // nothing more of it is waited for
	if !time.Now().Before(s.until) {
		return n, tooSlow()
	}
	return n, &failure{
		status: http.StatusRequestTimeout, kind: invalidRequest, code: "upload_stalled",
		message: fmt.Sprintf("the upload has stalled: nothing came for %s, or less than %d bytes a second: send it again", s.stall, slowestUpload),
	}
}

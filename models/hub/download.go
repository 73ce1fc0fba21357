package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// errAdvanced marks the failure of a transfer that brought enough bytes for
// the attempts to be counted afresh.
var errAdvanced = errors.New("after progress")

// enoughBytes is how many that takes.
const enoughBytes = 1 << 20

// transfer is the fetching of one blob, under its lock.
type transfer struct {
	hub     *Hub
	address string
	content
	path    string // of the partial file
	report  func(done int64)
	corrupt int // times that it came out wrong
}

// fetchBlob brings a file's content into the cache unless it is there.
func (h *Hub) fetchBlob(ctx context.Context, r repository, address string, c content, report func(done int64)) error {
	blob := r.blob(c.etag)
	if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
		return err
	}
	release, err := disk.WaitLock(ctx, r.lock(c.etag)) // which the Python libraries take too
	if err != nil {
		return err
	}
	defer release()
	if _, err := os.Stat(blob); err == nil {
		return nil // another process has fetched it
	}
	t := &transfer{hub: h, address: address, content: c, path: blob + ".incomplete", report: report}
	if err := h.retry(ctx, func() error { return t.attempt(ctx) }); err != nil {
		return err
	}
	if err := os.Rename(t.path, blob); err != nil {
		return err
	}
	return disk.Sync(filepath.Dir(blob))
}

// attempt continues the partial file to its end and verifies it.
func (t *transfer) attempt(ctx context.Context) (err error) {
	file, err := os.OpenFile(t.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closing(file)) }()
	digest := newDigest(t.content)
	start, err := io.Copy(digest, file)
	if err != nil {
		return err
	}
	if t.size >= 0 && start > t.size {
		return errors.Join(t.restart(file), t.wrong("a partial file of %d bytes, beyond the %d announced", start, t.size))
	}
	if start != t.size {
		if start, digest, err = t.receive(ctx, file, start, digest); err != nil {
			return err
		}
	}
	switch got := sum(digest); {
	case t.size >= 0 && start != t.size:
		return errors.Join(t.restart(file), t.wrong("%d bytes, want %d", start, t.size))
	case got != t.etag:
		return errors.Join(t.restart(file), t.wrong("digest %s, want %s", got, t.etag))
	}
	return file.Sync()
}

// receive asks for what follows the first start bytes, whose digest is given,
// and appends it; it returns the file's length and its digest.
func (t *transfer) receive(ctx context.Context, file *os.File, start int64, digest hash.Hash) (int64, hash.Hash, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	headers := map[string]string{}
	if start > 0 {
		headers["Range"] = fmt.Sprintf("bytes=%d-", start)
	}
	response, err := t.hub.do(ctx, http.MethodGet, t.address, headers)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	switch {
	case response.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return 0, nil, errors.Join(t.restart(file), t.wrong("the server has no byte %d", start))
	case response.StatusCode == http.StatusPartialContent && start > 0:
		if from := response.Header.Get("Content-Range"); !strings.HasPrefix(from, "bytes "+strconv.FormatInt(start, 10)+"-") {
			return 0, nil, errors.Join(t.restart(file), t.wrong("range %q, want one from %d", from, start))
		}
	case response.StatusCode == http.StatusOK:
		if start > 0 { // it sends the whole file
			start, digest = 0, newDigest(t.content)
			if err := t.restart(file); err != nil {
				return 0, nil, err
			}
		}
	default:
		return 0, nil, cmp.Or(t.hub.status(response), fmt.Errorf("%w: HTTP %d", ErrReply, response.StatusCode))
	}
	idle := time.AfterFunc(t.hub.config.Idle, func() { cancel(fmt.Errorf("no byte for %s", t.hub.config.Idle)) })
	defer idle.Stop()
	t.report(start)
	body := &arriving{r: response.Body, done: start, each: func(done int64) {
		idle.Reset(t.hub.config.Idle)
		t.report(done)
	}}
	var limited io.Reader = body
	if t.size >= 0 {
		limited = io.LimitReader(body, t.size-start+1) // one more than there may be
	}
	n, err := io.Copy(io.MultiWriter(file, digest), limited)
	switch {
	case err != nil && body.err == nil: // the disk failed, not the network
		return 0, nil, err
	case err != nil:
		if context.Cause(ctx) != nil {
			err = context.Cause(ctx)
		}
		if n >= enoughBytes {
			err = fmt.Errorf("%w %w", err, errAdvanced)
		}
		return 0, nil, passing(fmt.Errorf("cut at byte %d: %w", start+n, err))
	case t.size >= 0 && start+n < t.size: // no length was sent, or a wrong one
		return 0, nil, passing(fmt.Errorf("cut at byte %d of %d", start+n, t.size))
	}
	return start + n, digest, nil
}

// restart empties the partial file, and with it what was wrong.
func (t *transfer) restart(file *os.File) error {
	_, err := file.Seek(0, io.SeekStart)
	return errors.Join(err, file.Truncate(0))
}

// wrong is the error of content that is not what was announced; it is fetched
// once more, but no oftener.
func (t *transfer) wrong(format string, args ...any) error {
	err := fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
	if t.corrupt++; t.corrupt > 1 {
		return err
	}
	return &passingError{err, 0}
}

func closing(file *os.File) error {
	if err := file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}

// arriving calls each with the bytes that have come and keeps a read's error.
type arriving struct {
	r    io.Reader
	done int64
	each func(done int64)
	err  error
}

func (a *arriving) Read(b []byte) (int, error) {
	n, err := a.r.Read(b)
	a.done += int64(n)
	if n > 0 {
		a.each(a.done)
	}
	if err != nil && err != io.EOF {
		a.err = err
	}
	return n, err
}

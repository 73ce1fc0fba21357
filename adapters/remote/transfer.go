package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// file writes an artefact's file.
func (s *Store) file(ctx context.Context, a *Artefact, f File, path, uri string) error {
	if err := disk.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	out, err := disk.Create(path)
	if err != nil {
		return err
	}
	report := s.reporter(uri, f)
	err = s.retry(ctx, func(ctx context.Context) error {
		if _, err := out.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := out.Truncate(0); err != nil {
			return err
		}
		return s.receive(ctx, a, f, out, report)
	})
	return errors.Join(err, out.Close())
}

// receive reads a file's content as it is announced, or fails.
func (s *Store) receive(ctx context.Context, a *Artefact, f File, out io.Writer, report func(done int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(s.config.Idle, func() { cancel(fmt.Errorf("%w: no byte for %s", ErrUnreachable, s.config.Idle)) })
	defer idle.Stop()
	body, err := a.Read(ctx, f)
	if err != nil {
		return caused(ctx, err)
	}
	defer func() { _ = body.Close() }()
	report(0)
	arriving := &arriving{r: body, each: func(done int64) {
		idle.Reset(s.config.Idle)
		report(min(done, f.Size))
	}}
	digest := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, digest), io.LimitReader(arriving, f.Size+1)) // one more than there may be
	switch sum := hex.EncodeToString(digest.Sum(nil)); {
	case err != nil && arriving.err == nil: // the disk failed, not the network
		return err
	case err != nil:
		return caused(ctx, fmt.Errorf("%w: cut at byte %d of %d: %w", ErrUnreachable, n, f.Size, bare(err)))
	case n < f.Size:
		return fmt.Errorf("%w: cut at byte %d of %d", ErrUnreachable, n, f.Size)
	case n > f.Size:
		return fmt.Errorf("%w: more than %d bytes", ErrCorrupt, f.Size)
	case f.SHA256 != "" && sum != f.SHA256:
		return fmt.Errorf("%w: SHA-256 %s, want %s", ErrCorrupt, sum, f.SHA256)
	}
	return nil
}

// caused is err, or why ctx has ended if it has.
func caused(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// retry calls attempt until it succeeds or fails for good.
func (s *Store) retry(ctx context.Context, attempt func(context.Context) error) error {
	wait := s.config.Backoff
	for tries := 1; ; tries++ {
		err := attempt(ctx)
		if ctx.Err() != nil {
			return caused(ctx, err)
		}
		if !errors.Is(err, ErrUnreachable) || tries == s.config.Attempts {
			return err
		}
		s.waiting(err, wait)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		wait *= 2
	}
}

func (s *Store) waiting(err error, wait time.Duration) {
	if s.config.Waiting != nil {
		s.reporting.Lock()
		defer s.reporting.Unlock()
		s.config.Waiting(err, wait)
	}
}

// reporter returns what passes a file's progress on, ten times a second.
func (s *Store) reporter(uri string, f File) func(done int64) {
	if s.config.Progress == nil {
		return func(int64) {}
	}
	var last time.Time
	return func(done int64) {
		if now := time.Now(); done == f.Size || now.Sub(last) >= 100*time.Millisecond {
			last = now
			s.reporting.Lock()
			defer s.reporting.Unlock()
			s.config.Progress(Progress{URI: uri, File: f.Name, Done: done, Size: f.Size})
		}
	}
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

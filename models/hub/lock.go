package hub

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
)

// acquire waits for the lock file at path, which the Python libraries take
// too, and returns what releases it. The file stays: removing it would let two
// processes hold locks of the same name.
func acquire(ctx context.Context, path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		held, err := disk.LockFile(file)
		switch {
		case err != nil:
			_ = file.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		case held:
			return func() { _ = file.Close() }, nil // which releases it
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

package keys

import (
	"context"
	"time"
)

// Watch reads path every so often until ctx ends, and hands over what it reads
// once that is something else than it was, seen being the first, and the same
// twice in turn, lest a file be taken that is being written. So a folder that
// Kubernetes swaps is noticed, on any file system.
func Watch(ctx context.Context, path string, every time.Duration, seen Files, changed func(Files, error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := seen
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := Read(path)
		if now.Sum == last.Sum && now.Sum != seen.Sum {
			seen = now
			changed(now, err)
		}
		last = now
	}
}

//go:build unix

package batch

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/internal/disk/disktest"
)

// A batch that dies at any of its writes, or whose disk is full or fails there,
// is gone on with from whatever is lost with the power, and ends with an answer
// to each row.
func TestBatchOutlastsPower(t *testing.T) {
	const count = 5
	for name, o := range map[string]Options{"first": {}, "over another": {Replace: true}} {
		t.Run(name, func(t *testing.T) {
			input := filepath.Join(t.TempDir(), "in.jsonl")
			write(t, input, rows(count))
			at := func(root string) Options {
				all := options(root)
				all.Input, all.Replace = input, o.Replace
				return all
			}
			answer := func(o Options) error {
				s, err := Open(o)
				if err != nil {
					return err
				}
				return errors.Join(s.Run(context.Background(), Work{Ask: (&answered{}).ask, AtOnce: 1}), s.Close())
			}
			disktest.Trial{
				Prepare: func(t *testing.T, root string) {
					if o.Replace {
						other := options(root)
						other.Input = filepath.Join(t.TempDir(), "in.jsonl")
						write(t, other.Input, rows(count+1))
						require.NoError(t, answer(other))
					}
				},
				Act: func(_ *testing.T, root string) error { return answer(at(root)) },
				Check: func(t *testing.T, dir string, done bool) {
					o := at(dir)
					if done {
						require.Equal(t, ids(rows(count)), ids(read(t, o.Output)))
					}
					require.NoError(t, answer(o))
					require.Equal(t, ids(rows(count)), ids(read(t, o.Output)))
				},
			}.Run(t)
		})
	}
}

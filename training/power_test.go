//go:build unix

package training

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/peft-serve/peft-serve/internal/disk/disktest"
)

// TestRunOutlastsPower: a run that dies at any of its writes, or whose disk is
// full or fails there, is gone on from whatever is lost with the power, and
// ends with the bits and the metrics of one that nothing has happened to.
func TestRunOutlastsPower(t *testing.T) {
	for _, method := range []string{"lora", "full"} {
		t.Run(method, func(t *testing.T) {
			c := tinyConfig(t, method)
			c.MaxSteps, c.SaveEvery, c.Split, c.EvalEvery, c.Best, c.KeepCheckpoint, c.Samples, c.Threads = 2, 1, 0.3, 2, true, true, 0, 1
			if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
				t.Fatal(err)
			}
			want := outcome(t, c.Output)
			disktest.Trial{
				DeathsOnly: method != "lora",
				Prepare:    func(*testing.T, string) {},
				Act: func(t *testing.T, root string) (err error) {
					c := c
					c.Output = filepath.Join(root, "a", "out")
					base := openTiny(t, "llama-gqa")
					synctest.Test(t, func(t *testing.T) { // where nobody waits for room
						var r *Run
						if r, err = NewRun(c, base, &quiet{}); err != nil {
							return
						}
						_, err = r.Do(context.Background())
						err = errors.Join(err, r.Close())
					})
					return err
				},
				Check: func(t *testing.T, dir string, done bool) {
					c := c
					c.Output, c.Resume.On = filepath.Join(dir, "a", "out"), true
					_, err := train(t, c, "llama-gqa", &quiet{})
					if done && !errors.Is(err, ErrFinished) || !done && err != nil && !errors.Is(err, ErrFinished) {
						t.Errorf("resumed: %v, done: %v", err, done)
					}
					if got := outcome(t, c.Output); got != want {
						t.Errorf("there is %+v, want %+v", got, want)
					}
				},
			}.Run(t)
		})
	}
}

// ended is what a run has left.
type ended struct {
	tensors [32]byte // the sum of its bits
	metrics int      // lines
	hidden  string   // what has no business there
}

func outcome(t *testing.T, dir string) (o ended) {
	t.Helper()
	o.tensors = sha256.Sum256(saved(t, dir))
	lines, err := readJournal(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Error(err)
	}
	o.metrics = len(lines)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") {
			o.hidden += f.Name() + " "
		}
	}
	return o
}

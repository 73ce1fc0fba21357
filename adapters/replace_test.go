package adapters_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestSaveWhileOpening saves two adapters in turn under one name while it is
// opened again and again: what is opened is one of the two, whole.
func TestSaveWhileOpening(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa")
	one := adaptertest.Load(t, m, modeltest.Goldens(t, "llama-gqa", "adapters", "lora"))
	two := adaptertest.Load(t, m, modeltest.Goldens(t, "llama-gqa", "adapters", "rslora"))
	dir := t.TempDir()
	if err := one.Save(dir); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan error)
	go func() {
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			err = []*adapters.Adapter{two, one}[i%2].Save(dir)
		}
		stop.Store(true)
		done <- err
	}()
	seen := map[string]int{}
	for !stop.Load() {
		f, err := adapters.Open(dir)
		switch {
		case err == nil && f.Digest() != one.Digest() && f.Digest() != two.Digest():
			t.Fatalf("opened %s, neither %s nor %s", f.Digest(), one.Digest(), two.Digest())
		case err == nil:
			seen[f.Digest()]++
		case !errors.Is(err, adapters.ErrConfig):
			t.Fatal(err)
		default:
			seen["changing"]++
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Log(fmt.Sprint(seen))
}

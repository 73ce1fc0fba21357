package runtime

import (
	"context"
	"errors"
	"testing"
)

// TestBaseIsBroken: the error names a tensor, which is looked for once, and only
// for whoever reads it.
func TestBaseIsBroken(t *testing.T) {
	looked := 0
	e, m, _ := live(t, &fakeLoader{}, Options{Log: silent, Largest: func() (string, float32) {
		looked++
		return "model.norm.weight", 3e38
	}})
	m.broken.Store(true)
	for range 2 {
		stream, err := e.Submit(context.Background(), &Request{Prompt: []int32{1}, MaxTokens: 1})
		if err != nil {
			t.Fatal(err)
		}
		err = collect(context.Background(), stream).err
		if !errors.Is(err, ErrNotFinite) || looked > 1 {
			t.Fatalf("%v, looked %d times", err, looked)
		}
		if want := "the model computed a value that is not finite (the base's largest weight is 3e+38, in model.norm.weight)"; err.Error() != want {
			t.Errorf("%q", err)
		}
	}
}

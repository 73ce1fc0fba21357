package builtin

import (
	"math"
	"slices"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/kernels"
)

// TestRounded: what rounding its factors changes of the logits of a trained adapter
// is small beside what the adapter does. docs/performance.md has the figures of -v.
func TestRounded(t *testing.T) {
	m, text := open(t)
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, own := range Adapters() {
		f, err := Open(own.URI)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := adapters.Load(m, f)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := text.Encode(own.Example, true)
		if err != nil {
			t.Fatal(err)
		}
		logits := func(a *adapters.Adapter) kernels.Matrix {
			return adaptertest.Logits(m, pool, adaptertest.Row{Tokens: tokens, Adapter: a})[0]
		}
		base, want := logits(nil), logits(stored)
		for _, in := range []adapters.Precision{adapters.BF16, adapters.F16, adapters.Q8_0} {
			bound := map[adapters.Precision]float64{adapters.BF16: 0.01, adapters.F16: 0.001, adapters.Q8_0: 0.02}[in]
			a, err := adapters.LoadIn(m, f, in)
			if err != nil {
				t.Fatal(err)
			}
			if a.Precision() == adapters.AsStored {
				continue // a family without factors
			}
			got := logits(a)
			var most, squares, effect float64
			alike := 0
			for i := range want.Rows {
				for j, v := range want.Row(i) {
					d := float64(got.Row(i)[j] - v)
					most, squares = max(most, math.Abs(d)), squares+d*d
					e := float64(v - base.Row(i)[j])
					effect += e * e
				}
				if likeliest(got.Row(i)) == likeliest(want.Row(i)) {
					alike++
				}
			}
			ratio := math.Sqrt(squares / effect)
			t.Logf("%s (%s) in %s: logits differ by %.2g at most, %.3f %% of what the adapter changes; %d of %d likeliest tokens alike; %d bytes of %d",
				own.Name, a.Method(), in, most, 100*ratio, alike, want.Rows, a.Bytes(), stored.Bytes())
			if ratio > bound {
				t.Errorf("%s in %s: rounding changes %.2g of what the adapter does, more than %g", own.Name, in, ratio, bound)
			}
		}
	}
}

func likeliest(logits []float32) int { return slices.Index(logits, slices.Max(logits)) }

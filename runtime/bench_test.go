package runtime

import (
	"context"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// BenchmarkDecode is a steady decode step of eight sequences of the real base
// at 64 to 512 positions.
func BenchmarkDecode(b *testing.B) {
	m, source, err := models.Open(modeltest.SmolLM2(b), models.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer source.Close()
	for _, c := range []struct {
		name     string
		sampling Sampling
	}{{"greedy", Sampling{}}, {"top-p", Sampling{Temperature: 0.8, TopP: 0.95}}} {
		b.Run(c.name, func(b *testing.B) {
			pool := kernels.NewPool(0)
			defer pool.Close()
			e, err := newEngine(m, nil, pool, Options{NoPrefixCache: true})
			if err != nil {
				b.Fatal(err)
			}
			submit := func() {
				for i := range 8 {
					r := &Request{MaxTokens: 448, IgnoreEOS: true, Sampling: c.sampling, Logprobs: -1, PromptLogprobs: -1}
					for j := range 64 {
						r.Prompt = append(r.Prompt, int32(i*977+j*31))
					}
					if _, err := e.Submit(context.Background(), r); err != nil {
						b.Fatal(err)
					}
				}
				e.intake()
				e.step()
				e.step()
			}
			submit()
			b.ReportAllocs()
			for b.Loop() {
				if !e.step() {
					b.StopTimer()
					submit()
					b.StartTimer()
				}
			}
			b.ReportMetric(8*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

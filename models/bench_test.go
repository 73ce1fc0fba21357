package models_test

import (
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// BenchmarkPrefill and BenchmarkDecode run the real base on every processor.
func BenchmarkPrefill(b *testing.B) { benchmark(b, 512, 0) }

func BenchmarkDecode(b *testing.B) { benchmark(b, 1, 64) }

func benchmark(b *testing.B, rows, position int) {
	m, s, err := models.Open(modeltest.SmolLM2(b), models.Options{Context: 1024})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	p := models.NewPass(modeltest.Pool(b, 0))
	cache := models.NewCache(m.Config(), 1024/kernels.BlockLen)
	blocks := make([]int32, cache.Blocks)
	for i := range blocks {
		blocks[i] = int32(i)
	}
	tokens := make([]int32, rows)
	for i := range tokens {
		tokens[i] = int32(100 + i)
	}
	var batch models.Batch
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		batch.Add(tokens, position, blocks, nil)
		batch.Out = append(batch.Out, int32(rows-1))
		h := m.Forward(p, &batch, cache)
		logits := m.Head(p, &batch, 0, h)
		p.Free(h, logits)
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkEncode is 32 texts of 128 tokens through a real encoder on every
// processor.
func BenchmarkEncode(b *testing.B) {
	m, s, err := models.Open(modeltest.Real(b, "all-MiniLM-L6-v2"), models.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	p := models.NewPass(modeltest.Pool(b, 0))
	tokens := make([]int32, 128)
	for i := range tokens {
		tokens[i] = int32(1000 + i)
	}
	var batch models.Batch
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		for range 32 {
			batch.Out = append(batch.Out, int32(batch.Rows()))
			batch.AddText(tokens, nil, 0, nil)
		}
		h := m.Forward(p, &batch, nil)
		p.Free(m.Head(p, &batch, 0, h), h)
	}
	b.ReportMetric(float64(batch.Rows()*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

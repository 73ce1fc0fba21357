package training

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/peft-serve/peft-serve/kernels"
)

// FuzzCheckpoint reads whatever a checkpoint holds, and goes on training from
// what is not refused. compressed tells whether it is a file as it lies on disk.
func FuzzCheckpoint(f *testing.F) {
	path := filepath.Join(f.TempDir(), "checkpoint")
	params := func() []*Parameter {
		return []*Parameter{
			{Name: "a", Shape: []int{2, 3}, Value: make([]float32, 6), Grad: []float32{1, 2, 3, 4, 5, 6}},
			{Name: "b", Shape: []int{4}, Value: make([]float32, 4), Grad: []float32{1, 2, 3, 4}},
		}
	}
	pool := kernels.NewPool(1)
	f.Cleanup(pool.Close)
	step := func(p []*Parameter, o Optimizer) {
		o.Step(pool, p, 1, []float64{0.1, 0.1}, []float64{0, 0})
	}
	optimizers := func() []Optimizer {
		return []Optimizer{&AdamW{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}, &SGD{Momentum: 0.9}}
	}
	for _, o := range optimizers() {
		p := params()
		step(p, o)
		if err := writeCheckpoint(path, p, o, Progress{Step: 1}); err != nil {
			f.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(true, file)
		z, err := zstd.NewReader(nil)
		if err != nil {
			f.Fatal(err)
		}
		plain, err := z.DecodeAll(file, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(false, plain)
	}
	f.Fuzz(func(t *testing.T, compressed bool, b []byte) {
		if !compressed {
			var packed bytes.Buffer
			z, err := zstd.NewWriter(&packed, zstd.WithEncoderConcurrency(1))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = z.Write(b)
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			b = packed.Bytes()
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = progressIn(path)
		c, err := readCheckpoint(path)
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("no file in %v", err)
			}
			return
		}
		for _, o := range optimizers() {
			p := params()
			if err := c.restore(p, o, func(p *Parameter) { p.Value = make([]float32, len(p.Grad)) }); err != nil {
				if !strings.Contains(err.Error(), path) {
					t.Errorf("no file in %v", err)
				}
				continue
			}
			step(p, o)
		}
	})
}

package models_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// encoders lists the golden encoders, and NomicBERT, on which PEFT has put no adapters.
func encoders(t *testing.T) []string {
	return append(modeltest.Encoders(t), "encoders-gguf/nomic-bert")
}

// TestEncodersOfGGUF holds hidden states from the files that llama.cpp's converter makes
// against transformers' and, to the bit, against those from the folders.
func TestEncodersOfGGUF(t *testing.T) {
	for file, base := range map[string]string{"encoders-gguf/modern-bert/model.gguf": "encoders/modernbert", "encoders-gguf/nomic-bert/model.gguf": "encoders-gguf/nomic-bert"} {
		m, folder, p := modeltest.Open(t, file), modeltest.Open(t, base), models.NewPass(modeltest.Pool(t, 2))
		texts := modeltest.Texts(t, modeltest.Goldens(t, base, "golden.safetensors"))
		of := modeltest.Encode(folder, p, texts...)
		for i, got := range modeltest.Encode(m, p, texts...) {
			if d := modeltest.MaxDifference(texts[i].Kept(got.Hidden), texts[i].Hidden); !(d <= tolerance) {
				t.Errorf("%s: text %d, %d tokens: a hidden state is off by %.3g", file, i, len(texts[i].Tokens), d)
			}
			equal(t, file, got.Hidden, of[i].Hidden)
		}
	}
}

// TestGoldenEncoders holds hidden states and pooled rows against transformers'.
func TestGoldenEncoders(t *testing.T) {
	for _, base := range encoders(t) {
		t.Run(base, func(t *testing.T) {
			m, p := modeltest.Open(t, base), models.NewPass(modeltest.Pool(t, 2))
			for i, want := range modeltest.Texts(t, modeltest.Goldens(t, base, "golden.safetensors")) {
				got := modeltest.Encode(m, p, want)[0]
				if d := modeltest.MaxDifference(want.Kept(got.Hidden), want.Hidden); !(d <= tolerance) {
					t.Errorf("text %d, %d tokens: a hidden state is off by %.3g", i, len(want.Tokens), d)
				}
				if got.Pooled.Rows < want.Pooled.Rows {
					t.Fatal("there is no pooler")
				}
				if d := modeltest.MaxDifference(want.Pooled, got.Pooled); !(d <= tolerance) {
					t.Errorf("text %d, %d tokens: a pooled value is off by %.3g", i, len(want.Tokens), d)
				}
			}
		})
	}
}

// TestOldNamesOfNorms: BERT's first checkpoints call the tensors of norms gamma and
// beta. transformers loads them as it loads today's, which encoders.py makes sure of.
func TestOldNamesOfNorms(t *testing.T) {
	for _, base := range []string{"encoders/bert", "encoders/bert-classifier"} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(modeltest.Goldens(t, base))); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "model.safetensors")
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		size := binary.LittleEndian.Uint64(file)
		old := strings.NewReplacer(`LayerNorm.weight"`, `LayerNorm.gamma"`, `LayerNorm.bias"`, `LayerNorm.beta"`).Replace(string(file[8 : 8+size]))
		if strings.Contains(old, "LayerNorm.weight") || strings.Count(old, "LayerNorm.gamma") < 3 {
			t.Fatal("there are no norms")
		}
		renamed := binary.LittleEndian.AppendUint64(nil, uint64(len(old)))
		if err := os.WriteFile(path, slices.Concat(renamed, []byte(old), file[8+size:]), 0o644); err != nil {
			t.Fatal(err)
		}
		m, source, err := models.Open(dir, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = source.Close() })
		p := models.NewPass(modeltest.Pool(t, 1))
		texts := modeltest.Texts(t, modeltest.Goldens(t, base, "golden.safetensors"))
		for i, got := range modeltest.Encode(m, p, texts...) {
			if d := max(modeltest.MaxDifference(texts[i].Kept(got.Hidden), texts[i].Hidden), modeltest.MaxDifference(texts[i].Pooled, got.Pooled)); !(d <= tolerance) {
				t.Errorf("%s: text %d is off by %.3g", base, i, d)
			}
		}
	}
}

// TestEncodersInABatch holds law 1: beside other texts of any length, and on
// another number of threads, a text gives the bits that it gives alone.
func TestEncodersInABatch(t *testing.T) {
	for _, base := range encoders(t) {
		t.Run(base, func(t *testing.T) {
			m := modeltest.Open(t, base)
			one, two := models.NewPass(modeltest.Pool(t, 1)), models.NewPass(modeltest.Pool(t, 2))
			texts := modeltest.Texts(t, modeltest.Goldens(t, base, "golden.safetensors"))
			for range 2 { // the memory of the first round is used again
				for i, got := range modeltest.Encode(m, two, texts...) {
					alone := modeltest.Encode(m, one, texts[i])[0]
					equal(t, "hidden", got.Hidden, alone.Hidden)
					equal(t, "pooled", got.Pooled, alone.Pooled)
				}
				slices.Reverse(texts)
			}
		})
	}
}

// TestSteadyEncodingAllocatesNothing holds the forward pass over texts to the
// buffers of the one before.
func TestSteadyEncodingAllocatesNothing(t *testing.T) {
	for _, base := range encoders(t) {
		for _, threads := range []int{1, 2} {
			m, p := modeltest.Open(t, base), models.NewPass(modeltest.Pool(t, threads))
			texts := modeltest.Texts(t, modeltest.Goldens(t, base, "golden.safetensors"))
			var b models.Batch
			b.Out = make([]int32, 0, 2*len(texts))
			step := func() {
				b.Reset()
				for _, text := range texts {
					b.Out = append(b.Out, int32(b.Rows()))
					b.AddText(text.Tokens, text.Types, 0, nil)
				}
				h := m.Forward(p, &b, nil)
				if m.Config().Pooler {
					p.Free(m.Head(p, &b, 0, h))
				}
				p.Free(h)
				texts[0], texts[1] = texts[1], texts[0]
			}
			for range 5 {
				step()
			}
			if n := testing.AllocsPerRun(50, step); n != 0 {
				t.Errorf("%s, %d threads: %v allocations a step", base, threads, n)
			}
		}
	}
}

// TestRecordedEncoding: a pass that records has the bits of one that does not, with
// and without computing blocks again, and frees all that it made.
func TestRecordedEncoding(t *testing.T) {
	for _, base := range encoders(t) {
		m, pool := modeltest.Open(t, base), modeltest.Pool(t, 2)
		texts := modeltest.Texts(t, modeltest.Goldens(t, base, "golden.safetensors"))
		want := modeltest.Encode(m, models.NewPass(pool), texts...)
		var first []float32
		for _, again := range []bool{false, true} {
			p := models.NewPass(pool)
			p.Recompute(again)
			gradients := trainEverything(m)
			p.Record()
			var b models.Batch
			for _, text := range texts {
				b.AddText(text.Tokens, text.Types, 0, nil)
			}
			h := m.Forward(p, &b, nil)
			for i, span := range b.Spans {
				equal(t, base, h.Data.Span(span.Start, span.End), want[i].Hidden)
			}
			d := p.Grad(h)
			for i := range d.Data {
				d.Data[i] = float32(i%7) - 3
			}
			p.Free(h)
			p.Backward()
			if live, _ := p.Live(); live.Total() != 0 {
				t.Errorf("%s: %+v is still in use", base, live)
			}
			got := gradients[m.Sites()[0].Name+".weight"]
			if first == nil {
				first = slices.Clone(got)
			} else if !slices.Equal(first, got) {
				t.Errorf("%s: the gradients of blocks that are computed again differ", base)
			}
		}
	}
}

// TestMeasuredEncoding: a shape built from the configuration measures what the model
// holds and computes.
func TestMeasuredEncoding(t *testing.T) {
	m := modeltest.Open(t, "encoders/bert")
	texts := modeltest.Texts(t, modeltest.Goldens(t, "encoders/bert", "golden.safetensors"))
	count := func(p *models.Pass) (peak models.Live) {
		p.Record()
		var b models.Batch
		for _, text := range texts {
			b.AddText(text.Tokens, text.Types, 0, nil)
		}
		h := m.Forward(p, &b, nil)
		p.Grad(h)
		p.Free(h)
		p.Backward()
		_, peak = p.Live()
		return peak
	}
	trainEverything(m)
	computed, measured := count(models.NewPass(modeltest.Pool(t, 1))), count(models.NewMeasure())
	if computed != measured || computed.KV == 0 {
		t.Errorf("measured %+v, computed %+v", measured, computed)
	}
	c, tokens, pairs := m.Config(), 0, 0
	for _, text := range texts {
		tokens += len(text.Tokens)
		pairs += len(text.Tokens) * len(text.Tokens)
	}
	p := models.NewMeasure()
	var b models.Batch
	for _, text := range texts {
		b.AddText(text.Tokens, text.Types, 0, nil)
	}
	p.Free(m.Forward(p, &b, nil))
	products := 2 * tokens * c.Layers * (4*c.Hidden*c.Hidden + 2*c.Hidden*c.Intermediate)
	if f := p.FLOPs(); f.Forward != float64(products) || f.AttentionForward != float64(4*pairs*c.Hidden*c.Layers) {
		t.Errorf("%+v, want %d and %d", f, products, 4*pairs*c.Hidden*c.Layers)
	}
}

// TestEncoderGradients holds the gradients of every parameter against PyTorch's, of
// the sum of hidden states times weights that the script makes too.
func TestEncoderGradients(t *testing.T) {
	for _, base := range encoders(t) {
		golden := modeltest.Goldens(t, base, "grads.safetensors")
		if _, err := os.Stat(golden); err != nil {
			continue
		}
		t.Run(base, func(t *testing.T) {
			m, p := modeltest.Open(t, base), models.NewPass(modeltest.Pool(t, 2))
			gradients := trainEverything(m)
			var b models.Batch
			for _, text := range modeltest.Texts(t, modeltest.Goldens(t, base, "golden.safetensors"))[2:4] {
				b.AddText(text.Tokens, text.Types, 0, nil)
			}
			p.Record()
			h := m.Forward(p, &b, nil)
			d := p.Grad(h)
			for _, span := range b.Spans {
				for r := range span.End - span.Start {
					for c := range d.Cols {
						d.Row(span.Start + r)[c] = float32((7*r+3*c)%11 - 5)
					}
				}
			}
			p.Free(h)
			p.Backward()
			a := m.Config().Architecture
			for name, gradient := range gradients {
				if bare, ok := a.Without(name); ok {
					delete(gradients, name)
					gradients[bare] = gradient
				}
			}
			compareGradients(t, models.Bare(m), golden, gradients)
		})
	}
}

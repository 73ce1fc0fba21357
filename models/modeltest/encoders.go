package modeltest

import (
	"fmt"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Encoders lists the golden encoders, as Open takes them.
func Encoders(t testing.TB) (names []string) {
	t.Helper()
	for _, name := range holding(t, Goldens(t, "encoders"), "golden.safetensors") {
		names = append(names, "encoders/"+name)
	}
	return names
}

// Text is one text of a golden file with the oracle's hidden states, [rows,
// hidden], and what its pooler made of the first, [1, hidden]; empty: it has none.
type Text struct {
	Tokens, Types  []int32
	Rows           []int32 // places of the tokens whose hidden states are kept; nil: all
	Hidden, Pooled kernels.Matrix
	// Position is where the first token stands, and Adapter what acts on the text.
	Position int
	Adapter  models.Adapter
}

// Texts reads a golden.safetensors.
func Texts(t testing.TB, path string) (texts []Text) {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	matrix := func(name string) (m kernels.Matrix) {
		tensor, ok := f.Lookup(name)
		if !ok {
			return m
		}
		values, err := tensor.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		return kernels.MatrixOf(tensor.Shape[0], tensor.Shape[1], values)
	}
	for i := 0; ; i++ {
		tokens, ok := f.Lookup(fmt.Sprintf("tokens.%d", i))
		if !ok {
			break
		}
		text := Text{Tokens: integers(tokens), Hidden: matrix(fmt.Sprintf("hidden.%d", i)), Pooled: matrix(fmt.Sprintf("pooled.%d", i))}
		if types, ok := f.Lookup(fmt.Sprintf("types.%d", i)); ok {
			text.Types = integers(types)
		}
		if rows, ok := f.Lookup(fmt.Sprintf("rows.%d", i)); ok {
			text.Rows = integers(rows)
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		t.Fatalf("%s holds no text", path)
	}
	return texts
}

// Kept are the rows of all tokens that the golden has.
func (text Text) Kept(all kernels.Matrix) kernels.Matrix {
	if text.Rows == nil {
		return all
	}
	kept := kernels.NewMatrix(len(text.Rows), all.Cols)
	for i, r := range text.Rows {
		copy(kept.Row(i), all.Row(int(r)))
	}
	return kept
}

// Encode runs texts through an encoder in one batch and returns of each Hidden, of
// every token, and, where the model has a pooler, Pooled.
func Encode(m models.Model, p *models.Pass, texts ...Text) []Text {
	var b models.Batch
	for _, text := range texts {
		b.AddText(text.Tokens, text.Types, text.Position, text.Adapter)
	}
	h := m.Forward(p, &b, nil)
	out := make([]Text, len(texts))
	for i, span := range b.Spans {
		out[i].Hidden = clone(h.Data.Span(span.Start, span.End))
	}
	p.Free(h)
	if m.Config().Pooler {
		b.Out = b.Out[:0]
		for _, span := range b.Spans {
			b.Out = append(b.Out, int32(span.Start))
		}
		h := m.Forward(p, &b, nil)
		pooled := m.Head(p, &b, 0, h)
		for i := range texts {
			out[i].Pooled = clone(pooled.Data.Span(i, i+1))
		}
		p.Free(h, pooled)
	}
	return out
}

func clone(m kernels.Matrix) kernels.Matrix {
	c := kernels.NewMatrix(m.Rows, m.Cols)
	c.Copy(m)
	return c
}

package adapters

import "github.com/peft-serve/peft-serve/kernels"

// embeddingGains is DoRA on an Embedding: the norm is over the vocabulary, one
// a hidden column (PEFT, lora/dora.py DoraEmbeddingLayer).
type embeddingGains struct {
	low       *embeddingLoRA // A held as [V, r], B as [r, d]
	magnitude *Param         // [d]
	table     func() kernels.Weight
}

func (g *embeddingGains) refresh() {
	a, b, w := g.low.a.Values(), g.low.b.Values(), g.table()
	r, d := a.Cols, w.Cols
	gram, projected, squares := make([]float64, r*r), make([]float64, r*d), make([]float64, d)
	row := make([]float32, d)
	for v := range w.Rows {
		decodeRow(row, w, v)
		for j, x := range row {
			squares[j] += float64(x) * float64(x)
		}
		for k, ak := range a.Row(v) {
			p := projected[k*d:][:d]
			for j, x := range row {
				p[j] += float64(ak) * float64(x)
			}
			for l, al := range a.Row(v) {
				gram[k*r+l] += float64(ak) * float64(al)
			}
		}
	}
	p := kernels.NewMatrix(r, d)
	for i, x := range projected {
		p.Data[i] = float32(x)
	}
	gainBand{g.low.gain, g.magnitude.vector(), squares, b, p}.fill(gram, float64(g.low.scale))
}

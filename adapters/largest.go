package adapters

import (
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
)

// Largest is the tensor with the value that is largest in magnitude, and that
// value.
func (a *Adapter) Largest() (tensor string, value float32) {
	most := -1.0
	for _, p := range a.params {
		row := make([]float32, p.Weight.Cols)
		for r := range p.Weight.Rows {
			decodeRow(row, p.Weight, r)
			for _, v := range row {
				if m := math.Abs(float64(v)); m > most {
					most, tensor, value = m, p.Name, v
				}
			}
		}
	}
	return tensor, value
}

// LoudestToken is the token whose row of the embedding is the largest among
// those that the adapter brings; -1 where it brings none. Only a prompt that has
// the token shows an overflow there.
func (a *Adapter) LoudestToken() int32 {
	most, loudest := -1.0, int32(-1)
	look := func(p *Param, token func(row int) int32) {
		if !p.Present() {
			return
		}
		row := make([]float32, p.Weight.Cols)
		for r := range p.Weight.Rows {
			decodeRow(row, p.Weight, r)
			if squares := float64(kernels.Dot(row, row)); squares > most {
				most, loudest = squares, token(r)
			}
		}
	}
	for _, delta := range a.embeddings {
		d, ok := delta.(*embedding)
		if !ok {
			continue
		}
		whole := func(row int) int32 { return int32(row) }
		look(d.table, whole)
		for _, low := range d.low {
			look(low.a, whole)
		}
		if d.tokens != nil {
			look(d.tokens.rows, func(row int) int32 {
				i := slices.IndexFunc(d.tokens.order, func(t tokenRow) bool { return t.row == row })
				return d.tokens.order[i].token
			})
		}
	}
	return loudest
}

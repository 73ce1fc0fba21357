package models

import (
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// Largest is the stored tensor with the value that is largest in magnitude, a
// NaN before any, and that value. It reads all weights.
func (s *Source) Largest() (tensor string, value float32) {
	most := -1.0
	for name, w := range s.tensors.weights() {
		row := make([]float32, w.Cols)
		for r := range w.Rows {
			kernels.Decode(row, w.Format, w.Row(r))
			for _, v := range row {
				m := math.Abs(float64(v))
				if m != m {
					return name, v
				}
				if m > most {
					most, tensor, value = m, name, v
				}
			}
		}
	}
	return tensor, value
}

package adapters

import "math"

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

package kernels

import "math"

// Rope holds the rotation of each position: rotary position embedding (Su et
// al., 2021) in the half-split layout of transformers, where element i of a
// head is paired with element i+dim/2.
type Rope struct {
	HeadDim int
	Dim     int // rotated leading elements of each head, even, ≤ HeadDim
	cos     []float32
	sin     []float32
}

// NewRope tabulates positions 0 … positions-1 for the inverse frequencies,
// Dim/2 of them; attention scales both tables (1 for plain RoPE; YaRN's
// attention factor otherwise).
func NewRope(headDim, positions int, inverse []float64, attention float64) *Rope {
	r := &Rope{HeadDim: headDim, Dim: 2 * len(inverse)}
	r.cos = make([]float32, positions*len(inverse))
	r.sin = make([]float32, positions*len(inverse))
	for p := range positions {
		for i, f := range inverse {
			// transformers computes the angle in float32.
			angle := float64(float32(p) * float32(f))
			r.cos[p*len(inverse)+i] = float32(math.Cos(angle) * attention)
			r.sin[p*len(inverse)+i] = float32(math.Sin(angle) * attention)
		}
	}
	return r
}

// Positions is the number of tabulated positions.
func (r *Rope) Positions() int { return len(r.cos) / max(r.Dim/2, 1) }

// Apply rotates every head of row, in place, for the given position.
func (r *Rope) Apply(row []float32, position int) { r.rotate(row, position, 1) }

// Undo applies the inverse rotation: the gradient of Apply.
func (r *Rope) Undo(row []float32, position int) { r.rotate(row, position, -1) }

func (r *Rope) rotate(row []float32, position int, sign float32) {
	half := r.Dim / 2
	cos := r.cos[position*half:][:half]
	sin := r.sin[position*half:][:half]
	if v := active.vectors; v != nil && half > 0 && len(row) > 0 {
		v.rope(&row[0], &cos[0], &sin[0], half, len(row)/r.HeadDim, 4*r.HeadDim, sign)
		return
	}
	for h := 0; h < len(row); h += r.HeadDim {
		a, b := row[h:][:half], row[h+half:][:half]
		for i := range a {
			x, y, s := a[i], b[i], sign*sin[i]
			a[i] = x*cos[i] - y*s
			b[i] = y*cos[i] + x*s
		}
	}
}

package training

import (
	"math"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/kernels"
)

// TestLeading holds the orthogonal iteration against gonum's singular vectors:
// the two span one space.
func TestLeading(t *testing.T) {
	for _, shape := range [][2]int{{40, 24}, {24, 40}} {
		g := kernels.NewMatrix(shape[0], shape[1])
		random.New(1, 2).Normal(g.Data, 1)
		for i := range g.Rows { // singular values that fall
			for j, v := range g.Row(i) {
				g.Row(i)[j] = v * float32(math.Exp(-float64(i+j)/2))
			}
		}
		right := g.Rows >= g.Cols
		const r = 4
		basis := kernels.NewMatrix(r, min(g.Rows, g.Cols))
		random.New(3, 4).Normal(basis.Data, 1)
		leading(new(kernels.Worker), basis, g, right)
		u, _, v := adapters.Singular(g, r)
		if !right {
			v = u
		}
		for i := range r {
			inside := 0.0
			for k := range r {
				d := float64(kernels.Dot(v.Row(i), basis.Row(k)))
				inside += d * d
			}
			if inside < 0.99 {
				t.Errorf("%v: only %.4f of singular vector %d lies in the basis", shape, inside, i)
			}
		}
	}
}

package kernels

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// routed is one case of testdata/route.json.
type routed struct {
	Normalise                          bool
	Logits, Weights, DWeights, DLogits []float32
	Experts                            []int32
}

// TestRoute holds routing and its gradient against PyTorch's.
func TestRoute(t *testing.T) {
	b, err := os.ReadFile("testdata/route.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []routed
	if err := json.Unmarshal(b, &cases); err != nil || len(cases) != 2 {
		t.Fatal(len(cases), err)
	}
	p := NewPool(2)
	defer p.Close()
	const rows, experts, k = 11, 9, 3
	each(t, func(t *testing.T) {
		for _, c := range cases {
			logits := MatrixOf(rows, experts, c.Logits)
			weights, wOK := guarded(rand.New(rand.NewPCG(1, 1)), rows, k, 2)
			dlogits, dOK := guarded(rand.New(rand.NewPCG(2, 2)), rows, experts, 2)
			dlogits.Zero()
			chosen := make([]int32, rows*k)
			p.Route(weights, chosen, logits, c.Normalise)
			p.RouteGrad(dlogits, MatrixOf(rows, k, c.DWeights), logits, chosen, c.Normalise)
			if !slices.Equal(chosen, c.Experts) {
				t.Fatalf("the experts are %v, want %v", chosen, c.Experts)
			}
			near(t, "weights", weights, MatrixOf(rows, k, c.Weights))
			near(t, "dlogits", dlogits, MatrixOf(rows, experts, c.DLogits))
			p.RouteGrad(dlogits, MatrixOf(rows, k, c.DWeights), logits, chosen, c.Normalise)
			p.Scale(dlogits, 0.5) // it adds
			near(t, "dlogits twice", dlogits, MatrixOf(rows, experts, c.DLogits))
			if !wOK() || !dOK() {
				t.Fatal("wrote outside")
			}
		}
	})
}

func near(t *testing.T, what string, got, want Matrix) {
	t.Helper()
	for r := range want.Rows {
		for i, w := range want.Row(r) {
			if d := math.Abs(float64(got.Row(r)[i] - w)); !(d <= 1e-6) {
				t.Fatalf("%s: [%d][%d] is %v, want %v", what, r, i, got.Row(r)[i], w)
			}
		}
	}
}

// TestRouteTies: of equals the first are taken, and a row that is not finite
// goes to as many experts as any.
func TestRouteTies(t *testing.T) {
	p := NewPool(1)
	defer p.Close()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	each(t, func(t *testing.T) {
		for _, c := range []struct {
			logits []float32
			want   []int32
		}{
			{[]float32{1, 2, 2, 2}, []int32{1, 2}},
			{[]float32{3, 0, 3, 0}, []int32{0, 2}},
			{[]float32{0, 3, 0, 0}, []int32{0, 1}},
			{[]float32{-200, 0, -200, -200}, []int32{0, 1}}, // probabilities of 0
			{[]float32{nan, nan, nan, nan}, []int32{0, 1}},
			{[]float32{0, inf, 0, 0}, []int32{0, 1}},
		} {
			weights, chosen := NewMatrix(1, 2), make([]int32, 2)
			p.Route(weights, chosen, MatrixOf(1, 4, c.logits), true)
			if !slices.Equal(chosen, c.want) {
				t.Errorf("%v goes to %v, want %v", c.logits, chosen, c.want)
			}
		}
	})
}

// TestCombine holds the sum of a row's experts and its gradients against
// float64.
func TestCombine(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	const rows, k, n = 19, 3, 37
	each(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 3))
		x, _ := guarded(rng, rows*k, n, 1)
		weights, _ := guarded(rng, rows, k, 0)
		dy, _ := guarded(rng, rows, n, 3)
		dst, dstOK := guarded(rng, rows, n, 2)
		dx, dxOK := guarded(rng, rows*k, n, 2)
		dw, dwOK := guarded(rng, rows, k, 1)
		places := make([]int32, rows*k)
		for i, place := range rng.Perm(rows * k) {
			places[i] = int32(place)
		}
		wantX, wantW, want := NewMatrix(rows*k, n), NewMatrix(rows, k), NewMatrix(rows, n)
		wantX.Copy(dx)
		wantW.Copy(dw)
		for r := range rows {
			for i := range n {
				sum := 0.0
				for j, place := range places[r*k:][:k] {
					sum += float64(weights.Row(r)[j]) * float64(x.Row(int(place))[i])
					wantX.Row(int(place))[i] += weights.Row(r)[j] * dy.Row(r)[i]
				}
				want.Row(r)[i] = float32(sum)
			}
			for j, place := range places[r*k:][:k] {
				sum := float64(wantW.Row(r)[j])
				for i, v := range x.Row(int(place)) {
					sum += float64(v) * float64(dy.Row(r)[i])
				}
				wantW.Row(r)[j] = float32(sum)
			}
		}
		p.Combine(dst, x, weights, places)
		p.CombineGrad(dx, Matrix{}, dy, x, weights, places)
		p.CombineGrad(Matrix{}, dw, dy, x, weights, places)
		near(t, "sum", dst, want)
		near(t, "dx", dx, wantX)
		for r := range rows {
			for j, w := range wantW.Row(r) {
				if got := dw.Row(r)[j]; math.Abs(float64(got-w)) > 1e-5 {
					t.Fatalf("dweights: [%d][%d] is %v, want %v", r, j, got, w)
				}
			}
		}
		if !dstOK() || !dxOK() || !dwOK() {
			t.Fatal("wrote outside")
		}
		if n := testing.AllocsPerRun(10, func() {
			p.Route(weights, places, x.Span(0, rows), true)
			for i := range places {
				places[i] = int32(i)
			}
			p.Combine(dst, x, weights, places)
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

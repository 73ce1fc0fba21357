package training

import (
	"math"

	"github.com/peft-serve/peft-serve/kernels"
)

// gradientNorm is the Euclidean norm of all gradients, summed in stripes of
// fixed length and then in their order.
func gradientNorm(pool *kernels.Pool, params []*Parameter) float64 {
	all := stripes(params)
	sums := make([]float64, len(all))
	pool.Run(len(all), part(func(i int) {
		s := all[i]
		sums[i] = kernels.SquareSum(params[s.param].Grad[s.from:s.to])
	}))
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return math.Sqrt(total)
}

// clipScale is the factor that torch.nn.utils.clip_grad_norm_ puts on the
// gradients; limit 0: none.
func clipScale(norm, limit float64) float64 {
	if limit <= 0 {
		return 1
	}
	return min(1, limit/(norm+1e-6))
}

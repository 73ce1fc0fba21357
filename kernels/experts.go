package kernels

import "fmt"

// What a mixture of experts does by row (Shazeer et al., 2017): each row goes
// to k of the experts, and the sum of what they make of it comes back. Of E
// experts, rows·k places hold a row each, those of one expert side by side.
//
//	logits, dlogits       [rows, E]   the router's
//	weights, dweights     [rows, k]   of a row's experts
//	experts               [rows·k]    of a row, ascending
//	places                [rows·k]    where a row stands with each of them
//	x, dx                 [rows·k, n] by place
//	dst, dy               [rows, n]

// Route sends each row to the experts of the k largest of softmax(logits), the
// first of equals, and sets weights to those values; where normalise, to their
// shares in their sum.
func (p *Pool) Route(weights Matrix, experts []int32, logits Matrix, normalise bool) {
	sameRoutes(weights, experts, logits.Rows)
	p.overRoutes(routeTask{op: opRoute, weights: weights, experts: experts, logits: logits, normalise: normalise})
}

// RouteGrad adds the gradient of Route's logits to dlogits: what flows to the
// experts that a row does not go to comes through the softmax alone.
func (p *Pool) RouteGrad(dlogits, dweights, logits Matrix, experts []int32, normalise bool) {
	sameShape(dlogits, logits)
	sameRoutes(dweights, experts, logits.Rows)
	p.overRoutes(routeTask{op: opRouteGrad, x: dlogits, weights: dweights, experts: experts, logits: logits, normalise: normalise})
}

// Combine sets each row of dst to the sum of its places' rows of x by weight,
// in the order of its experts.
func (p *Pool) Combine(dst, x, weights Matrix, places []int32) {
	sameRoutes(weights, places, dst.Rows)
	p.overRoutes(routeTask{op: opCombine, y: dst, x: x, weights: weights, experts: places})
}

// CombineGrad is the gradient of Combine: it adds to dx and to dweights, of
// which either may be empty.
func (p *Pool) CombineGrad(dx, dweights, dy, x, weights Matrix, places []int32) {
	sameRoutes(weights, places, dy.Rows)
	p.overRoutes(routeTask{op: opCombineGrad, y: dy, x: x, dx: dx, dweights: dweights, weights: weights, experts: places})
}

func sameRoutes(weights Matrix, experts []int32, rows int) {
	if weights.Rows != rows || len(experts) != rows*weights.Cols {
		panic(fmt.Sprintf("kernels: %s: %d × %d weights and %d experts of %d rows", badShape, weights.Rows, weights.Cols, len(experts), rows))
	}
}

// routeTask runs one of these over bands of rows.
type routeTask struct {
	op                routeOp
	weights, dweights Matrix
	logits            Matrix
	x, dx, y          Matrix
	experts           []int32 // or places
	normalise         bool
}

type routeOp uint8

const (
	opRoute routeOp = iota
	opRouteGrad
	opCombine
	opCombineGrad
)

// routeRows is the number of rows in a part.
const routeRows = 8

func (p *Pool) overRoutes(t routeTask) {
	p.tasks.route = t
	p.Run((t.weights.Rows+routeRows-1)/routeRows, &p.tasks.route)
}

func (t *routeTask) Part(w *Worker, part int) {
	k := t.weights.Cols
	for r := part * routeRows; r < min((part+1)*routeRows, t.weights.Rows); r++ {
		weights, experts := t.weights.Row(r), t.experts[r*k:][:k]
		switch t.op {
		case opRoute:
			probabilities := w.Scratch(t.logits.Cols)
			Softmax(probabilities, t.logits.Row(r))
			route(weights, experts, probabilities, t.normalise)
		case opRouteGrad:
			probabilities := w.Scratch(t.logits.Cols)
			Softmax(probabilities, t.logits.Row(r))
			routeGrad(t.x.Row(r), weights, probabilities, experts, t.normalise)
		case opCombine:
			dst := t.y.Row(r)
			clear(dst)
			for j, place := range experts {
				AddScaled(dst, weights[j], t.x.Row(int(place)))
			}
		case opCombineGrad:
			for j, place := range experts {
				if !t.dx.Empty() {
					AddScaled(t.dx.Row(int(place)), weights[j], t.y.Row(r))
				}
				if !t.dweights.Empty() {
					t.dweights.Row(r)[j] += Dot(t.y.Row(r), t.x.Row(int(place)))
				}
			}
		}
	}
}

// route takes the largest probabilities out of p, one after the other, and
// puts them in the order of their experts.
func route(weights []float32, experts []int32, p []float32, normalise bool) {
	const taken = -1
	var sum float32 // from the largest on, as it is summed elsewhere
	for j := range weights {
		best := -1
		for e, v := range p {
			if v != taken && (best < 0 || v > p[best]) {
				best = e
			}
		}
		sum += p[best]
		at := j
		for ; at > 0 && experts[at-1] > int32(best); at-- {
			weights[at], experts[at] = weights[at-1], experts[at-1]
		}
		weights[at], experts[at] = p[best], int32(best)
		p[best] = taken
	}
	if normalise {
		for j := range weights {
			weights[j] /= sum
		}
	}
}

// routeGrad adds to dlogits: with g the gradient of the probabilities p, which
// is dweights or, of shares w = p/Σp, (dweights - Σ dweights·w)/Σp,
//
//	dlogits[e] += p[e]·(g[e] - Σ g·p)
func routeGrad(dlogits, dweights, p []float32, experts []int32, normalise bool) {
	sum, share := float32(1), float32(0)
	if normalise {
		sum = 0
		for j, e := range experts {
			sum += p[e]
			share += dweights[j] * p[e]
		}
		share /= sum
	}
	var mean float32
	for j, e := range experts {
		mean += (dweights[j] - share) / sum * p[e]
	}
	AddScaled(dlogits, -mean, p)
	for j, e := range experts {
		dlogits[e] += (dweights[j] - share) / sum * p[e]
	}
}

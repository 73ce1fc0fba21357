package runtime

import "github.com/peft-serve/peft-serve/models"

// The pace of a step is how much longer it takes for the prompts in it. Running
// answers get a token a step, so what prompts add is what all of them wait for: a
// prompt adds a share of the work that the step has without prompts, or a few
// tokens where that is little. Work is counted in rows at the beginning of a
// sequence, and not by the clock: the same requests make the same steps anywhere.

const (
	// weightRows is how many rows' work it takes to read the weights: of the machines
	// measured the ratio of decoding to prefill is 3 to 6.
	weightRows = 4
	// leastWork is what a prompt may add to any step. Less would read the weights too
	// often for what it gets done.
	leastWork = 16
)

// pace bounds the prompts' part of steps.
type pace struct {
	share  float64 // of the step's other work, that a prompt may add; 0: any
	depth  float64 // the keys whose attention is as much work as the rest of a row
	window int     // the most keys that a row sees; 0: any
}

func newPace(share float64, m models.Model) pace {
	p := pace{share: share, window: m.Config().Window}
	if share > 0 && !isEncoder(m.Config()) {
		p.depth = depthOf(m)
	}
	return p
}

// depthOf asks the model's own forward pass.
func depthOf(m models.Model) float64 {
	var b models.Batch
	b.Add([]int32{0}, 0, []int32{0}, nil)
	pass := models.NewMeasure()
	pass.Free(m.Forward(pass, &b, nil))
	f := pass.FLOPs()
	return f.Forward / f.AttentionForward
}

// work is that of a sequence's next n rows.
func (p *pace) work(s *sequence, n int) float64 {
	keys := float64(s.computed) + float64(n+1)/2 // that they see, in the mean
	if p.window > 0 {
		keys = min(keys, float64(p.window))
	}
	return float64(n) * (1 + keys/p.depth)
}

// fillPaced gives the prompts of a step their shares of so many rows: beside
// answers of as many as their pace allows.
func (e *Engine) fillPaced(left int) {
	if e.pace.share == 0 {
		e.fill(left)
		return
	}
	usual, prompts, row := 0.0, 0, 1.0 // the step without prompts; those, and the work of a row of the longest
	for _, w := range e.works {
		if w.count > 0 {
			usual += e.pace.work(w.s, w.count)
		}
		if n := min(w.s.pending()-w.count, left); n > 0 {
			prompts++
			row = max(row, e.pace.work(w.s, n)/float64(n))
		}
	}
	if usual == 0 || prompts == 0 {
		e.fill(left)
		return
	}
	usual += weightRows
	each := int(min(float64(left), max(leastWork, e.pace.share*usual)/row))
	e.fill(min(left, prompts*max(1, each)))
	work := float64(weightRows)
	for _, w := range e.works {
		work += e.pace.work(w.s, w.count)
	}
	e.stretch = max(e.stretch, work/usual)
}

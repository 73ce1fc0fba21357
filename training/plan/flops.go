package plan

import "github.com/peft-serve/peft-serve/models"

// Matrix is a Linear as the count of multiplications sees it: [out, in] and
// what is trained of it.
type Matrix struct {
	Out, In int
	Rank    int  // of a LoRA beside it; 0: none
	Full    bool // W itself is trained
	Input   bool // the gradient of its input is wanted
}

// Forward is the multiplications for one token: out·in and, with LoRA,
// r·(in + out).
func (m Matrix) Forward() float64 {
	return float64(m.Out)*float64(m.In) + float64(m.Rank)*float64(m.In+m.Out)
}

// Backward is the multiplications of the backward pass for one token. A full
// matrix needs out·in for W's gradient and as many for the input's. LoRA
// needs, for the two gradients, 2r·(in + out), and for the input's out·in +
// r·(in + out). Over an MLP d → p → q with nothing below these are the
// lecture's sums:
//
//	full  forward pd + qp                        backward pd + 2pq
//	LoRA  forward pd + qp + dr + pr + pr + qr    backward 3(pr + qr) + 2(pr + dr) + pq
func (m Matrix) Backward() float64 {
	w, low := float64(m.Out)*float64(m.In), float64(m.Rank)*float64(m.In+m.Out)
	n := 2 * low
	if m.Full {
		n += w
	}
	if m.Input {
		n += w + low
	}
	return n
}

// FLOPs counts the floating point operations of a step, two a multiplication.
type FLOPs struct {
	models.FLOPs
	// Step is what happens once a step: DoRA's norms, r·in·out for each matrix.
	Step float64 `json:"step"`
}

// Total is the sum.
func (f FLOPs) Total() float64 { return f.FLOPs.Total() + f.Step }

// FLOPs counts a step over a batch: what the operations of its passes do. So
// nothing is counted below the lowest site that trains, and a block that is
// recomputed counts its forward pass twice.
func (t *Trained) FLOPs(batch Batch) FLOPs {
	var f FLOPs
	_, measured, ok := t.Measure(batch)
	if f.FLOPs = measured; !ok {
		f.FLOPs = t.encoderFLOPs(batch)
	}
	for i, at := range t.at {
		if at.magnitude && t.base.sites[i].Kind == models.LinearSite {
			w := t.base.sites[i].Linear.W
			f.Step += 2 * float64(at.rank) * float64(w.Rows) * float64(w.Cols)
		}
	}
	return f
}

// encoderFLOPs counts without a pass: every token passes every matrix, and
// whatever follows the first site that trains carries gradients.
func (t *Trained) encoderFLOPs(batch Batch) models.FLOPs {
	var f models.FLOPs
	c := &t.base.config
	rows := float64(batch.Sequences * batch.Length)
	products := 2 * 2 * rows * float64(batch.Length) * float64(c.Heads*c.HeadDim)
	f.AttentionForward, f.AttentionBackward = products*float64(c.Layers), 2*products*float64(c.Layers)
	trains := false
	for i, s := range t.base.sites {
		at := t.at[i]
		if at == nil {
			at = &placed{}
		}
		if at.down > 0 {
			m := Matrix{Out: at.down, In: c.Hidden, Full: true, Input: true}
			f.Forward, f.Backward = f.Forward+2*2*rows*m.Forward(), f.Backward+2*2*rows*m.Backward()
		}
		if s.Kind == models.LinearSite {
			m := Matrix{Out: s.Linear.W.Rows, In: s.Linear.W.Cols, Rank: at.rank, Full: at.weight, Input: trains}
			f.Forward += 2 * rows * m.Forward()
			if trains || t.at[i] != nil {
				f.Backward += 2 * rows * m.Backward()
			}
		}
		trains = trains || t.at[i] != nil
	}
	return f
}

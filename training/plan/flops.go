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
	Forward  float64 `json:"forward"`
	Backward float64 `json:"backward"`
	// Attention is the part of scores and weighted values in the two, which the
	// lecture's formulas for matrices do not have: 2·n·width forward for a
	// token with n before it, twice as much backward.
	AttentionForward  float64 `json:"attention_forward"`
	AttentionBackward float64 `json:"attention_backward"`
	// Step is what happens once a step: DoRA's norms, r·in·out for each matrix.
	Step float64 `json:"step"`
}

// Total is the sum.
func (f FLOPs) Total() float64 {
	return f.Forward + f.Backward + f.AttentionForward + f.AttentionBackward + f.Step
}

// FLOPs counts a step over a batch. Nothing is propagated below the lowest
// site that trains.
func (t *Trained) FLOPs(batch Batch) FLOPs {
	b := t.base
	length := float64(batch.Length + t.virtual)
	tokens := float64(batch.Sequences) * length
	labels := float64(batch.Sequences * batch.labels())
	var f FLOPs
	below := true // nothing has been trained so far
	started := map[int]bool{}
	for i, s := range b.sites {
		at := t.at[i]
		trains := at != nil
		if s.Kind == models.SublayerSite {
			if at != nil && at.down > 0 {
				down := Matrix{Out: at.down, In: b.config.Hidden, Full: true, Input: true}
				f.Forward += 2 * 2 * tokens * down.Forward()
				f.Backward += 2 * 2 * tokens * down.Backward()
			}
			if !started[s.Layer] {
				started[s.Layer] = true
				pairs := (length/2 + float64(t.prefix)) * 2 * float64(b.config.Heads*b.config.HeadDim)
				f.AttentionForward += 2 * tokens * pairs
				if !below || t.prefix > 0 {
					f.AttentionBackward += 2 * 2 * tokens * pairs
				}
			}
		}
		if s.Kind == models.LinearSite {
			m := Matrix{Out: s.Linear.W.Rows, In: s.Linear.W.Cols, Input: !below || t.prefix > 0 && s.Layer > 0}
			if at != nil {
				m.Rank, m.Full = at.rank, at.weight
				if at.magnitude {
					f.Step += 2 * float64(at.rank) * float64(m.Out) * float64(m.In)
				}
			}
			rows := tokens
			if s.Head {
				rows = labels
			}
			f.Forward += 2 * rows * m.Forward()
			f.Backward += 2 * rows * m.Backward()
		}
		below = below && !trains
	}
	return f
}

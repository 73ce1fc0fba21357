package training

import (
	"fmt"
	"math"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
)

// Embeddings learn to be near where texts belong together, as sentence-transformers has
// it. Of a text and one that is near to it, the loss is MultipleNegativesRankingLoss: of
// all the other texts of its micro-batch, that are not its anchors, the near one is to be
// told by the cosine. Of two texts with a score it is CosineSimilarityLoss.

// sharpness is the factor on cosines in the loss (sentence-transformers' scale).
const sharpness = 20

// pair is the texts of one row of a micro-batch, as numbers of its sequences.
type pair struct {
	texts []int
	score []float32 // how near the second is; nil: the nearest of all
}

// pairs are the rows of a micro-batch.
func pairs(batch []Sequence) (all []pair) {
	for i, s := range batch {
		if s.Text == 0 {
			all = append(all, pair{score: s.Values})
		}
		p := &all[len(all)-1]
		p.texts = append(p.texts, i)
	}
	return all
}

// embedded is what a micro-batch has come to: a pooled row of each of its texts, and the
// gradients of the rows.
type embedded struct {
	objective   *Objective
	batch       []Sequence
	rows, grads *models.Value
}

// compare computes a micro-batch whose texts are compared with each other, in passes that
// end there, the first of that number, and returns its summed loss. Where there are
// several passes each is computed twice, so that the activations of one are all that is
// held: once for the embeddings, whose gradients take all of them, and once to carry those
// back (Gao et al., "Scaling deep contrastive learning batch size under memory limited
// setup", 2021).
func (t *Trainer) compare(batch []Sequence, ends []int, first uint64, scale float64) float64 {
	p, o := t.pass, &t.Objective
	width := len(o.Recipe.Modes) * t.Model.Config().Hidden
	e := &embedded{objective: o, batch: batch}
	row := func() *models.Value { return p.New(len(batch), width) }
	e.rows, e.grads = p.Workspace(row), p.Workspace(row)
	defer p.Free(e.rows, e.grads)
	var h *models.Value
	for i, start := 0, 0; i < len(ends); i, start = i+1, ends[i] {
		t.record(first + uint64(i))
		h = t.embed(e, start, ends[i])
		if len(ends) > 1 {
			p.Free(h)
			p.Discard()
		}
	}
	loss := e.loss(scale)
	for i, start := 0, 0; i < len(ends); i, start = i+1, ends[i] {
		if len(ends) > 1 {
			t.record(first + uint64(i))
			h = t.embed(e, start, ends[i])
		}
		e.back(p.Grad(h), h.Data, start, ends[i])
		p.Free(h)
		t.unwind()
	}
	return loss
}

// embed computes texts [from, to) of a micro-batch, whose pooled rows go to e.
func (t *Trainer) embed(e *embedded, from, to int) *models.Value {
	t.batch.fill(e.batch[from:to], t.Method.Adapter(), nil)
	h := t.Model.Forward(t.pass, &t.batch.Batch, nil)
	if len(h.Data.Data) > 0 { // or it is a shape
		e.objective.pool(e.rows.Data.Span(from, to), h.Data, e.batch[from:to])
	}
	return h
}

// pool makes a pooled row of the hidden states of each text.
func (o *Objective) pool(dst, h kernels.Matrix, batch []Sequence) {
	o.each(h, batch, func(i, from, to int) {
		pool := pooling.New(o.Recipe.Modes, h.Cols, batch[i].Passed)
		for r := from; r < to; r++ {
			pool.Add(h.Row(r))
		}
		pool.Write(dst.Row(i))
	})
}

// each calls f with the rows of h that are of each text.
func (o *Objective) each(h kernels.Matrix, batch []Sequence, f func(i, from, to int)) {
	at := 0
	for i, s := range batch {
		n := s.Labels()
		f(i, at, at+n)
		at += n
	}
	if at != h.Rows {
		panic(fmt.Sprintf("training: %d rows of %d are pooled", at, h.Rows))
	}
}

// back adds the gradients of texts [from, to) to those of their hidden states h; dh is
// empty where nothing of them is trained.
func (e *embedded) back(dh, h kernels.Matrix, from, to int) {
	if len(dh.Data) == 0 {
		return
	}
	modes := e.objective.Recipe.Modes
	dy := make([]float64, e.grads.Data.Cols)
	e.objective.each(h, e.batch[from:to], func(i, first, end int) {
		for k, v := range e.grads.Data.Row(from + i) {
			dy[k] = float64(v)
		}
		pooling.Gradient(dh.Span(first, end), h.Span(first, end), modes, e.batch[from+i].Passed, dy)
	})
}

// loss returns the summed loss of the rows of the micro-batch and sets the gradients of
// the pooled rows, scaled.
func (e *embedded) loss(scale float64) (sum float64) {
	if len(e.rows.Data.Data) == 0 { // of a plan
		return 0
	}
	recipe := e.objective.Recipe
	units := make([]unit, len(e.batch))
	for i := range units {
		units[i] = newUnit(recipe.Dimensions(e.rows.Data.Row(i), 0))
	}
	losses := nearness(units, pairs(e.batch), scale)
	for i, u := range units {
		dy := recipe.Back(e.rows.Data.Row(i), u.back())
		for k, v := range dy {
			e.grads.Data.Row(i)[k] = float32(v)
		}
	}
	return total(losses)
}

// unit is an embedding of length 1, which cosines are products of.
type unit struct {
	length float64
	v      []float64
	grad   []float64
}

func newUnit(row []float32) unit {
	u := unit{length: max(math.Sqrt(pooling.Dot(row, row)), 1e-12), v: make([]float64, len(row)), grad: make([]float64, len(row))}
	for i, x := range row {
		u.v[i] = float64(x) / u.length
	}
	return u
}

// back is the gradient of the embedding before it had the length 1.
func (u unit) back() []float64 {
	along := u.dot(u.grad)
	d := make([]float64, len(u.v))
	for i := range d {
		d[i] = (u.grad[i] - along*u.v[i]) / u.length
	}
	return d
}

func (u unit) dot(v []float64) (sum float64) {
	for i, x := range u.v {
		sum += x * v[i]
	}
	return sum
}

// pull adds g times the gradient of the cosine of two embeddings to theirs.
func pull(a, b unit, g float64) {
	for i := range a.grad {
		a.grad[i] += g * b.v[i]
		b.grad[i] += g * a.v[i]
	}
}

// nearness returns the loss of each row of a micro-batch, and adds the gradients of their
// sum times scale to those of the embeddings.
func nearness(units []unit, rows []pair, scale float64) (losses []float64) {
	var candidates []int // all that is near to something, and then what is said not to be
	for text := 1; text < len(rows[0].texts); text++ {
		for _, row := range rows {
			candidates = append(candidates, row.texts[text])
		}
	}
	scores := make([]float64, len(candidates))
	for i, row := range rows {
		a := units[row.texts[0]]
		if row.score != nil {
			b := units[row.texts[1]]
			off := a.dot(b.v) - float64(row.score[0])
			losses = append(losses, off*off)
			pull(a, b, 2*off*scale)
			continue
		}
		for k, c := range candidates {
			scores[k] = sharpness * a.dot(units[c].v)
		}
		most, sum := scores[argmax(scores)], 0.0
		for _, s := range scores {
			sum += math.Exp(s - most)
		}
		losses = append(losses, most+math.Log(sum)-scores[i])
		for k, c := range candidates {
			g := math.Exp(scores[k]-most) / sum
			if k == i {
				g--
			}
			pull(a, units[c], g*sharpness*scale)
		}
	}
	return losses
}

// embeddings is the memory, in bytes, that so many texts of a micro-batch take beside a
// pass: their pooled rows and the gradients of those.
func (o *Objective) embeddings(m models.Model, texts int) int {
	if o.Recipe == nil {
		return 0
	}
	return 2 * 4 * texts * len(o.Recipe.Modes) * m.Config().Hidden
}

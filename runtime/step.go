package runtime

import (
	"math"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// work is what a step computes of one sequence: its next count tokens.
type work struct {
	s     *sequence
	count int
	from  int // its outputs are outputs[from:to]
	to    int
	err   error // why its computation failed
}

// step computes one batch and hands out what came of it; false: there is
// nothing to compute.
func (e *Engine) step() bool {
	e.round++
	e.grow()
	e.admit()
	if len(e.running) == 0 {
		return false
	}
	start := e.now()
	rows, promptRows := e.plan()
	e.compute(e.works)
	e.spare = spareRows(len(e.running))
	for i := range e.works {
		e.commit(&e.works[i])
	}
	for i := range e.works { // once for all tasks of a request that have ended
		if s := e.works[i].s; s.state == ended {
			s.stream.notify()
		}
	}
	clear(e.works)
	clear(e.outputs)
	e.options.Observer.Step(e.now().Sub(start), rows, promptRows)
	e.mu.Lock()
	e.counts.Steps++
	e.counts.SharedRows += uint64(e.shared)
	e.counts.Stretch = e.stretch
	e.shared = 0
	e.counts.BlocksUsed, e.counts.BlocksCached = e.blocks.used(), e.blocks.keyed
	e.mu.Unlock()
	return true
}

// tileRows is how many rows products of a few rows take together at most.
const tileRows = 8

// spareRows is how many rows more a step of so many has place for, until its products
// need another pass over the weights.
func spareRows(rows int) int { return (rows+tileRows-1)/tileRows*tileRows - rows }

// plan chooses the tokens of the step: the next one of every sequence that has
// one left, then as much of the prompts as StepTokens allows. Tenants share that by
// weight, the groups of each equally, and the prompts of each group equally; what
// some do not need goes to the others; beside running sequences it is no more than
// their pace allows. So a long prompt holds up neither running
// sequences nor short prompts, and many prompts not those of another tenant. Texts
// of an encoder are never cut.
func (e *Engine) plan() (rows, promptRows int) {
	e.works = e.works[:0]
	left := e.options.StepTokens
	for _, s := range e.running {
		w := work{s: s}
		switch {
		case e.encoder: // roomFor has seen to the sum
			w.count = s.pending()
		case s.pending() > 1:
			s.turn.prompts(1)
			if s.computed >= s.promptEnd() { // a stretch that its grammar left no choice about
				w.count = 1
				left--
			}
		default:
			w.count = 1
			left--
		}
		e.works = append(e.works, w)
	}
	if !e.encoder {
		e.fillPaced(max(left, 1))
		for _, w := range e.works {
			if w.s.pending() > 1 {
				w.s.turn.prompts(-1)
			}
		}
	}
	planned := e.works[:0]
	e.outputs = e.outputs[:0]
	for _, w := range e.works {
		if w.count == 0 {
			continue
		}
		w.from = len(e.outputs)
		for place := w.s.computed; place < w.s.computed+w.count; place++ {
			if k := w.s.kind(place); k != nil {
				e.outputs = append(e.outputs, output{s: w.s, kind: k, place: place})
			}
		}
		w.to = len(e.outputs)
		rows += w.count
		if w.s.computed < w.s.promptEnd() {
			promptRows += w.count
		}
		planned = append(planned, w)
	}
	clear(e.works[len(planned):])
	e.works = planned
	e.keep()
	e.countRiders()
	return rows, promptRows
}

// fill gives the prompts of a step their shares of so many tokens. Those are cut
// at whole tokens along the batch, so that many small ones add up to what they are
// of all.
func (e *Engine) fill(left int) {
	for left > 0 {
		all := 0.0
		for _, w := range e.works {
			if w.count < w.s.pending() {
				all += w.s.turn.share()
			}
		}
		if all == 0 {
			return
		}
		const rounding = 1e-9
		sum, cut, taken := 0.0, 0, 0
		for i := range e.works {
			w := &e.works[i]
			rest := w.s.pending() - w.count
			if rest == 0 {
				continue
			}
			sum += w.s.turn.share()
			to := min(int(math.Ceil(float64(left)*sum/all-rounding)), left)
			n := min(rest, to-cut)
			w.count += n
			taken += n
			cut = to
		}
		left -= taken
	}
}

// compute runs works as one batch. If that panics it runs each half, and so
// on: what remains is the sequence at fault. The others' results are the same
// bits in any batch, and computing one twice changes nothing.
func (e *Engine) compute(works []work) {
	err := e.forward(works)
	switch {
	case err == nil:
	case len(works) == 1:
		works[0].err = err
	default:
		e.compute(works[:len(works)/2])
		e.compute(works[len(works)/2:])
	}
}

// HeadRows is the most rows whose logits, or scores, are held at once.
const HeadRows = 64

// forward computes works as one batch and fills their outputs.
func (e *Engine) forward(works []work) (err error) {
	defer e.rescue(works[0].s, &err)
	b := &e.batch
	b.Reset()
	outputs := e.outputs[works[0].from:works[len(works)-1].to]
	next := 0
	for _, w := range works {
		s := w.s
		first := b.Rows()
		var a models.Adapter
		if v := s.lease.Adapter(); v != nil {
			a = v
		}
		if e.encoder {
			b.AddRider(s.tokens[s.computed:], s.typesFrom(s.computed), s.computed, a, s.ride())
		} else {
			b.AddFrom(s.tokens[s.computed:s.computed+w.count], s.computed, s.blocks, a, s.from)
		}
		for range w.to - w.from {
			b.Out = append(b.Out, int32(first+outputs[next].place-s.computed))
			next++
		}
	}
	cache := e.cache
	if e.encoder {
		cache = nil // a decoder with a head of a task in the place of the logits' has one too
	}
	h := e.model.Forward(e.pass, b, cache)
	e.shared += b.Shared()
	for from := 0; from < len(outputs); {
		to := sameHead(outputs, from)
		e.hidden.Data = h.Data.Span(from, to)
		switch through := outputs[from].kind.head(); {
		case through.scores != nil:
			made := through.scores.Forward(e.pass, b, from, &e.hidden)
			e.sampling.run(e.pool, outputs[from:to], made.Data)
			e.pass.Free(made)
		case through.base:
			made := e.model.Head(e.pass, b, from, &e.hidden)
			e.sampling.run(e.pool, outputs[from:to], made.Data)
			e.pass.Free(made)
		default:
			e.sampling.run(e.pool, outputs[from:to], e.hidden.Data)
		}
		from = to
	}
	e.pass.Free(h)
	return nil
}

// sameHead is the end of the outputs that begin there and go through the same head,
// at most HeadRows, or all want hidden states.
func sameHead(outputs []output, from int) (to int) {
	head := outputs[from].kind.head()
	for to = from + 1; to < len(outputs) && outputs[to].kind.head() == head && (head == passage{} || to-from < HeadRows); to++ {
	}
	return to
}

// samplingTask turns logits or hidden states into outputs, each part the rows of
// one thread.
type samplingTask struct {
	outputs []output
	logits  kernels.Matrix
	choices []choice // by part
}

func (t *samplingTask) run(p *kernels.Pool, outputs []output, logits kernels.Matrix) {
	t.outputs, t.logits = outputs, logits
	p.Run(len(t.choices), t)
	t.outputs, t.logits = nil, kernels.Matrix{}
}

func (t *samplingTask) Part(_ *kernels.Worker, part int) {
	for i := part; i < len(t.outputs); i += len(t.choices) {
		o := &t.outputs[i]
		row := t.logits.Row(i)
		switch o.s.request.Encode {
		case EncodeNothing:
			row = row[:o.s.vocabulary]
		case EncodeScores:
			if o.kind.head().scores != nil { // or it is a hidden state, of a mean
				row = row[:o.s.classes]
			}
		}
		o.fill(&t.choices[part], row)
	}
}

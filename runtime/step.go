package runtime

import (
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
	e.grow()
	e.admit()
	if len(e.running) == 0 {
		return false
	}
	start := e.now()
	rows, promptRows := e.plan()
	e.compute(e.works)
	for i := range e.works {
		e.commit(&e.works[i])
	}
	clear(e.works)
	clear(e.outputs)
	e.options.Observer.Step(e.now().Sub(start), rows, promptRows)
	e.mu.Lock()
	e.counts.Steps++
	e.counts.BlocksUsed, e.counts.BlocksCached = e.blocks.used(), e.blocks.keyed
	e.mu.Unlock()
	return true
}

// plan chooses the tokens of the step: the next one of every sequence that has
// one left, then as much of the prompts as StepTokens allows. Prompts share
// that evenly, what some do not need going to the oldest of the others, so a
// long prompt holds up neither running sequences nor short prompts.
func (e *Engine) plan() (rows, promptRows int) {
	e.works = e.works[:0]
	prompts := 0
	for _, s := range e.running {
		e.works = append(e.works, work{s: s})
		if s.pending() > 1 {
			prompts++
		}
	}
	left := max(e.options.StepTokens-(len(e.works)-prompts), 1)
	share := left / max(prompts, 1)
	for i := range e.works {
		w := &e.works[i]
		n := w.s.pending()
		if n == 1 {
			w.count = 1
			continue
		}
		w.count = min(n, share)
		left -= w.count
	}
	for left > 0 && prompts > 0 {
		var oldest *work
		for i := range e.works {
			w := &e.works[i]
			if w.count < w.s.pending() && (oldest == nil || w.s.id < oldest.s.id) {
				oldest = w
			}
		}
		if oldest == nil {
			break
		}
		more := min(left, oldest.s.pending()-oldest.count)
		oldest.count += more
		left -= more
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
	return rows, promptRows
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

// headRows is the most rows whose logits are held at once.
const headRows = 64

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
		b.AddFrom(s.tokens[s.computed:s.computed+w.count], s.computed, s.blocks, a, s.from)
		for range w.to - w.from {
			b.Out = append(b.Out, int32(first+outputs[next].place-s.computed))
			next++
		}
	}
	h := e.model.Forward(e.pass, b, e.cache)
	for from := 0; from < len(outputs); from += headRows {
		to := min(from+headRows, len(outputs))
		e.hidden.Data = h.Data.Span(from, to)
		logits := e.model.Head(e.pass, b, from, &e.hidden)
		e.sampling.run(e.pool, outputs[from:to], logits.Data)
		e.pass.Free(logits)
	}
	e.pass.Free(h)
	return nil
}

// samplingTask turns logits into outputs, each part the rows of one thread.
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
		o.fill(&t.choices[part], t.logits.Row(i)[:o.s.vocabulary])
	}
}

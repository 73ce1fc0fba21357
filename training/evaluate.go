package training

import (
	"context"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
	"github.com/peft-serve/peft-serve/training/metric"
)

// Scores are metrics by name: loss, perplexity, accuracy, …
type Scores map[string]float64

// evaluator computes examples with the very adapter that is saved.
type evaluator struct {
	model     models.Model
	adapter   models.Adapter
	objective Objective
	encoder   *dataset.Encoder
	pass      *models.Pass
	rows      rows
	batch     int                         // rows of a micro-batch, whose texts are compared
	each      func(scores kernels.Matrix) // hears what a head makes of each example; nil: nobody does
}

// evalRows bounds the rows of one forward pass.
const evalRows = 1024

// losses returns the summed loss of each sequence.
func (e *evaluator) losses(batch []Sequence) []float64 {
	e.rows.fill(batch, e.adapter, nil)
	h := e.model.Forward(e.pass, &e.rows.Batch, nil)
	all := crossEntropy(e.pass, e.model, &e.rows.Batch, h, e.rows.targets, 0)
	e.pass.Free(h)
	sums := make([]float64, len(batch))
	for i, s := range batch {
		n := s.Labels()
		sums[i] = total(all[:n])
		all = all[n:]
	}
	return sums
}

// batches calls f with runs of sequences of at most evalRows rows.
func batches(ctx context.Context, n int, at func(i int) (Sequence, error), f func(from int, batch []Sequence) error) error {
	var batch []Sequence
	from, size := 0, 0
	for i := 0; i <= n; i++ {
		var s Sequence
		var err error
		if i < n {
			if s, err = at(i); err != nil {
				return err
			}
		}
		if len(batch) > 0 && (i == n || size+len(s.Tokens) > evalRows) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(from, batch); err != nil {
				return err
			}
			from, size, batch = i, 0, batch[:0]
		}
		batch = append(batch, s)
		size += len(s.Tokens)
	}
	return nil
}

// evaluate returns the loss a label over a set, and the metrics of its task, or of what
// a head makes of it.
func (e *evaluator) evaluate(ctx context.Context, set dataset.Examples, task *dataset.Task) (Scores, error) {
	switch {
	case e.objective.Head != nil:
		return e.judge(ctx, set)
	case e.objective.Recipe != nil:
		return e.compare(ctx, set)
	}
	loss, labels := 0.0, 0
	var scores []float64 // of every answer to every example
	var examples []dataset.Example
	err := batches(ctx, set.Len(), set.Sequence, func(from int, batch []Sequence) error {
		var own []dataset.Example
		for i := range batch {
			if task == nil {
				break
			}
			x, err := set.Example(from + i)
			if err != nil {
				return err
			}
			own = append(own, x)
		}
		examples = append(examples, own...)
		for _, s := range batch {
			labels += s.Labels()
		}
		answers, ok, err := e.single(own, batch, task)
		if err != nil {
			return err
		}
		if ok {
			chosen, sum := e.choices(batch, answers)
			scores, loss = append(scores, chosen...), loss+sum
			return nil
		}
		loss += total(e.losses(batch))
		apart, err := e.scores(ctx, own, task)
		scores = append(scores, apart...)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := Scores{"loss": loss / float64(labels), "perplexity": min(math.Exp(loss/float64(labels)), math.MaxFloat64)}
	if task != nil {
		answer(examples, task, scores, s)
	}
	if c, ok := set.(*dataset.Corpus); ok {
		if n, ok := c.Bytes(); ok && n > 0 {
			s["bits_per_byte"] = loss / math.Ln2 / float64(n)
		}
	}
	return s, nil
}

// single returns the token that each of the task's answers is to each example,
// where every one is a single token after the same others, and what the
// sequence predicts is such an answer and no more than the end of the text
// after it: one row of logits has all that is to be known.
func (e *evaluator) single(examples []dataset.Example, batch []Sequence, task *dataset.Task) (answers [][]int32, ok bool, err error) {
	ended := 1
	if e.encoder.End >= 0 {
		ended = 2
	}
	for i, x := range examples {
		if batch[i].Labels() != ended {
			return nil, false, nil
		}
		at := batch[i].Last() - ended + 1
		var own []int32
		for _, answer := range task.Answers {
			c, err := e.candidate(x, answer)
			if err != nil {
				return nil, false, err
			}
			if c.Labels() != 1 || c.Last() != at || !slices.Equal(c.Tokens[:at+1], batch[i].Tokens[:at+1]) {
				return nil, false, nil
			}
			own = append(own, c.Targets[at])
		}
		answers = append(answers, own)
	}
	return answers, len(answers) > 0, nil
}

// choices returns the logit of every answer to every sequence, and the
// sequences' summed loss.
func (e *evaluator) choices(batch []Sequence, answers [][]int32) (scores []float64, loss float64) {
	e.rows.fill(batch, e.adapter, nil)
	h := e.model.Forward(e.pass, &e.rows.Batch, nil)
	logits := e.model.Head(e.pass, &e.rows.Batch, 0, h)
	r := 0
	for i, s := range batch {
		for _, a := range answers[i] {
			scores = append(scores, float64(logits.Data.Row(r)[a]))
		}
		r += s.Labels()
	}
	losses := make([]float64, r)
	e.pass.CrossEntropy(losses, logits.Data, e.rows.targets, 0)
	e.pass.Free(h, logits)
	return scores, total(losses)
}

// answer has the model choose among the task's answers for each prompt. scores
// are their log-probabilities up to a constant an example.
func answer(examples []dataset.Example, task *dataset.Task, scores []float64, s Scores) {
	var labels, chosen []int
	var values, expected []float64
	each := len(task.Answers)
	for i, x := range examples {
		own := scores[i*each : (i+1)*each]
		labels, values = append(labels, x.Label), append(values, x.Value)
		chosen, expected = append(chosen, argmax(own)), append(expected, expectation(own))
	}
	for _, name := range task.Metrics {
		if measure := metric.OfLabels(name); measure != nil {
			s[name] = measure(labels, chosen)
		} else {
			s[name] = metric.OfValues(name)(values, expected)
		}
	}
}

// scores returns the log-probability of every answer to every example.
func (e *evaluator) scores(ctx context.Context, examples []dataset.Example, task *dataset.Task) (scores []float64, err error) {
	if len(examples) == 0 {
		return nil, nil
	}
	each := len(task.Answers)
	at := func(i int) (Sequence, error) { return e.candidate(examples[i/each], task.Answers[i%each]) }
	err = batches(ctx, len(examples)*each, at, func(_ int, batch []Sequence) error {
		for _, loss := range e.losses(batch) {
			scores = append(scores, -loss)
		}
		return nil
	})
	return scores, err
}

// candidate is an example with another answer, cut as the example itself would
// be. That a text ends there is not compared.
func (e *evaluator) candidate(x dataset.Example, answer string) (Sequence, error) {
	encoder := *e.encoder
	encoder.LearnPrompt = false
	s, _, err := encoder.Sequence(dataset.Answered(x.Prompt(), answer))
	if err != nil {
		return s, err
	}
	if last := s.Last(); s.Targets[last] == e.encoder.End {
		s.Targets[last] = dataset.None
	}
	return s, nil
}

func argmax(v []float64) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

// expectation is Σ i·p_i with p the softmax of log-probabilities: the value
// that answers which are numbers from 0 on amount to.
func expectation(v []float64) float64 {
	top := v[argmax(v)]
	sum, mean := 0.0, 0.0
	for i, x := range v {
		p := math.Exp(x - top)
		sum += p
		mean += float64(i) * p
	}
	return mean / sum
}

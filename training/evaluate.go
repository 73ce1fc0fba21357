package training

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Scores are metrics by name: loss, perplexity, accuracy, …
type Scores map[string]float64

// evaluator computes examples with the very adapter that is saved.
type evaluator struct {
	model   models.Model
	adapter models.Adapter
	encoder *dataset.Encoder
	pass    *models.Pass
	rows    rows
}

// evalRows bounds the rows of one forward pass.
const evalRows = 1024

// losses returns the summed loss of each sequence.
func (e *evaluator) losses(batch []Sequence) []float64 {
	e.rows.fill(batch, e.adapter)
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

// evaluate returns the loss a label over a set, and the metrics of its task.
func (e *evaluator) evaluate(ctx context.Context, set *dataset.Set, task *dataset.Task) (Scores, error) {
	loss, labels := 0.0, 0
	var answers [][]int32
	if task != nil {
		var err error
		if answers, err = e.answers(task); err != nil {
			return nil, err
		}
	}
	var scores []float64 // of every answer to every example
	err := batches(ctx, set.Len(), set.Sequence, func(_ int, batch []Sequence) error {
		if single(answers) && e.wholeAnswers(batch) {
			chosen, sum := e.choices(batch, answers)
			scores = append(scores, chosen...)
			loss += sum
		} else {
			loss += total(e.losses(batch))
		}
		for _, s := range batch {
			labels += s.Labels()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s := Scores{"loss": loss / float64(labels), "perplexity": min(math.Exp(loss/float64(labels)), math.MaxFloat64)}
	if task == nil {
		return s, nil
	}
	return s, e.answer(ctx, set, task, answers, scores, s)
}

// single reports whether every answer is one token, so that one row of logits
// has all that is to be known of an example.
func single(answers [][]int32) bool {
	return len(answers) > 0 && !slices.ContainsFunc(answers, func(a []int32) bool { return len(a) != 1 })
}

// wholeAnswers reports whether each sequence predicts an answer of one token,
// and after it no more than the end of the text.
func (e *evaluator) wholeAnswers(batch []Sequence) bool {
	ended := 1
	if e.encoder.End >= 0 {
		ended = 2
	}
	return !slices.ContainsFunc(batch, func(s Sequence) bool { return s.Labels() != ended })
}

// choices returns the logit of every answer to every sequence, and the
// sequences' summed loss.
func (e *evaluator) choices(batch []Sequence, answers [][]int32) (scores []float64, loss float64) {
	e.rows.fill(batch, e.adapter)
	h := e.model.Forward(e.pass, &e.rows.Batch, nil)
	logits := e.model.Head(e.pass, &e.rows.Batch, 0, h)
	r := 0
	for _, s := range batch {
		for _, a := range answers {
			scores = append(scores, float64(logits.Data.Row(r)[a[0]]))
		}
		r += s.Labels()
	}
	losses := make([]float64, r)
	e.pass.Pool.Run(r, &lossTask{logits.Data, e.rows.targets, losses, 0})
	e.pass.Free(h, logits)
	return scores, total(losses)
}

// answer has the model choose among the task's answers for each prompt. scores
// are their log-probabilities up to a constant an example; empty: not known.
func (e *evaluator) answer(ctx context.Context, set *dataset.Set, task *dataset.Task, answers [][]int32, scores []float64, s Scores) error {
	var labels, chosen []int
	var values, expected []float64
	var examples []dataset.Example
	for i := range set.Len() {
		x, err := set.Example(i)
		if err != nil {
			return err
		}
		examples = append(examples, x)
	}
	each := len(answers)
	if len(scores) != each*len(examples) {
		var err error
		if scores, err = e.scores(ctx, examples, task, answers); err != nil {
			return err
		}
	}
	for i, x := range examples {
		own := scores[i*each : (i+1)*each]
		labels, values = append(labels, x.Label), append(values, x.Value)
		chosen, expected = append(chosen, argmax(own)), append(expected, expectation(own))
	}
	for _, name := range task.Metrics {
		if metric, ok := classMetrics[name]; ok {
			s[name] = metric(labels, chosen)
		} else {
			s[name] = valueMetrics[name](values, expected)
		}
	}
	return nil
}

// scores returns the log-probability of every answer to every example.
func (e *evaluator) scores(ctx context.Context, examples []dataset.Example, task *dataset.Task, answers [][]int32) ([]float64, error) {
	each := len(answers)
	at := func(i int) (Sequence, error) {
		return e.candidate(examples[i/each], task.Answers[i%each], len(answers[i%each]))
	}
	var scores []float64
	err := batches(ctx, len(examples)*each, at, func(_ int, batch []Sequence) error {
		for _, loss := range e.losses(batch) {
			scores = append(scores, -loss)
		}
		return nil
	})
	return scores, err
}

func (e *evaluator) answers(task *dataset.Task) ([][]int32, error) {
	var all [][]int32
	for _, a := range task.Answers {
		tokens, err := e.encoder.Tokenizer.Encode(a, false)
		if err != nil {
			return nil, fmt.Errorf("answer %q: %w", a, err)
		}
		all = append(all, tokens)
	}
	return all, nil
}

// candidate is an example with another answer, of n tokens, cut as the example
// itself would be. That a text ends there is not compared.
func (e *evaluator) candidate(x dataset.Example, answer string, n int) (Sequence, error) {
	encoder := *e.encoder
	encoder.LearnPrompt = false
	x.Pieces = []dataset.Piece{{Text: x.Prompt()}, {Text: answer, Learn: true}}
	s, _, err := encoder.Sequence(x)
	if err != nil {
		return s, err
	}
	if s.Labels() > n {
		s.Targets[s.Last()] = dataset.None
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

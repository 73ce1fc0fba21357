package main

import (
	"errors"
	"path/filepath"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training"
	"github.com/peft-serve/peft-serve/training/dataset"
	"github.com/peft-serve/peft-serve/training/metric"
)

// rows are those of a task, as the trainer and the server see them.
type rows struct {
	name, dir  string
	task       *dataset.Task
	base       *training.Opened
	train, dev *dataset.Set
}

func (b *bench) open(name string) (r *rows, err error) {
	r = &rows{name: name, dir: filepath.Join(b.data, name)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.task, err = dataset.NewTask(name); err != nil {
		return r, err
	}
	if r.base, err = training.Open(b.base, training.BaseConfig{}); err != nil {
		return r, err
	}
	c := r.base.Model.Config()
	head, err := c.Head(models.Classify)
	if err != nil {
		return r, err
	}
	encoder := &dataset.Encoder{
		Tokenizer: r.base.Tokenizer, End: -1, Vocabulary: c.Vocabulary, MaxLength: c.Context, Head: head, Types: c.TokenTypes > 1,
	}
	options := dataset.Options{Task: r.task, Header: r.task.Header, Labels: r.task.Labels()}
	train, dev := r.task.Files(r.dir)
	if r.train, err = dataset.Open([]string{train}, encoder, options); err != nil {
		return r, err
	}
	r.dev, err = dataset.Open([]string{dev}, encoder, options)
	return r, err
}

func (r *rows) close() error {
	var errs []error
	for _, s := range []*dataset.Set{r.train, r.dev} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if r.base != nil {
		errs = append(errs, r.base.Close())
	}
	return errors.Join(errs...)
}

// steps are as many as have the tokens, on average.
func (r *rows) steps(tokens int) int {
	report := r.train.Report()
	each := report.Tokens * batchSize
	return max(1, (tokens*report.Records+each-1)/each)
}

// measured are the task's measures of what a head has made of the rows to validate on.
func (r *rows) measured(scores [][]float64) (map[string]float64, error) {
	var labels, chosen []int
	var wanted, got []float64
	for i := range r.dev.Len() {
		x, err := r.dev.Example(i)
		if err != nil {
			return nil, err
		}
		labels, chosen = append(labels, x.Label), append(chosen, highest(scores[i]))
		if r.task.Classes == nil {
			wanted, got = append(wanted, float64(x.Values[0])), append(got, scores[i][0])
		}
	}
	all := map[string]float64{}
	for _, name := range r.task.Metrics {
		if measure := metric.OfLabels(name); measure != nil {
			all[name] = measure(labels, chosen)
		} else {
			all[name] = metric.OfValues(name)(wanted, got)
		}
	}
	return all, nil
}

// highest is the number of the highest score, of equal ones the lowest.
func highest(scores []float64) int {
	best := 0
	for i, v := range scores {
		if v > scores[best] {
			best = i
		}
	}
	return best
}

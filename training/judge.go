package training

import (
	"context"
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
	"github.com/peft-serve/peft-serve/training/metric"
)

// headScores returns those of the rows that predict, of a batch for a head, as the server
// answers with them before it makes probabilities of them, and the rows' losses.
func (e *evaluator) headScores(batch []Sequence) (scores kernels.Matrix, losses []float64) {
	e.rows.fill(batch, e.adapter, e.objective.Head)
	h := e.model.Forward(e.pass, &e.rows.Batch, nil)
	v := e.objective.Head.Forward(e.pass, &e.rows.Batch, 0, h)
	scores = kernels.NewMatrix(v.Rows(), e.objective.Classes)
	scores.Copy(v.Data)
	losses = make([]float64, v.Rows())
	e.objective.judge(e.pass, losses, v.Data, &e.rows, 0)
	e.pass.Free(h, v)
	return scores, losses
}

// judged is what a head has made of a set, and what was wanted.
type judged struct {
	labels, chosen []int      // of classes that exclude each other
	wanted, got    []float64  // of a regression
	right, marked  [][]bool   // of several labels, a decision a class
	tags, found    [][]string // of the words of each text, of classes that are entities' tags
}

// judge measures a head.
func (e *evaluator) judge(ctx context.Context, set dataset.Examples) (Scores, error) {
	loss, weight := 0.0, 0.0
	var all judged
	err := batches(ctx, set.Len(), set.Sequence, func(_ int, batch []Sequence) error {
		scores, losses := e.headScores(batch)
		loss += total(losses)
		row := 0
		for _, s := range batch {
			weight += e.objective.weight(s)
			if e.each != nil {
				e.each(scores.Span(row, row+s.Labels()))
			}
			row += s.Labels()
		}
		all.add(e.objective.Problem, scores, &e.rows)
		if e.objective.entities() {
			all.tagged(batch, e.objective.Names)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s := Scores{"loss": loss / weight}
	for _, m := range headMetrics(&e.objective) {
		s[m.name] = m.of(&all)
	}
	return s, nil
}

func (j *judged) add(problem models.Problem, scores kernels.Matrix, r *rows) {
	for i := range scores.Rows {
		row := scores.Row(i)
		switch problem {
		case models.Regression:
			j.wanted, j.got = append(j.wanted, float64(r.wanted[i])), append(j.got, float64(row[0]))
		case models.MultiLabel:
			right, chosen := make([]bool, len(row)), make([]bool, len(row))
			for c, v := range row {
				right[c], chosen[c] = r.wanted[i*len(row)+c] > 0, v > 0 // a probability over one half
			}
			j.right, j.marked = append(j.right, right), append(j.marked, chosen)
		default:
			j.labels, j.chosen = append(j.labels, int(r.targets[i])), append(j.chosen, kernels.ArgMax(row))
		}
	}
}

// entities reports whether the classes are tags of entities.
func (o *Objective) entities() bool { return o.Head.Task == models.Tag && metric.IsIOB2(o.Names) }

// tagged adds the tags of the last texts.
func (j *judged) tagged(batch []Sequence, names []string) {
	words := 0
	for _, s := range batch {
		words += s.Labels()
	}
	at := len(j.labels) - words
	for _, s := range batch {
		var want, got []string
		for range s.Labels() {
			want, got = append(want, names[j.labels[at]]), append(got, names[j.chosen[at]])
			at++
		}
		j.tags, j.found = append(j.tags, want), append(j.found, got)
	}
}

// A headMetric is measured of a head beside the loss.
type headMetric struct {
	name string
	of   func(j *judged) float64
}

// headMetrics are those of an objective, the first of them the one that tells most.
func headMetrics(o *Objective) []headMetric {
	accuracy := headMetric{"accuracy", func(j *judged) float64 { return metric.Accuracy(j.labels, j.chosen) }}
	switch {
	case o.Problem == models.Regression:
		return []headMetric{
			{"pearson", func(j *judged) float64 { return metric.Pearson(j.wanted, j.got) }},
			{"spearman", func(j *judged) float64 { return metric.Spearman(j.wanted, j.got) }},
		}
	case o.Problem == models.MultiLabel:
		return []headMetric{
			{"f1", func(j *judged) float64 { return metric.MultiLabelF1(j.right, j.marked) }},
			{"accuracy", func(j *judged) float64 { return metric.Subset(j.right, j.marked) }},
		}
	case o.Problem == models.SingleLabel && o.Classes == 2:
		return []headMetric{
			accuracy,
			{"f1", func(j *judged) float64 { return metric.F1(j.labels, j.chosen) }},
			{"matthews", func(j *judged) float64 { return metric.Matthews(j.labels, j.chosen) }},
		}
	}
	if o.entities() {
		return []headMetric{{"f1", func(j *judged) float64 { return metric.Entities(j.tags, j.found).F1 }}, accuracy}
	}
	return []headMetric{accuracy}
}

// lowers are the metrics of which less is better.
var lowers = []string{"loss", "perplexity", "bits_per_byte"}

// measures are the metrics of a validation.
func (r *Run) measures() []string {
	if r.recipe != nil {
		if r.held == nil {
			return nil
		}
		return compareMeasures(r.held)
	}
	names := []string{"loss"}
	if r.heads != nil {
		for _, m := range headMetrics(&r.Trainer.Objective) {
			names = append(names, m.name)
		}
		return names
	}
	names = append(names, "perplexity")
	if r.task != nil {
		names = append(names, r.task.Metrics...)
	}
	if _, ok := r.held.(*dataset.Corpus); ok {
		names = append(names, "bits_per_byte")
	}
	return names
}

// shown is what a head has made of the first examples, for the report.
func (e *evaluator) shown(set dataset.Examples, n int, names []string) ([]Sample, error) {
	var all []Sample
	for i := range n {
		x, err := set.Example(i)
		if err != nil {
			return nil, err
		}
		s, err := set.Sequence(i)
		if err != nil {
			return nil, err
		}
		scores, _ := e.headScores([]Sequence{s})
		sample := Sample{Prompt: x.Text}
		if x.Second != nil {
			sample.Prompt += "\n\n" + *x.Second
		}
		sample.Want, sample.Got = e.objective.told(s, scores, names)
		all = append(all, sample)
	}
	return all, nil
}

// told is what was wanted of a text and what a head has made of it, in words.
func (o *Objective) told(s Sequence, scores kernels.Matrix, names []string) (want, got string) {
	switch o.Problem {
	case models.Regression:
		return fmt.Sprintf("%.4g", s.Values[0]), fmt.Sprintf("%.4g", scores.Row(0)[0])
	case models.MultiLabel:
		for c, name := range names {
			if s.Values[c] > 0 {
				want += name + " "
			}
			if scores.Row(0)[c] > 0 {
				got += name + " "
			}
		}
		return want, got
	}
	row := 0
	for _, t := range s.Targets {
		if t >= 0 {
			want += names[t] + " "
			got += names[kernels.ArgMax(scores.Row(row))] + " "
			row++
		}
	}
	return want, got
}

package training

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Assessment is what Assess measures, and on what.
type Assessment struct {
	Data      []string
	Task      string // a GLUE task; empty: Format
	Format    string
	Columns   dataset.Columns
	Turns     string // one of dataset.Turns: what is measured of a conversation
	MaxLength int
	Adapter   *adapters.Folder // nil: the base
	// ExactMatch has the model answer every prompt in up to so many tokens,
	// and counts the answers that are the completion, but for spaces around.
	ExactMatch int
	Limit      int // examples; 0: all
	Threads    int
	// Objective is "contrastive" where the embeddings of texts are measured; empty: the
	// head that there is, or text.
	Objective string
	// Each hears the scores that a head makes of each example, in their order, before
	// probabilities are made of them: a row, or one for each word that has a tag; or the
	// embeddings of the example's texts. nil: nobody does.
	Each func(scores kernels.Matrix)
	// Note hears what of the settings has no effect; nil: nobody does.
	Note func(format string, a ...any)
}

// Assess measures a base, or an adapter on it, as the server computes it.
func Assess(ctx context.Context, base *Opened, a Assessment) (s Scores, samples []Sample, err error) {
	e := &evaluator{model: base.Model, each: a.Each}
	if a.Adapter != nil {
		own, err := adapters.Load(base.Model, a.Adapter)
		if err != nil {
			return nil, nil, err
		}
		if own.Vocabulary() < base.Model.Config().Vocabulary { // of which the data's tokens are
			return nil, nil, own.Resized(base.Model)
		}
		e.adapter = own
	}
	head, err := a.measured(base, e)
	if err != nil {
		return nil, nil, err
	}
	longest := room(base.Model, e.adapter)
	if a.ExactMatch >= longest {
		return nil, nil, fmt.Errorf("--exact-match: %d tokens of an answer leave no room for a prompt: the context has %d", a.ExactMatch, longest)
	}
	length := within(a.MaxLength, longest)
	if r := e.objective.Recipe; r != nil {
		length = r.Longest(length)
	}
	e.encoder = base.encoder(length)
	e.encoder.Invocation, e.encoder.Head, e.encoder.Recipe = invocation(e.adapter), e.objective.Head, e.objective.Recipe
	o := dataset.Options{Format: a.Format, Columns: a.Columns, Chat: base.conversations(a.Turns, time.Now())}
	data := a.Data
	var task *dataset.Task
	if a.Task != "" {
		if task, err = dataset.NewTask(a.Task); err != nil {
			return nil, nil, err
		}
		o.Task, o.Header = task, task.Header
		if len(data) == 1 && isFolder(data[0]) {
			_, dev := task.Files(data[0])
			data = []string{dev}
		}
	}
	o.Labels = head
	set, err := dataset.Read(data, e.encoder, o)
	if err != nil {
		return nil, nil, fmt.Errorf("--data: %w", err)
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	if a.Note != nil {
		noteColumns(a.Columns, set.Reads(), a.Note)
	}
	if a.Limit > 0 {
		set.Keep(a.Limit)
	}
	pool := kernels.NewPool(a.Threads)
	defer pool.Close()
	e.pass = models.NewPass(pool)
	if s, err = e.evaluate(ctx, set, task); err != nil || a.ExactMatch == 0 {
		return s, nil, err
	}
	samples, err = e.samples(ctx, set, set.Len(), a.ExactMatch, base.Ends)
	if err != nil {
		return s, nil, err
	}
	right := 0
	for _, x := range samples {
		if strings.TrimSpace(x.Got) == strings.TrimSpace(x.Want) {
			right++
		}
	}
	s["exact_match"] = float64(right) / float64(len(samples))
	return s, samples, nil
}

// assessedRows is the number of rows that the loss of embeddings compares at once: that
// of a run's micro-batch, if nothing else is said.
const assessedRows = 8

// measured settles what e measures; the labels are nil where it is no head.
func (a *Assessment) measured(base *Opened, e *evaluator) (_ *dataset.Labels, err error) {
	switch {
	case a.Objective == "":
		return a.head(base.Model, e)
	case a.Objective != contrasts:
		return nil, fmt.Errorf("--objective: %q is not measured by name: want %s, or nothing for a head or text", a.Objective, contrasts)
	case a.Task != "" || a.ExactMatch > 0:
		return nil, fmt.Errorf("--task and --exact-match: go without --objective %s", contrasts)
	}
	if err := formless(a.Format, a.Turns); err != nil {
		return nil, err
	}
	if err := base.Model.Config().Architecture.Check(models.Encode); err != nil {
		return nil, err
	}
	e.batch = assessedRows
	e.objective.Recipe, err = base.recipe()
	return nil, err
}

// head is what the head of the adapter or of the base tells apart, which e then measures;
// nil: there is none, and text is measured.
func (a *Assessment) head(m models.Model, e *evaluator) (*dataset.Labels, error) {
	c := m.Config()
	classes := c.Classes
	if own, ok := e.adapter.(*adapters.Adapter); ok && own.Classes() != nil {
		classes = own.Classes()
	}
	if classes == nil {
		err := c.Architecture.Check(models.Generate)
		switch {
		case err == nil:
		case e.adapter == nil:
			err = fmt.Errorf("--base: it has no head to measure: --adapter names the folder of an adapter that has one: %w", err)
		default:
			err = fmt.Errorf("--adapter: it has no head to measure, and the base has none: %w", err)
		}
		return nil, err
	}
	if a.ExactMatch > 0 {
		return nil, fmt.Errorf("--exact-match: a head answers with no text")
	}
	if err := formless(a.Format, a.Turns); err != nil {
		return nil, err
	}
	l := &dataset.Labels{Classes: *classes}
	if l.Task == models.Classify {
		l.Problem = solved(classes)
	}
	head, err := c.HeadOf(classes)
	e.objective = Objective{Head: head, Problem: l.Problem, Classes: len(l.Names), Names: l.Names}
	return l, err
}

// solved is the problem of a head, which transformers' training takes for a regression
// where there is one class and nothing says otherwise.
func solved(c *models.Classes) models.Problem {
	switch {
	case c.Problem != "":
		return c.Problem
	case len(c.Names) == 1:
		return models.Regression
	}
	return models.SingleLabel
}

// Ends reports whether a token ends a text.
func (o *Opened) Ends(token int32) bool {
	return token == o.End() || slices.Contains(o.Model.Config().EOS, token)
}

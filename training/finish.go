package training

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
)

// finish validates, saves, reads what was saved back, and publishes it.
func (r *Run) finish(ctx context.Context, s *Summary) error {
	r.measured(s)
	if r.held != nil && r.at.ScoredAt != r.at.Step {
		last := StepReport{Step: r.at.Step, Epoch: r.epoch()}
		if err := r.validate(ctx, last); err != nil {
			return err
		}
	}
	err := r.sound()
	if err == nil && r.KeepCheckpoint && r.Output != "" {
		err = r.checkpoint(ctx, lastCheckpoint)
	}
	if err != nil {
		return err
	}
	r.Trainer.Release()
	s.Validation = r.at.Scores
	if r.Best && r.Output != "" && r.at.BestAt != r.at.Step {
		r.observer.Note("ending with the parameters of step %d, which validated best", r.at.BestAt)
		if _, err := r.restoreFrom(bestCheckpoint); err != nil {
			return err
		}
		if s.Validation = r.at.BestScores; s.Validation == nil { // an older checkpoint
			scores, err := r.evaluate(ctx, r.held)
			if err != nil {
				return err
			}
			s.Validation = scores
		}
	}
	if r.Output == "" {
		return nil
	}
	if err := r.deliver(ctx, s); err != nil {
		return err
	}
	if err := r.mark(finished, s.Digest); err != nil {
		return err
	}
	if err := r.dropAfter(); err != nil {
		return err
	}
	if r.Config.Publish != "" {
		return r.send(ctx)
	}
	return nil
}

// dropAfter removes the checkpoints that a finished run does not keep.
func (r *Run) dropAfter() error {
	switch {
	case !r.KeepCheckpoint:
		return r.drop(lastCheckpoint, bestCheckpoint)
	case r.at.KeptAt != r.at.BestAt: // it was there in case the run diverged
		return r.drop(bestCheckpoint)
	}
	return nil
}

// measured sets what the steps have come to.
func (r *Run) measured(s *Summary) {
	s.Peak, s.Plan, s.Resident = r.Trainer.Account(), r.plan, ResidentPeak()
	s.Parameters, s.Steps = count(r.Trainer.Method.Parameters()), r.at.Step
	if r.at.Seconds > 0 {
		s.Speed = float64(r.at.Timed) / r.at.Seconds
	}
}

// deliver saves, reads back what was saved, and reports.
func (r *Run) deliver(ctx context.Context, s *Summary) error {
	if err := r.withRoom(ctx, func() error { return r.save(s) }); err != nil {
		return err
	}
	if err := r.verify(s); err != nil {
		return err
	}
	return r.report(context.WithoutCancel(ctx), s) // seconds of work: all is there
}

// keep writes, of a run that has validated nothing that is kept, the parameters
// of the lowest running mean of the training loss: it is what there is to save
// if the run diverges. It is called before a step changes them, when their own
// loss is known, and looks at those of steps 1, 2, 4, 8, … and of every tenth of
// the run.
func (r *Run) keep(ctx context.Context, loss float64) error {
	step, mean := r.at.Step, loss
	if r.at.Trend != 0 {
		mean = 0.9*r.at.Trend + 0.1*loss
	}
	r.at.Trend = mean
	validated := r.at.KeptAt > 0 && r.at.KeptAt == r.at.BestAt
	due := step > 0 && (step&(step-1) == 0 || step%((r.steps+9)/10) == 0)
	if r.Output == "" || validated || !due || r.at.KeptAt > 0 && mean >= r.at.KeptTrend {
		return nil
	}
	return r.checkpoint(ctx, bestCheckpoint)
}

// salvage saves, of a run that has diverged, the parameters that are kept as the
// best or else those of the last checkpoint, and adds to the fault what it has
// done. Where there is neither, the first step has done it: nothing has been
// learnt, and the folder stays as it is.
func (r *Run) salvage(fault error, s *Summary) error {
	if r.Output == "" {
		return fault
	}
	r.measured(s)
	r.Trainer.Release()
	from := bestCheckpoint
	switch {
	case r.at.KeptAt > 0:
	case r.at.SavedAt > 0:
		from = lastCheckpoint
	default:
		return errors.Join(fmt.Errorf("%w\nNothing is saved in %s: the parameters of the first step compute nothing finite", fault, r.Output), r.mark(diverged, ""))
	}
	at, err := r.restoreFrom(from)
	if err != nil {
		return fmt.Errorf("%w\nWhat is kept cannot be used: %w", fault, err)
	}
	s.Steps, s.Loss = at.Step, at.Loss
	s.Kept = fmt.Sprintf("the parameters of step %d, ", at.Step)
	switch {
	case from == bestCheckpoint && at.BestAt == at.Step:
		s.Validation = at.BestScores
		s.Kept += "which validated best"
	case from == bestCheckpoint:
		s.Kept += "where the training loss was lowest"
	default:
		s.Kept += "the last checkpoint's"
	}
	err = r.sound()
	if err == nil {
		err = r.deliver(context.Background(), s)
	}
	if err == nil {
		err = r.mark(diverged, s.Digest)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s are in %s, but could not be saved: %w", fault, s.Kept, filepath.Join(r.Output, from), err)
	}
	return fmt.Errorf("%w\nSaved in %s: %s", fault, r.Output, s.Kept)
}

// save writes the adapter, or the model, with a README.md.
func (r *Run) save(s *Summary) error {
	if a, ok := r.Trainer.Method.(*Adapted); ok {
		if err := a.Trainee.Save(r.Output); err != nil {
			return err
		}
	} else if err := SaveModel(r.Output, r.Base, r.Trainer.Method.(*Blocks), r.DType); err != nil {
		return err
	} else if err := r.saveRecipe(); err != nil {
		return err
	}
	readme := r.readme(s)
	if r.Base.begun != nil {
		readme = r.card(s)
	}
	return disk.Write(filepath.Join(r.Output, "README.md"), readme)
}

// saveRecipe writes how embeddings are made, where a model has learnt them; what the
// folder says of another model's is of no use in any case.
func (r *Run) saveRecipe() error {
	if r.recipe == nil {
		return pooling.Forget(r.Output)
	}
	return r.recipe.Save(r.Output, r.Base.Model.Config().Hidden)
}

// sampled is how many sequences of the data are computed again with what was saved.
const sampled = 2

// sample is the first sequences of the data.
func (r *Run) sample() ([]Sequence, error) {
	var batch []Sequence
	for i := range min(sampled, r.train.Len()) {
		q, err := r.train.Sequence(i)
		if err != nil {
			return nil, err
		}
		batch = append(batch, q)
	}
	return batch, nil
}

// sound returns ErrDiverged where the parameters compute no finite logits for
// the first sequences of the data.
func (r *Run) sound() error {
	batch, err := r.sample()
	if err != nil {
		return err
	}
	made, err := r.outputs(r.Base.Model, r.served(), r.recipe, batch)
	if err != nil {
		return err
	}
	for _, v := range made.Data {
		if v-v != 0 {
			return fmt.Errorf("after step %d: a %s is %v: %w", r.at.Step, r.output(), v, ErrDiverged)
		}
	}
	return nil
}

// verify reads the output as the server would and demands the same logits, to
// the bit, for the first sequences of the data.
func (r *Run) verify(s *Summary) error {
	batch, err := r.sample()
	if err != nil {
		return err
	}
	model, adapter, recipe, again := r.Base.Model, models.Adapter(nil), r.recipe, batch
	if _, ok := r.Trainer.Method.(*Adapted); ok {
		folder, err := adapters.Open(r.Output)
		if err != nil {
			return fmt.Errorf("the saved adapter cannot be read back: %w", err)
		}
		a, err := adapters.Load(model, folder)
		if err != nil {
			return fmt.Errorf("the saved adapter cannot be read back: %w", err)
		}
		adapter, s.Digest = a, a.Digest()
	} else {
		m, source, err := models.Open(r.Output, models.Options{IgnoreConfigKeys: r.IgnoreConfigKey})
		if err != nil {
			return fmt.Errorf("the saved model cannot be read back: %w", err)
		}
		defer func() { _ = source.Close() }()
		if model = m; recipe != nil {
			if recipe, again, err = r.savedRecipe(m); err != nil {
				return fmt.Errorf("the saved model cannot be read back: %w", err)
			}
		}
	}
	var want kernels.Matrix
	if err := r.asSaved(func() (err error) { want, err = r.outputs(r.Base.Model, r.served(), r.recipe, batch); return err }); err != nil {
		return err
	}
	got, err := r.outputs(model, adapter, recipe, again)
	if err != nil {
		return fmt.Errorf("the saved model cannot be read back: %w", err)
	}
	f, ok := r.Trainer.Method.(*Blocks)
	return r.same(got, want, ok && !f.base.savedAs(precisions[r.DType]))
}

// savedRecipe reads how the embeddings of the saved model m are made, and makes of the
// first texts of the data the sequences that it has of them.
func (r *Run) savedRecipe(m models.Model) (*pooling.Recipe, []Sequence, error) {
	own, err := pooling.Load(r.Output)
	if err != nil {
		return nil, nil, err
	}
	recipe, err := Embeddings(own, m.Config())
	if err != nil {
		return nil, nil, err
	}
	encoder := *r.encoder
	encoder.Recipe = recipe
	var batch []Sequence
	for i := range min(sampled, r.train.Len()) {
		x, err := r.train.Example(i)
		if err != nil {
			return nil, nil, err
		}
		q, _, err := encoder.Sequence(x)
		if err != nil {
			return nil, nil, err
		}
		batch = append(batch, q)
	}
	return recipe, batch, nil
}

// rounding is how far logits may be apart, of their largest, where what was
// read in a quantised form is read back in float32.
const rounding = 1e-3

// same demands equal bits, or where the weights' stored form has changed that
// nothing but rounding sets the two apart.
func (r *Run) same(got, want kernels.Matrix, changed bool) error {
	if got.Cols != want.Cols {
		return fmt.Errorf("%s: read back, it has %d of a %s in a row, and had %d", r.Output, got.Cols, r.output(), want.Cols)
	}
	most, scale := 0.0, 0.0
	for i := range want.Rows {
		for k, v := range want.Row(i) {
			w := got.Row(i)[k]
			if w != v && (!changed || w != w) {
				return fmt.Errorf("%s: read back, it computes another %s: row %d, column %d: %v, was %v", r.Output, r.output(), i, k, w, v)
			}
			most, scale = max(most, math.Abs(float64(w-v))), max(scale, math.Abs(float64(v)))
		}
	}
	if most > rounding*scale {
		return fmt.Errorf("%s: read back, what it computes (a %s) is off by %.2g of %.2g", r.Output, r.output(), most, scale)
	}
	if changed {
		r.observer.Note("%s: read back, what it computes (a %s) is off by %.1g of %.1g: the base's quantised weights are F32 now", r.Output, r.output(), most, scale)
		return nil
	}
	r.observer.Note("%s: read back, it computes the same bits", r.Output)
	return nil
}

// outputs are the embeddings that a recipe makes, the scores of the head that is trained,
// or else the logits, of what predicts something.
func (r *Run) outputs(m models.Model, a models.Adapter, recipe *pooling.Recipe, batch []Sequence) (kernels.Matrix, error) {
	switch {
	case recipe != nil:
		e := &evaluator{model: m, adapter: a, objective: Objective{Recipe: recipe}, pass: models.NewPass(r.pool)}
		made := kernels.NewMatrix(len(batch), recipe.Width(m.Config().Hidden))
		for i, row := range e.embeddings(batch) {
			copy(made.Row(i), row)
		}
		return made, nil
	case r.heads == nil:
		return logits(r.pool, m, a, batch), nil
	}
	head, err := m.Config().Head(r.heads.Task)
	if err != nil {
		return kernels.Matrix{}, err
	}
	e := &evaluator{model: m, adapter: a, objective: r.Trainer.Objective, pass: models.NewPass(r.pool)}
	e.objective.Head = head
	scores, _ := e.headScores(batch)
	return scores, nil
}

// output is what outputs are called.
func (r *Run) output() string {
	switch {
	case r.recipe != nil:
		return "value of an embedding"
	case r.heads == nil:
		return "logit"
	}
	return "score"
}

// logits of the positions that predict something.
func logits(pool *kernels.Pool, m models.Model, a models.Adapter, batch []Sequence) kernels.Matrix {
	var b rows
	b.fill(batch, a, nil)
	if len(b.Out) > 64 {
		b.Out = b.Out[:64]
	}
	p := models.NewPass(pool)
	h := m.Forward(p, &b.Batch, nil)
	defer p.Free(h)
	return m.Head(p, &b.Batch, 0, h).Data
}

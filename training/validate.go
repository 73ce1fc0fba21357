package training

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// due reports whether to validate now.
func (r *Run) due() bool {
	return r.held != nil && r.EvalEvery > 0 && r.at.Step > 0 && r.at.Step%r.EvalEvery == 0 && r.at.ScoredAt != r.at.Step
}

// stalled reports whether to stop early.
func (r *Run) stalled() bool { return r.Patience > 0 && r.at.Stalled >= r.Patience }

// validate measures the model as it is and keeps it where it is the best yet.
func (r *Run) validate(ctx context.Context, report StepReport) error {
	scores, err := r.evaluate(ctx, r.held)
	if err != nil {
		if ctx.Err() != nil {
			err = r.interrupt(ctx)
		}
		return err
	}
	if loss := scores["loss"]; loss-loss != 0 {
		return fmt.Errorf("validation after step %d: the loss is %v: %w", report.Step, loss, ErrDiverged)
	}
	if err := r.record(ctx, StepReport{Step: report.Step, Epoch: report.Epoch, Validation: scores}); err != nil {
		return err
	}
	r.at.Scores, r.at.ScoredAt = scores, r.at.Step
	v := r.goodness(scores)
	if r.at.BestAt != 0 && v <= r.at.Best {
		r.at.Stalled++
		return nil
	}
	r.at.Best, r.at.BestAt, r.at.BestScores, r.at.Stalled = v, r.at.Step, scores, 0
	if _, small := r.Trainer.Method.(*Adapted); r.Output == "" || !r.Best && !small && r.at.Step == r.steps {
		return nil // or a model at its end, which is saved in a moment
	}
	return r.checkpoint(ctx, bestCheckpoint) // there to be had if the run diverges
}

// best is the metric that the best checkpoint is chosen by: the task's first, or the loss,
// unless it is named.
func (r *Run) best() string {
	if r.BestMetric == "" && r.Task != "" {
		if task, err := dataset.NewTask(r.Task); err == nil {
			return task.Metrics[0]
		}
	}
	return cmp.Or(r.BestMetric, "loss")
}

// goodness is the number that the best checkpoint has most of.
func (r *Run) goodness(s Scores) float64 {
	v := s[r.best()]
	if slices.Contains(lowers, r.best()) {
		return -v
	}
	return v
}

func (r *Run) evaluate(ctx context.Context, set dataset.Examples) (Scores, error) {
	e := r.evaluator()
	var scores Scores
	err := r.asSaved(func() (err error) { scores, err = e.evaluate(ctx, set, r.task); return err })
	return scores, err
}

// evaluator computes as the server does with what the run has come to.
func (r *Run) evaluator() *evaluator {
	return &evaluator{model: r.Base.Model, adapter: r.served(), objective: r.Trainer.Objective, encoder: r.encoder, pass: models.NewPass(r.pool), batch: r.BatchSize}
}

// asSaved calls f with the weights as they will be saved.
func (r *Run) asSaved(f func() error) error {
	if b, ok := r.Trainer.Method.(*Blocks); ok {
		return b.base.asSaved(precisions[r.DType], f)
	}
	return f()
}

// served is the adapter as the server computes it; nil: the base.
func (r *Run) served() models.Adapter {
	if a, ok := r.Trainer.Method.(*Adapted); ok {
		return a.Trainee.Adapter
	}
	return nil
}

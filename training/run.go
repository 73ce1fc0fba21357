package training

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Observer hears how a run goes on.
type Observer interface {
	Note(format string, a ...any)
	Start(steps, from int)
	Step(r StepReport)
	Validated(r StepReport)
}

// Run is a configured run: base, data and method are open.
type Run struct {
	Config
	Base    *Opened
	Trainer *Trainer

	observer Observer
	pool     *kernels.Pool
	task     *dataset.Task   // of prompts and answers; nil: none
	heads    *dataset.Labels // what a head learns; nil: text is learnt
	recipe   *pooling.Recipe // of embeddings that are compared; nil: they are not
	encoder  *dataset.Encoder
	train    dataset.Examples
	held     dataset.Examples // nil: nothing to validate on
	order    dataset.Order
	steps    int
	at       Progress
	metrics  *journal      // nil: nobody reads them
	was      mark          // what the output folder was before
	made     []string      // folders made for a run that has not begun
	plan     Account       // what Plan has counted
	settings string        // what the bits depend on: see dependsOn
	keeping  time.Duration // of the last step: see keep
	now      time.Time     // what a chat template is told, on resuming too
}

// Summary is what a run came to.
type Summary struct {
	Steps      int
	Parameters int // trained
	Loss       float64
	Validation Scores // of what is saved
	Speed      float64
	Plan       Account
	Peak       Account
	Resident   int    // ResidentPeak of the training
	Digest     string // the saved adapter's; empty for a model
	Kept       string // of a run that has diverged: what it has saved
	Seconds    float64
}

// How a run ends that does not come to its end: it was stopped and can be
// resumed, its numbers stopped being numbers, or it had been there before.
var (
	ErrInterrupted = errors.New("interrupted")
	ErrDiverged    = errors.New("the run has diverged: a smaller --lr or --max-grad-norm may hold it")
	ErrFinished    = errors.New("the run is finished")
)

// NewRun opens data and method on a base. Every row is read once.
func NewRun(c Config, base *Opened, o Observer) (*Run, error) {
	r := &Run{Config: c, Base: base, observer: o, pool: kernels.NewPool(c.Threads)}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Run) open() error {
	if err := r.checkOutput(); err != nil {
		return err
	}
	var err error
	if r.heads, err = r.labels(); err != nil {
		return err
	}
	if r.heads != nil {
		if err := r.under(r.heads); err != nil {
			return err
		}
	}
	method, err := r.method(r.Base.Model, r.heads, r.observer.Note)
	if err != nil {
		return err
	}
	goal, err := r.objective()
	if err != nil {
		return err
	}
	if _, ok := method.(*Blocks); ok { // which ends in a folder with the base's configuration
		if _, err := r.Base.Source.FolderConfig(); err != nil {
			return err
		}
		if f := r.Base.Source.GGUF; f != nil {
			if err := tokenizer.CanWriteGGUF(f); err != nil {
				return fmt.Errorf("--method %s ends in a folder with the base's tokenizer: %w", r.Method, err)
			}
		}
	}
	r.stopClock()
	if err := r.openData(goal.Head, room(r.Base.Model, method.Adapter()), invocation(method.Adapter())); err != nil {
		return err
	}
	if r.held == nil && (r.Best || r.Patience > 0 || r.BestMetric != "") {
		return errors.New("--keep-best, --patience and --best-metric: nothing to validate on: name --validation or --validation-split")
	}
	o, err := r.optimizer()
	if err != nil {
		return err
	}
	if r.steps = r.MaxSteps; r.steps == 0 {
		if r.steps, err = r.stepsOf(r.Epochs); err != nil {
			return err
		}
	}
	warmup := r.Warmup
	if warmup == 0 {
		warmup = int(math.Ceil(r.WarmupOf * float64(r.steps)))
	}
	t := NewTrainer(r.pool, r.Base.Model, method)
	t.Objective = goal
	t.Optimizer, t.Rate, t.Clip = o, r.LR, r.Clip
	t.Schedule = Schedule{Kind: r.Schedule, Warmup: warmup, Steps: r.steps}
	t.Recompute(r.Checkpointing)
	switch {
	case r.Base.begun != nil:
		t.Grouping = SparingEmbeddings(r.Decay)
	case r.PlusRatio > 0 && slices.Contains(Reads(r.Method), "loraplus-lr-ratio"):
		t.Grouping = LoRAPlus(r.PlusRatio, r.PlusEmbedding, r.PlusDecay)
	default:
		t.Grouping = HuggingFace(r.Decay)
	}
	r.Trainer = t
	if names := r.measures(); r.held != nil && r.BestMetric != "" && !slices.Contains(names, r.BestMetric) {
		return fmt.Errorf("--best-metric: a validation measures no %q here: want one of %s", r.BestMetric, strings.Join(names, ", "))
	}
	if err := r.nameBase(); err != nil {
		return err
	}
	r.noteIdle()
	if r.Warmup > r.steps {
		r.observer.Note("--warmup-steps: %d are more than the run's %d steps: the rate does not come up to --lr", r.Warmup, r.steps)
	}
	r.settings = r.dependsOn()
	return nil
}

// optimizer makes the optimizer that method and settings ask for.
func (c *Config) optimizer() (Optimizer, error) {
	if c.Method == "galore" {
		return &GaLore{
			AdamW: AdamW{Beta1: c.Beta1, Beta2: c.Beta2, Epsilon: c.Epsilon},
			Rank:  c.GaloreRank, Gap: c.GaloreGap, Scale: c.GaloreScale, Seed: c.Seed,
		}, nil
	}
	return NewOptimizer(c.Optimizer, c.Beta1, c.Beta2, c.Epsilon, c.Momentum)
}

// openData opens what the run trains and validates on, for a head or, with nil, as text.
// longest is the longest sequence that the model takes.
func (r *Run) openData(head *models.Head, longest int, invocation []int32) error {
	length := within(r.MaxLength, longest)
	if r.recipe != nil {
		length = r.recipe.Longest(length)
	}
	r.encoder = r.Base.encoder(length)
	r.encoder.LearnPrompt, r.encoder.Invocation, r.encoder.Head = r.LearnPrompt, invocation, head
	r.encoder.Recipe = r.recipe
	o := dataset.Options{Format: r.Format, Columns: r.Columns, Chat: r.Base.conversations(r.Turns, r.now), Pack: r.Packing}
	data, validation := r.Data, r.Validation
	if r.Task != "" {
		task, err := dataset.NewTask(r.Task)
		if err != nil {
			return err
		}
		if o.Task, o.Header = task, task.Header; r.heads == nil {
			r.task = task
		}
		data, validation = r.files(task)
	}
	if r.heads != nil {
		o.Labels = r.heads
		r.observer.Note("labels: %s", r.told())
	}
	var err error
	if r.train, err = dataset.Read(data, r.encoder, o); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	report := r.train.Report()
	if r.recipe != nil && r.BatchSize == 1 {
		texts, err := r.train.Sequences(0)
		if err != nil {
			return err
		}
		if len(texts) == 2 && texts[0].Values == nil {
			return errors.New("--batch-size 1: a row has no other to be told from, so nothing is learnt: give 2 or more, or rows with a negative")
		}
	}
	if r.recipe != nil {
		r.observer.Note("embeddings: %s; compared are the texts of the %d rows of a micro-batch (--batch-size), whatever --grad-accum is", r.recipe.Describe(), r.BatchSize)
		r.observer.Note("data: %d records, %d tokens; longest %d", report.Records, report.Tokens, report.Longest)
	} else {
		r.observer.Note("data: %d records, %d tokens, %d to predict; longest %d", report.Records, report.Tokens, report.Labels, report.Longest)
	}
	if report.Cut > 0 {
		r.observer.Note("data: %d records are longer than %d tokens and were cut", report.Cut, length)
	}
	o.Pack = false
	switch {
	case len(validation) > 0:
		if r.held, err = dataset.Read(validation, r.encoder, o); err != nil {
			err = fmt.Errorf("--validation: %w", err)
		}
	case r.Split > 0:
		if r.held, err = r.train.Split(r.Split, r.Seed); err != nil {
			err = fmt.Errorf("--validation-split: %w", err)
		}
	}
	r.order = dataset.Order{Set: r.train, Seed: r.Seed, Shuffle: r.Shuffle}
	return err
}

// files are those that a task is trained and validated on.
func (r *Run) files(task *dataset.Task) (data, validation []string) {
	data, validation = r.Data, r.Validation
	if len(data) == 1 && isFolder(data[0]) {
		train, dev := task.Files(data[0])
		data = []string{train}
		if len(validation) == 0 && r.Split == 0 {
			validation = []string{dev}
		}
	}
	return data, validation
}

// within is --max-length, or what there is room for.
func within(length, room int) int {
	if length == 0 {
		return room
	}
	return min(length, room)
}

func isFolder(path string) bool {
	stat, err := os.Stat(path)
	return err == nil && stat.IsDir()
}

// Close ends the run's threads and closes its files; the base stays open. Of a
// run that has not begun no folder is left.
func (r *Run) Close() error {
	r.unmake()
	r.pool.Close()
	var errs []error
	for _, s := range []dataset.Examples{r.train, r.held} {
		if s != nil && (s == r.train || r.Split == 0) {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// Do trains to the end, or until ctx is done: then it writes a checkpoint and
// returns ErrInterrupted. A run that diverges leaves the best that it had, and
// returns ErrDiverged. Of a run that is finished already Do publishes the
// result, where it is asked to, and returns ErrFinished.
func (r *Run) Do(ctx context.Context) (*Summary, error) {
	if r.Config.Publish != "" {
		if err := r.checkServer(ctx); err != nil {
			return nil, err
		}
	}
	c, err := r.last()
	if errors.Is(err, ErrFinished) && r.Config.Publish != "" {
		if fault := r.send(ctx); fault != nil {
			return nil, fault
		}
	}
	if err != nil {
		return nil, err
	}
	if err := r.begin(); err != nil {
		return nil, err
	}
	r.Trainer.Method.Begin(0)
	if c != nil {
		if err := r.resume(c); err != nil {
			return nil, err
		}
	}
	if r.metrics, err = r.journal(c); err != nil {
		return nil, err
	}
	defer func() { _ = r.metrics.close() }()
	r.Trainer.BeforeUpdate = func(now Result) error {
		defer func(began time.Time) { r.keeping = time.Since(began) }(time.Now())
		return r.keep(ctx, now.Loss)
	}
	s := &Summary{Loss: r.at.Loss}
	began := time.Now()
	if err = r.advance(ctx, s); err == nil {
		s.Seconds = time.Since(began).Seconds()
		err = r.finish(ctx, s)
	}
	if errors.Is(err, ErrDiverged) {
		err = r.salvage(err, s)
	}
	return s, err
}

// advance takes the steps that are left.
func (r *Run) advance(ctx context.Context, s *Summary) error {
	r.observer.Start(r.steps, r.at.Step)
	if r.due() { // it was interrupted there
		if err := r.validate(ctx, StepReport{Step: r.at.Step, Epoch: r.epoch()}); err != nil {
			return err
		}
	}
	for r.at.Step < r.steps && !r.stalled() {
		if ctx.Err() != nil {
			return r.interrupt(ctx)
		}
		report, err := r.step()
		if err != nil {
			return err
		}
		s.Loss = report.Loss
		if err := r.record(ctx, report); err != nil {
			return err
		}
		if err := r.between(ctx, report); err != nil {
			return err
		}
	}
	if r.at.Step < r.steps {
		r.observer.Note("stopping early: %d validations since step %d have been no better", r.at.Stalled, r.at.BestAt)
	}
	return nil
}

// journal opens metrics.jsonl, in which a run that goes on with more steps says
// so.
func (r *Run) journal(c *checkpoint) (*journal, error) {
	if r.Output == "" {
		return nil, nil
	}
	path := filepath.Join(r.Output, "metrics.jsonl")
	j, err := openJournal(path, r.at.Step)
	if err != nil || !r.grown(c) {
		return j, err
	}
	line := StepReport{Step: c.Step, Epoch: r.epoch(), Extended: &Extension{From: c.Steps, To: r.steps}}
	said, err := readJournal(path)
	if n := len(said); err == nil && (n == 0 || !reflect.DeepEqual(said[n-1], line)) { // or it was killed, and is there again
		err = j.write(line)
	}
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

// step takes one step.
func (r *Run) step() (StepReport, error) {
	t := r.Trainer
	micro, err := r.batch(r.at.Step)
	if err != nil {
		return StepReport{}, err
	}
	rates := map[string]float64{}
	for _, g := range t.Grouping.Groups {
		rates[g.Name] = t.GroupRate(g)
	}
	began := time.Now()
	result, err := t.Advance(micro)
	if err != nil {
		return StepReport{}, err
	}
	took := (time.Since(began) - r.keeping).Seconds()
	r.at.Step, r.at.Tokens, r.at.Loss = t.Step, r.at.Tokens+result.Tokens, result.Loss
	r.at.Timed, r.at.Seconds = r.at.Timed+result.Tokens, r.at.Seconds+took
	account := t.Account()
	report := StepReport{
		Step: t.Step, Epoch: r.epoch(), Loss: result.Loss,
		Rates: rates, Norm: result.Norm, Tokens: result.Tokens, Bytes: &account,
	}
	if took > 0 { // or the clock is too coarse for it
		report.Speed = float64(result.Tokens) / took
	}
	if b, ok := t.Method.(*Blocks); ok && len(b.ActiveBlocks()) < t.Model.Config().Layers {
		report.Blocks = b.ActiveBlocks()
	}
	return report, nil
}

func (r *Run) record(ctx context.Context, report StepReport) error {
	if report.Validation != nil {
		r.observer.Validated(report)
	} else {
		r.observer.Step(report)
	}
	if r.metrics == nil {
		return nil
	}
	return r.withRoom(ctx, func() error { return r.metrics.write(report) })
}

// between validates and writes checkpoints where it is time to.
func (r *Run) between(ctx context.Context, report StepReport) error {
	if r.due() {
		if err := r.validate(ctx, report); err != nil {
			return err
		}
	}
	if r.SaveEvery > 0 && r.at.Step%r.SaveEvery == 0 && r.Output != "" {
		return r.checkpoint(ctx, lastCheckpoint)
	}
	return nil
}

func (r *Run) interrupt(ctx context.Context) error {
	if r.Output == "" {
		return fmt.Errorf("%w at step %d", ErrInterrupted, r.at.Step)
	}
	if err := r.checkpoint(ctx, lastCheckpoint); err != nil {
		return err
	}
	return fmt.Errorf("%w at step %d of %d: go on with --resume", ErrInterrupted, r.at.Step, r.steps)
}

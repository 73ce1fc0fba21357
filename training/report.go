package training

import (
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"time"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/training/dataset"
)

//go:embed report.html.tmpl
var reportText string

var reportTemplate = template.Must(template.New("report").Parse(reportText))

// report writes report.html: the recipe, curves, answers and the memory account.
func (r *Run) report(ctx context.Context, s *Summary) error {
	steps, err := readJournal(filepath.Join(r.Output, "metrics.jsonl"))
	if err != nil {
		return err
	}
	loss, err := curve("loss", steps, func(x StepReport) map[string]float64 {
		switch {
		case x.Extended != nil:
			return nil
		case x.Validation != nil:
			return map[string]float64{"validation": x.Validation["loss"]}
		}
		return map[string]float64{"training": x.Loss}
	})
	if err != nil {
		return err
	}
	rates, err := curve("learning rate", steps, func(x StepReport) map[string]float64 { return x.Rates })
	if err != nil {
		return err
	}
	norms, err := curve("gradient norm", steps, func(x StepReport) map[string]float64 {
		if x.Validation != nil || x.Extended != nil {
			return nil
		}
		return map[string]float64{"gradient norm": x.Norm}
	})
	if err != nil {
		return err
	}
	samples, err := r.samples(ctx)
	if err != nil {
		return err
	}
	type row struct {
		Name                  string
		Plan, Measured, Share string
	}
	memory := []row{}
	add := func(name string, plan, measured int) {
		memory = append(memory, row{name, Size(plan).String(), Size(measured).String(), fmt.Sprintf("%.1f %%", 100*float64(measured)/float64(max(s.Peak.Total(), 1)))})
	}
	add("model", s.Plan.Model, s.Peak.Model)
	add("gradients", s.Plan.Gradients, s.Peak.Gradients)
	add("optimizer", s.Plan.Optimizer, s.Peak.Optimizer)
	add("activations", s.Plan.Activations, s.Peak.Activations)
	add("all", s.Plan.Total(), s.Peak.Total())
	if s.Resident > 0 {
		memory = append(memory, row{"resident, the whole process", "", Size(s.Resident).String(), ""})
	}
	return disk.Replace(filepath.Join(r.Output, "report.html"), func(w io.Writer) error {
		return reportTemplate.Execute(w, map[string]any{
			"Name": filepath.Base(filepath.Clean(r.Output)), "Recipe": r.facts(s), "Version": r.Version,
			"Began": r.now.Format(dated), "Ended": time.Now().Format(dated),
			"Loss": loss, "Rates": rates, "Norms": norms, "Memory": memory, "Samples": samples, "Digest": s.Digest,
		})
	})
}

// dated is how the report writes times.
const dated = "2 January 2006, 15:04 MST"

// A comparison is an example with the base's answer beside that of what was
// trained.
type comparison struct {
	Sample
	Base *string // nil: a model was trained, and its base is no more
}

// samples are answers to the first examples.
func (r *Run) samples(ctx context.Context) (all []comparison, err error) {
	set := r.held
	if set == nil {
		set = r.train
	}
	if r.Samples == 0 {
		return nil, nil
	}
	e := r.evaluator()
	switch {
	case r.heads != nil:
		return r.headSamples(e, set)
	case r.recipe != nil:
		err = r.asSaved(func() (err error) { all, err = e.comparisons(set, min(r.Samples, set.Len())); return err })
		return all, err
	}
	const answer = 48 // tokens
	limit := answer
	if r.task != nil {
		limit = 4
	}
	if room(e.model, e.adapter) <= limit {
		return nil, nil
	}
	var trained, base []Sample
	n := min(r.Samples, set.Len())
	err = r.asSaved(func() (err error) {
		trained, err = e.samples(ctx, set, n, limit, r.Base.Ends)
		return err
	})
	if err == nil && e.adapter != nil {
		e.adapter = nil
		base, err = e.samples(ctx, set, n, limit, r.Base.Ends)
	}
	if err != nil {
		return nil, err
	}
	all = make([]comparison, n)
	for i, s := range trained {
		all[i].Sample = s
		if base != nil {
			all[i].Base = &base[i].Got
		}
	}
	return all, nil
}

// headSamples are what the head makes of the first examples.
func (r *Run) headSamples(e *evaluator, set dataset.Examples) (all []comparison, err error) {
	err = r.asSaved(func() error {
		samples, err := e.shown(set, min(r.Samples, set.Len()), r.heads.Names)
		for _, s := range samples {
			all = append(all, comparison{Sample: s})
		}
		return err
	})
	return all, err
}

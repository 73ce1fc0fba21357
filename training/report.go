package training

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"image/color"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/models"
)

//go:embed report.html.tmpl
var reportText string

var reportTemplate = template.Must(template.New("report").Parse(reportText))

// report writes report.html: curves, the memory account and samples.
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
	scores := []row{}
	for _, name := range slices.Sorted(maps.Keys(s.Validation)) {
		scores = append(scores, row{Name: name, Measured: fmt.Sprintf("%.4f", s.Validation[name])})
	}
	return disk.Replace(filepath.Join(r.Output, "report.html"), func(w io.Writer) error {
		return reportTemplate.Execute(w, map[string]any{
			"Name": filepath.Base(filepath.Clean(r.Output)), "Base": r.calledBase(), "Method": r.Method, "Steps": s.Steps,
			"Parameters": s.Parameters, "LastLoss": fmt.Sprintf("%.4f", s.Loss), "Speed": fmt.Sprintf("%.0f", s.Speed),
			"Loss": loss, "Rates": rates, "Memory": memory, "Scores": scores, "Samples": samples, "Digest": s.Digest,
		})
	})
}

// samples are answers to the first examples.
func (r *Run) samples(ctx context.Context) ([]Sample, error) {
	set := r.held
	if set == nil {
		set = r.train
	}
	if r.Samples == 0 {
		return nil, nil
	}
	e := &evaluator{model: r.Base.Model, adapter: r.served(), encoder: r.encoder, pass: models.NewPass(r.pool)}
	const answer = 48 // tokens
	limit := answer
	if r.task != nil {
		limit = 4
	}
	if room(e.model, e.adapter) <= limit {
		return nil, nil
	}
	var samples []Sample
	err := r.asSaved(func() (err error) {
		samples, err = e.samples(ctx, set, min(r.Samples, set.Len()), limit, r.Base.Ends)
		return err
	})
	return samples, err
}

// largestDrawn is what a run measures that is on its way to infinity: an axis
// with it shows nothing else.
const largestDrawn = 1e100

// palette is told apart by the colour-blind too (Okabe and Ito, 2008).
var palette = []color.Color{
	color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255},
}

// curve draws values by step as SVG, a line for each name.
func curve(title string, steps []StepReport, values func(StepReport) map[string]float64) (template.HTML, error) {
	lines := map[string]plotter.XYs{}
	for _, s := range steps {
		for name, v := range values(s) {
			if math.Abs(v) < largestDrawn {
				lines[name] = append(lines[name], plotter.XY{X: float64(s.Step), Y: v})
			}
		}
	}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "step", title
	p.Legend.Top = true
	for i, name := range slices.Sorted(maps.Keys(lines)) {
		line, err := plotter.NewLine(lines[name])
		if err != nil {
			return "", err
		}
		line.Color = palette[i%len(palette)]
		p.Add(line)
		if len(lines[name]) < 20 {
			points, err := plotter.NewScatter(lines[name])
			if err != nil {
				return "", err
			}
			points.Color = line.Color
			p.Add(points)
		}
		p.Legend.Add(name, line)
	}
	if room := 1e-6 * max(math.Abs(p.Y.Min), math.Abs(p.Y.Max)); p.Y.Min <= p.Y.Max && p.Y.Max-p.Y.Min < room {
		p.Y.Min, p.Y.Max = p.Y.Min-room, p.Y.Max+room // an axis of large numbers that are all but one has no ticks
	}
	canvas := vgsvg.New(9*vg.Inch, 4*vg.Inch)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	svg := b.Bytes()
	if i := bytes.Index(svg, []byte("<svg")); i >= 0 {
		svg = svg[i:]
	}
	return template.HTML(svg), nil // drawn here, from numbers and our own names
}

package training

import (
	"bytes"
	"cmp"
	"html/template"
	"image/color"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// largestDrawn is what a run measures that is on its way to infinity: an axis
// with it shows nothing else.
const largestDrawn = 1e100

// palette is told apart by the colour-blind too (Okabe and Ito, 2008), on white
// and on black.
var palette = []color.Color{
	color.RGBA{0, 135, 200, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255},
}

// axes is the colour of what frames the lines, on white and on black.
var axes = color.Gray{140}

// curve draws values by step as SVG, a line for each name, which stands at its
// end. Its letters are the page's.
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
	p.BackgroundColor = color.Transparent
	p.X.Label.Text = "step"
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color, axis.Tick.Color = axes, axes
	}
	for i, name := range slices.Sorted(maps.Keys(lines)) {
		line, err := plotter.NewLine(lines[name])
		if err != nil {
			return "", err
		}
		line.Color, line.Width = palette[i%len(palette)], vg.Points(1.25)
		p.Add(line)
		if len(lines[name]) < 20 {
			points, err := plotter.NewScatter(lines[name])
			if err != nil {
				return "", err
			}
			points.Color, points.Shape = line.Color, draw.CircleGlyph{}
			p.Add(points)
		}
	}
	if room := 1e-6 * max(math.Abs(p.Y.Min), math.Abs(p.Y.Max)); p.Y.Min <= p.Y.Max && p.Y.Max-p.Y.Min < room {
		p.Y.Min, p.Y.Max = p.Y.Min-room, p.Y.Max+room // an axis of large numbers that are all but one has no ticks
	}
	if len(lines) > 1 {
		if err := nameLines(p, lines); err != nil {
			return "", err
		}
	}
	canvas := vgsvg.New(9*vg.Inch, 3.2*vg.Inch)
	p.Draw(draw.Crop(draw.New(canvas), 0, -vg.Points(12), 0, 0)) // the last tick is wider than the axis
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	svg := b.Bytes()
	if i := bytes.Index(svg, []byte("<svg")); i >= 0 {
		svg = svg[i:]
	}
	return template.HTML(`<figure role="img" aria-label="` + template.HTMLEscapeString(title+" by step") + `">` + string(svg) + `</figure>`), nil // drawn here, from numbers and our own names
}

// nameLines writes each line's name beside its end, those that end close to each
// other one below the other.
func nameLines(p *plot.Plot, lines map[string]plotter.XYs) error {
	names := slices.Sorted(maps.Keys(lines))
	var ends plotter.XYLabels
	var styles []text.Style
	style := plot.New().X.Tick.Label
	style.XAlign, style.YAlign = text.XLeft, text.YCenter
	longest := 0
	for i, name := range names {
		ends.XYs, ends.Labels = append(ends.XYs, lines[name][len(lines[name])-1]), append(ends.Labels, name)
		style.Color = palette[i%len(palette)]
		styles = append(styles, style)
		longest = max(longest, len(name))
	}
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(ends.XYs[b].Y, ends.XYs[a].Y) })
	apart := (p.Y.Max - p.Y.Min) / 14 // the height of a letter
	for i := 1; i < len(order); i++ {
		ends.XYs[order[i]].Y = min(ends.XYs[order[i]].Y, ends.XYs[order[i-1]].Y-apart)
	}
	p.Y.Min = min(p.Y.Min, ends.XYs[order[len(order)-1]].Y)
	labels, err := plotter.NewLabels(ends)
	if err != nil {
		return err
	}
	labels.TextStyle, labels.Offset = styles, vg.Point{X: vg.Points(6)}
	last := p.X.Max
	p.Add(labels)
	p.X.Max = last + (last-p.X.Min)*0.013*float64(longest+1)
	return nil
}

package training

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCurves draws what a run that goes astray measures: values so large that
// they are all one to an axis, and such as cannot be drawn.
func TestCurves(t *testing.T) {
	for _, values := range [][]float64{
		nil, {1}, {0, 0}, {1e18, 1e18}, {1e18, math.Nextafter(1e18, 2e18)}, {-1e18, -1e18}, {1, math.MaxFloat64}, {math.MaxFloat64, math.MaxFloat64},
		{-1e308, 1e308}, {math.NaN(), math.Inf(1), 1}, {5e-324, 0}, {1e-320, 1e-320},
	} {
		t.Run(fmt.Sprint(values), func(t *testing.T) {
			var steps []StepReport
			for i, v := range values {
				steps = append(steps, StepReport{Step: i + 1, Norm: v})
			}
			svg, err := curve("norm", steps, func(s StepReport) map[string]float64 { return map[string]float64{"norm": s.Norm} })
			if err != nil || !strings.Contains(string(svg), "<svg") {
				t.Errorf("%.40q, %v", svg, err)
			}
		})
	}
}

// A line's name stands beside its end, once, and never on another.
func TestNamesOfLines(t *testing.T) {
	var steps []StepReport
	for i := range 30 {
		steps = append(steps, StepReport{Step: i + 1, Rates: map[string]float64{"a": 1, "b": 1, "c": 0.5}})
	}
	svg, err := curve("rates", steps, func(s StepReport) map[string]float64 { return s.Rates })
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]bool{}
	for _, name := range []string{"a", "b", "c"} {
		found := regexp.MustCompile(`<text x="[^"]+" y="([^"]+)"[^>]*>`+name+`</text>`).FindAllStringSubmatch(string(svg), -1)
		if len(found) != 1 {
			t.Fatalf("%q stands there %d times", name, len(found))
		}
		places[found[0][1]] = true
	}
	if len(places) != 3 {
		t.Errorf("names lie on each other: %v", places)
	}
}

// The report says by what and when, and shows the base's answers beside an
// adapter's; the base of a trained model is no more.
func TestReport(t *testing.T) {
	for method, answers := range map[string]int{"lora": 3, "full": 2} {
		c := tinyConfig(t, method)
		c.Version = "1.2.3"
		if _, err := train(t, c, "llama-gqa", &quiet{}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(c.Output, "report.html"))
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`begun \d+ \w+ \d{4}, \d\d:\d\d \S+, ended \d+ \w+ \d{4}`).Match(text) {
			t.Errorf("%s: no dates", method)
		}
		for what, times := range map[string]int{
			"peft-train 1.2.3": 1, "<h2>Gradient norm</h2>": 1, "<figure": 3, `<th scope="row">Optimizer</th><td>adamw`: 1,
			"<h3>": c.Samples * answers, "The base alone": c.Samples * (answers - 2),
		} {
			if n := strings.Count(string(text), what); n != times {
				t.Errorf("%s: %q is there %d times, want %d", method, what, n, times)
			}
		}
	}
}

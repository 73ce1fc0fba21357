package training

import (
	"fmt"
	"math"
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

package training

import (
	"fmt"
	"math"
)

// Schedule is the factor on the learning rate at a step, counted from 0, as
// transformers' get_scheduler defines it: the first warm-up step has rate 0.
type Schedule struct {
	Kind   string // constant, linear, cosine
	Warmup int    // steps
	Steps  int    // of the whole run
}

// Schedules lists the kinds of Schedule.
var Schedules = []string{"constant", "linear", "cosine"}

// Factor is λ(step): step/warmup at first; then 1, (T-step)/(T-warmup) or
// (1+cos(π·progress))/2.
func (s Schedule) Factor(step int) float64 {
	if step < s.Warmup {
		return float64(step) / float64(max(1, s.Warmup))
	}
	switch s.Kind {
	case "constant":
		return 1
	case "linear":
		return max(0, float64(s.Steps-step)/float64(max(1, s.Steps-s.Warmup)))
	case "cosine":
		progress := float64(step-s.Warmup) / float64(max(1, s.Steps-s.Warmup))
		return max(0, 0.5*(1+math.Cos(math.Pi*progress)))
	}
	panic(fmt.Sprintf("training: schedule %q", s.Kind))
}

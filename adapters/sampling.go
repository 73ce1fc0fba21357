package adapters

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/peft-serve/peft-serve/internal/regular"
)

// SamplingDefaults are what the makers of a base or of an adapter recommend to
// sample with in its generation_config.json, for requests that do not say.
//
// max_new_tokens is not among them: it would cut answers that were not meant
// to be short, and do_sample is not either: a route samples or does not.
type SamplingDefaults struct {
	Temperature *float64
	TopP        *float64
	TopK        *int
	MinP        *float64
	Repetition  *float64 // repetition_penalty
}

// ParseSamplingDefaults reads a generation_config.json and reports every value
// that cannot be sampled with.
func ParseSamplingDefaults(file []byte) (SamplingDefaults, error) {
	var d SamplingDefaults
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(file, &keys); err != nil {
		return d, err
	}
	var faults []error
	for _, of := range []struct {
		key  string
		to   any
		want string
	}{
		{"temperature", &d.Temperature, "a number"}, {"top_p", &d.TopP, "a number"}, {"top_k", &d.TopK, "a whole number"},
		{"min_p", &d.MinP, "a number"}, {"repetition_penalty", &d.Repetition, "a number"},
	} {
		if raw, ok := keys[of.key]; ok && json.Unmarshal(raw, of.to) != nil {
			faults = append(faults, fmt.Errorf("%s is %s, want %s", of.key, clip(raw), of.want))
		}
	}
	return d, errors.Join(append(faults, d.Validate())...)
}

// Over returns what d recommends and, where it says nothing, what base does.
func (d SamplingDefaults) Over(base SamplingDefaults) SamplingDefaults {
	return SamplingDefaults{
		Temperature: cmp.Or(d.Temperature, base.Temperature), TopP: cmp.Or(d.TopP, base.TopP), TopK: cmp.Or(d.TopK, base.TopK),
		MinP: cmp.Or(d.MinP, base.MinP), Repetition: cmp.Or(d.Repetition, base.Repetition),
	}
}

// readSampling reads what an adapter's folder recommends.
func readSampling(dir string) (SamplingDefaults, error) {
	b, err := regular.Text(filepath.Join(dir, generationFile), maxBeside)
	if errors.Is(err, fs.ErrNotExist) {
		return SamplingDefaults{}, nil
	}
	var d SamplingDefaults
	if err == nil {
		d, err = ParseSamplingDefaults(b)
	}
	if err != nil {
		err = fmt.Errorf("%w: %s: %w", ErrConfig, generationFile, err)
	}
	return d, err
}

// Validate reports every value that cannot be sampled with.
func (d SamplingDefaults) Validate() error {
	var faults []error
	check := func(name string, v *float64, ok func(v float64) bool) {
		if v != nil && !ok(*v) {
			faults = append(faults, fmt.Errorf("%s is %g", name, *v))
		}
	}
	check("temperature", d.Temperature, func(v float64) bool { return v >= 0 && v <= 100 })
	check("top_p", d.TopP, func(v float64) bool { return v > 0 && v <= 1 })
	check("min_p", d.MinP, func(v float64) bool { return v >= 0 && v <= 1 })
	check("repetition_penalty", d.Repetition, func(v float64) bool { return v > 0 })
	if d.TopK != nil && *d.TopK < -1 {
		faults = append(faults, fmt.Errorf("top_k is %d", *d.TopK))
	}
	return errors.Join(faults...)
}

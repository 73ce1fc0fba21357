package serve

import (
	"encoding/json"
	"errors"
	"fmt"
)

// SamplingDefaults are what /v1/completions and /v1/chat/completions sample
// with where a request does not say: what the model's makers recommend in its
// generation_config.json, as in vLLM. An absent one is OpenAI's. TGI's dialect
// is greedy by default, whatever the model.
//
// max_new_tokens is not among them: it would cut answers that were not meant
// to be short, and do_sample is not either, since these routes sample.
type SamplingDefaults struct {
	Temperature *float64 `json:"temperature"`
	TopP        *float64 `json:"top_p"`
	TopK        *int     `json:"top_k"`
	MinP        *float64 `json:"min_p"`
	Repetition  *float64 `json:"repetition_penalty"`
}

// ParseSamplingDefaults reads a generation_config.json and reports every value
// that cannot be sampled with.
func ParseSamplingDefaults(file []byte) (SamplingDefaults, error) {
	var d SamplingDefaults
	if err := json.Unmarshal(file, &d); err != nil {
		return d, err
	}
	return d, d.validate()
}

func (d SamplingDefaults) validate() error {
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

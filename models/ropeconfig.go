package models

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
)

// ropeConfig is rope_scaling of config.json, and rope_parameters, which
// replaces it in transformers 5.
type ropeConfig struct {
	Type                string   `json:"rope_type"`
	OldType             string   `json:"type"`
	Theta               *float64 `json:"rope_theta"`
	PartialRotaryFactor *float64 `json:"partial_rotary_factor"`
	Factor              float64  `json:"factor"`
	LowFreqFactor       float64  `json:"low_freq_factor"`
	HighFreqFactor      float64  `json:"high_freq_factor"`
	Original            float64  `json:"original_max_position_embeddings"`
	AttentionFactor     *float64 `json:"attention_factor"`
	BetaFast            float64  `json:"beta_fast"`
	BetaSlow            float64  `json:"beta_slow"`
	MScale              float64  `json:"mscale"`
	MScaleAllDim        float64  `json:"mscale_all_dim"`
	Truncate            *bool    `json:"truncate"`

	// keys are those that are written, null aside.
	keys map[string]json.RawMessage
}

// ropeKeys are the keys of each kind of scaling, beside its name, the base and
// partial_rotary_factor. transformers 4 and 5 compute the same from them.
var ropeKeys = map[string][]string{
	"default": nil,
	"linear":  {"factor"},
	"dynamic": {"factor", "original_max_position_embeddings"},
	"llama3":  {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"},
	"yarn": {
		"factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate",
		"finetuned", // of the training that made the weights
	},
}

// UnmarshalJSON keeps the keys, to tell which of them are not read.
func (c *ropeConfig) UnmarshalJSON(b []byte) error {
	type plain ropeConfig
	if err := json.Unmarshal(b, (*plain)(c)); err != nil {
		return err
	}
	if err := json.Unmarshal(b, &c.keys); err != nil {
		return err
	}
	maps.DeleteFunc(c.keys, func(key string, v json.RawMessage) bool { return string(v) == "null" && key != "truncate" })
	return nil
}

func (c *ropeConfig) equal(other *ropeConfig) bool { return reflect.DeepEqual(c.keys, other.keys) }

func (c *ropeConfig) kind() string {
	switch {
	case c == nil:
		return "default"
	case c.Type != "":
		return c.Type
	case c.OldType != "":
		return c.OldType
	}
	return "default"
}

// readRope settles rope_theta and the scaling of all layers alike, which
// transformers 4 and 5 write in different places, rope_scaling and
// rope_parameters. trained is max_position_embeddings.
func (s *Source) readRope(scaling, parameters *ropeConfig, theta, partial *float64, headDim, trained int) (*ropeConfig, error) {
	key, r := "rope_scaling", scaling
	if parameters != nil {
		if key, r = "rope_parameters", parameters; scaling != nil && !scaling.equal(r) {
			return nil, s.wrong("rope_scaling and rope_parameters say different things")
		}
	}
	if r == nil {
		r = &ropeConfig{}
	}
	if r.Theta != nil {
		if s.writes("rope_theta") && *r.Theta != *theta {
			return nil, s.wrong("rope_theta is %g, and %g in %s", *theta, *r.Theta, key)
		}
		*theta = *r.Theta
	}
	for _, f := range []*float64{partial, r.PartialRotaryFactor} {
		if f != nil && int(float64(headDim)**f) != headDim {
			return nil, s.wrong("partial_rotary_factor is %g: heads of which a part is rotated are not implemented", *f)
		}
	}
	if !(*theta > 0) || headDim%2 != 0 {
		return nil, s.wrong("rope_theta is %g, head_dim %d", *theta, headDim)
	}
	return r, r.check(s, key, trained)
}

// check refuses what the kind of scaling, written under key, does not have.
// trained is max_position_embeddings.
func (c *ropeConfig) check(s *Source, key string, trained int) error {
	kind := c.kind()
	known, ok := ropeKeys[kind]
	if !ok {
		return s.wrong("%s: rope_type %q is not implemented", key, kind)
	}
	if c.Type != "" && c.OldType != "" && c.Type != c.OldType {
		return s.wrong("%s: rope_type is %q and type %q", key, c.Type, c.OldType)
	}
	for _, name := range slices.Sorted(maps.Keys(c.keys)) {
		if !slices.Contains(known, name) && !slices.Contains([]string{"rope_type", "type", "rope_theta", "partial_rotary_factor"}, name) {
			s.fault("%s: %s.%s is not known to peft-serve with the rope_type %q and may change the results; if it does not, start with --ignore-config-key %s.%s, and report it",
				s.where(), key, name, kind, key, name)
		}
	}
	if err := s.err(); err != nil {
		return err
	}
	switch {
	case kind != "default" && !(c.Factor > 0):
		return s.wrong("%s: factor is %g, must be above 0", key, c.Factor)
	case kind == "llama3" && !(c.LowFreqFactor > 0 && c.HighFreqFactor > c.LowFreqFactor && c.Original > 0):
		return s.wrong("%s: low_freq_factor is %g, high_freq_factor %g, original_max_position_embeddings %g", key, c.LowFreqFactor, c.HighFreqFactor, c.Original)
	case kind == "dynamic" && c.Original != 0 && c.Original != float64(trained):
		return s.wrong("%s: original_max_position_embeddings is %g, not max_position_embeddings, %d: not implemented", key, c.Original, trained)
	case c.Original < 0 || c.BetaFast < 0 || c.BetaSlow < 0:
		return s.wrong("%s: original_max_position_embeddings is %g, beta_fast %g, beta_slow %g", key, c.Original, c.BetaFast, c.BetaSlow)
	case c.keys["truncate"] != nil && c.Truncate == nil:
		return s.wrong("%s: truncate is neither true nor false", key)
	}
	return nil
}

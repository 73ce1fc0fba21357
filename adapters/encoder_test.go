package adapters_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestEncoderConformance puts every golden adapter of an encoder through the suite.
// What PEFT computes with them is held over the engine (runtime, TestEncodings).
func TestEncoderConformance(t *testing.T) {
	for _, base := range modeltest.Encoders(t) {
		dirs, err := filepath.Glob(modeltest.Goldens(t, base, "adapters", "*"))
		if err != nil || len(dirs) == 0 {
			t.Fatalf("%s has no adapters: %v", base, err)
		}
		for _, dir := range dirs {
			t.Run(base+"/"+filepath.Base(dir), func(t *testing.T) {
				s := adaptertest.Suite{Base: modeltest.Goldens(t, base), Dir: dir}
				if name := filepath.Base(dir); name != "prompt" && name != "prefix" { // they fit any base of their width
					s.Wrong = modeltest.Goldens(t, "gpt2")
				}
				s.Run(t)
			})
		}
	}
}

// TestEncoderRefusals: what a configuration asks of an encoder that it has not is
// named.
func TestEncoderRefusals(t *testing.T) {
	m := modeltest.Open(t, "encoders/bert")
	for _, c := range []struct {
		config map[string]any
		kind   error
		want   string
	}{
		{map[string]any{"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2}, models.ErrTask, "task_type is CAUSAL_LM"},
		{map[string]any{"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "modules_to_save": []string{"classifier"}}, adapters.ErrTarget, `modules_to_save names "classifier"`},
		{
			map[string]any{"peft_type": "BOTTLENECK", "reduction_factor": 4, "original_ln_before": true, "original_ln_after": false}, adapters.ErrBase,
			"original_ln_after is false",
		},
		{map[string]any{"peft_type": "LN_TUNING"}, adapters.ErrTarget, "no default for BertModel"},
	} {
		config, err := adapters.NewConfig(c.config)
		if err == nil {
			_, err = adapters.Layout(m, config)
		}
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.config, err, c.want)
		}
	}
}

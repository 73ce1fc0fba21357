package adapters_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestSet: a key of the configuration is set to what is written, or refused
// where something else decides it.
func TestSet(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa")
	for _, c := range []struct{ method, key, value, want string }{
		{"vera", "d_initial", "0.2", ""},
		{"miss", "init_weights", "mini", ""},
		{"lora", "alora_invocation_tokens", "[1,2]", ""},
		{"vera", "d_initial", "abc", `d_initial is "abc", want a number`},
		{"vera", "d_initial", "[]", "d_initial is [], want a number"},
		{"vera", "dinitial", "0.2", `key "dinitial" (0.2) is not known`},
		{"vera", "", "1", `key "" (1) is not known`},
		{"vera", "r", "8", "--set r: say it with --r"},
		{"lora", "exclude_modules", "q_proj", "--set exclude_modules: say it with --exclude-modules"},
		{"lora", "layers_to_transform", "[0]", "--set layers_to_transform: say it with --layers-to-transform"},
		{"lora", "modules_to_save", `["lm_head"]`, "--set modules_to_save: say it with --modules-to-save"},
		{"lora", "base_model_name_or_path", "mine", "--set base_model_name_or_path: say it with --base-name"},
		{"lora", "revision", "main", "--set revision: "},
		{"lora", "peft_type", "MISS", "--set peft_type: method lora sets it"},
		{"lora", "task_type", "SEQ_CLS", "--set task_type: method lora sets it"},
	} {
		r, _ := adapters.FindRecipe(c.method)
		_, err := r.Config(m, &adapters.Choice{R: 2, Targets: []string{"q_proj"}, Set: map[string]string{c.key: c.value}}, nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, %s=%s: %v; want %q", c.method, c.key, c.value, err, c.want)
		}
	}
}

// TestTopLayers: an adapter of the highest blocks says so in PEFT's or AdapterHub's own
// key, and leaves those below as the base has them.
func TestTopLayers(t *testing.T) {
	decoder, encoder := modeltest.Open(t, "llama-gqa"), modeltest.Deep(t, modeltest.Goldens(t, "encoders/bert"), 4)
	for _, c := range []struct {
		method, key string
		m           models.Model
		choice      adapters.Choice
		want        string // value of key, or what an error says
	}{
		{"lora", "layers_to_transform", decoder, adapters.Choice{TopLayers: 1}, "[2]"},
		{"dora", "layers_to_transform", encoder, adapters.Choice{TopLayers: 2}, "[2,3]"},
		{"vera", "layers_to_transform", decoder, adapters.Choice{TopLayers: 2}, "[1,2]"},
		{"miss", "layers_to_transform", encoder, adapters.Choice{TopLayers: 3, R: 8, Targets: []string{"query"}}, "[1,2,3]"},
		{"bitfit", "layers_to_transform", encoder, adapters.Choice{TopLayers: 2}, "[2,3]"},
		{"lora", "target_modules", encoder, adapters.Choice{TopLayers: 2, Targets: []string{"all-linear"}}, `["query","key","value","dense"]`},
		{"dora", "target_modules", decoder, adapters.Choice{TopLayers: 1, Targets: []string{"ALL-linear"}, Exclude: []string{"down_proj"}}, `["q_proj","k_proj","v_proj","o_proj","gate_proj","up_proj"]`},
		{"houlsby", "leave_out", encoder, adapters.Choice{TopLayers: 1}, "[0,1,2]"},
		{"pfeiffer", "leave_out", decoder, adapters.Choice{TopLayers: 3}, "[]"},
		{"lora", "", decoder, adapters.Choice{TopLayers: 4}, "--top-layers: 4, the base has 3 blocks"},
		{"houlsby", "", decoder, adapters.Choice{TopLayers: 4}, "--top-layers: 4, the base has 3 blocks"},
		{"lora", "", decoder, adapters.Choice{TopLayers: 1, Layers: []int{0}}, "give one"},
		{"houlsby", "", decoder, adapters.Choice{TopLayers: 1, AdapterDrop: 1}, "give one"},
		{"bitfit", "", decoder, adapters.Choice{TopLayers: 1, ZeroBiases: true}, "does not go with --zero-biases"},
	} {
		r, _ := adapters.FindRecipe(c.method)
		if err := r.Check(c.m, &c.choice); err != nil {
			if c.key != "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.method, err)
			}
			continue
		}
		config, err := r.Config(c.m, &c.choice, nil)
		if err != nil {
			t.Fatal(c.method, err)
		}
		var written map[string]json.RawMessage
		if err := json.Unmarshal(config.JSON(), &written); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := json.Compact(&got, written[c.key]); err != nil || got.String() != c.want {
			t.Errorf("%s: %s is %s, want %s", c.method, c.key, written[c.key], c.want)
		}
		a, err := adapters.New(c.m, config)
		if err != nil {
			t.Fatal(c.method, err)
		}
		if want := c.m.Config().Layers - c.choice.TopLayers; a.SharedLayers() != want {
			t.Errorf("%s of the top %d layers shares %d, want %d", c.method, c.choice.TopLayers, a.SharedLayers(), want)
		}
	}
}

// TestNoModules: an adapter that adapts none has what it saves, a head, and acts behind
// all layers; one that saves nothing is refused.
func TestNoModules(t *testing.T) {
	m := modeltest.Open(t, "encoders/bert")
	c, err := adapters.NewConfig(map[string]any{"peft_type": "LORA", "task_type": "SEQ_CLS", "target_modules": "dummy-target-modules", "modules_to_save": []string{"classifier", "score"}})
	if err != nil {
		t.Fatal(err)
	}
	c.Classes = &models.Classes{Names: models.ClassNames(3)}
	a, err := adapters.New(m, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Params()) != 2 || a.SharedLayers() != m.Config().Layers {
		t.Errorf("%d parameters, %d layers shared", len(a.Params()), a.SharedLayers())
	}
	out, err := adapters.WriteOut(m, c)
	if err != nil || !strings.Contains(string(out.JSON()), "dummy-target-modules") {
		t.Errorf("written out: %v, %s", err, out.JSON())
	}
	if c, err = adapters.NewConfig(map[string]any{"peft_type": "LORA", "target_modules": "dummy-target-modules"}); err == nil {
		_, err = adapters.New(m, c)
	}
	if !errors.Is(err, adapters.ErrTarget) || !strings.Contains(err.Error(), "modules_to_save names no module either") {
		t.Error(err)
	}
}

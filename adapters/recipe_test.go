package adapters_test

import (
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
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

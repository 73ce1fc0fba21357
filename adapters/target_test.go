package adapters

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// find returns the names of the modules that a LORA configuration adapts.
func find(t *testing.T, m models.Model, config string) ([]string, error) {
	t.Helper()
	c, err := ParseConfig([]byte(config))
	if err != nil {
		return nil, err
	}
	targets := c.Method.(*lora).targets
	sites, err := targets.find(m)
	var names []string
	for _, s := range sites {
		names = append(names, strings.TrimPrefix(strings.TrimPrefix(m.Sites()[s].Name, "model."), "transformer."))
	}
	return names, err
}

// TestTargets holds the choice of modules against PEFT's rules
// (tuners_utils.check_target_module_exists).
func TestTargets(t *testing.T) {
	llama, gpt2 := modeltest.Open(t, "llama-gqa"), modeltest.Open(t, "gpt2")
	for _, c := range []struct {
		m      models.Model
		config string // without peft_type
		want   string
	}{
		{llama, `"target_modules":null`, "layers.0.self_attn.q_proj layers.0.self_attn.v_proj layers.1.self_attn.q_proj layers.1.self_attn.v_proj layers.2.self_attn.q_proj layers.2.self_attn.v_proj"},
		{gpt2, ``, "h.0.attn.c_attn h.1.attn.c_attn"},
		{gpt2, `"target_modules":["attn.c_proj"]`, "h.0.attn.c_proj h.1.attn.c_proj"},
		{gpt2, `"target_modules":["c_proj"]`, "h.0.attn.c_proj h.0.mlp.c_proj h.1.attn.c_proj h.1.mlp.c_proj"},
		{gpt2, `"target_modules":["wte","transformer.h.1.mlp.c_fc"]`, "wte h.1.mlp.c_fc"},
		{llama, `"target_modules":["lm_head"]`, "lm_head"},
		// An expression matches a whole name, a part does not do.
		{llama, `"target_modules":".*1\\.self_attn\\.[qk]_proj"`, "layers.1.self_attn.q_proj layers.1.self_attn.k_proj"},
		{llama, `"target_modules":"model.layers.2.mlp.up_proj|lm_head"`, "layers.2.mlp.up_proj lm_head"},
		// What Go's own expressions lack.
		{llama, `"target_modules":"model\\.layers\\.(?!0|1).*(?<=self_attn\\.)v_proj"`, "layers.2.self_attn.v_proj"},
		{llama, `"target_modules":".*\\.(?P<layer>\\d)\\.mlp\\.(?:up|gate)_proj(?<!gate_proj)"`, "layers.0.mlp.up_proj layers.1.mlp.up_proj layers.2.mlp.up_proj"},
		// Exclusion comes first; what a list excludes whole is no fault.
		{llama, `"target_modules":["q_proj","k_proj"],"exclude_modules":["k_proj","0.self_attn.q_proj"]`, "layers.1.self_attn.q_proj layers.2.self_attn.q_proj"},
		{llama, `"target_modules":["q_proj"],"exclude_modules":".*[01].*"`, "layers.2.self_attn.q_proj"},
		{llama, `"target_modules":["q_proj"],"layers_to_transform":1`, "layers.1.self_attn.q_proj"},
		{llama, `"target_modules":["q_proj"],"layers_to_transform":[0,2],"layers_pattern":["h","layers"]`, "layers.0.self_attn.q_proj layers.2.self_attn.q_proj"},
		{gpt2, `"target_modules":["c_fc","wte"],"layers_to_transform":[1]`, "h.1.mlp.c_fc"},
		{llama, `"target_modules":["q_proj"],"layers_to_transform":[]`, "layers.0.self_attn.q_proj layers.1.self_attn.q_proj layers.2.self_attn.q_proj"},
		// Modules to save are never adapted; here a dot is needed.
		{llama, `"target_modules":["q_proj","o_proj"],"modules_to_save":["layers.0.self_attn","1.self_attn.q_proj"]`, "layers.1.self_attn.o_proj layers.2.self_attn.q_proj layers.2.self_attn.o_proj"},
	} {
		config := `{"peft_type":"LORA"` + strings.TrimSuffix(","+c.config, ",") + "}"
		if got, err := find(t, c.m, config); err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %q, %v", config, got, err)
		}
	}
	if got, err := find(t, llama, `{"peft_type":"LORA","target_modules":"all-linear"}`); err != nil || len(got) != 3*7 || slices.Contains(got, "lm_head") {
		t.Errorf("all-linear: %q, %v", got, err)
	}
	for config, want := range map[string]string{
		`"target_modules":["q_proj","w_proj"]`:                  `"w_proj"`,
		`"target_modules":["proj"]`:                             `"proj"`,
		`"target_modules":"q_proj"`:                             `"q_proj"`,
		`"target_modules":["q_proj"],"layers_to_transform":[7]`: "layer 7",
		`"target_modules":["input_layernorm"]`:                  "input_layernorm",
		`"target_modules":["q_proj"],"exclude_modules":["model.layers.0.self_attn.q_proj","q_proj"]`: "q_proj",
	} {
		if _, err := find(t, llama, `{"peft_type":"LORA",`+config+`}`); !errors.Is(err, ErrTarget) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", config, err)
		}
	}
}

// TestPatternOrder demands that the first pattern in the order of the file
// counts, and that saving keeps that order.
func TestPatternOrder(t *testing.T) {
	for _, c := range []struct {
		patterns string
		want     float64
	}{
		{`{"q_proj":2,"layers.1.self_attn.q_proj":6}`, 2},
		{`{"layers.1.self_attn.q_proj":6,"q_proj":2}`, 6},
		{`{"z.*q_proj":5,".*q_proj":3}`, 3},
		{`{"^q_proj":5}`, 8},
		{`{"q_pro":5}`, 8},
		{`{"^model.layers.1.self_attn.q_proj":9}`, 9},
		{`{"(layers)\\.1\\..*q_proj|k_proj":4}`, 4},
	} {
		parsed, err := ParseConfig([]byte(`{"peft_type":"LORA","rank_pattern":` + c.patterns + `}`))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if m, err := parsed.Method.(*lora).rank("model.layers.1.self_attn.q_proj"); err != nil || float64(m.r) != c.want {
				t.Errorf("%s: rank %d, %v", c.patterns, m.r, err)
			}
			if parsed, err = ParseConfig(parsed.JSON()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPatternTime gives an expression that would run for years: that there is an
// answer at all is the test.
func TestPatternTime(t *testing.T) {
	config := `{"peft_type":"LORA","target_modules":"(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)\\1\\2(?!.*)"}`
	if _, err := find(t, modeltest.Open(t, "llama"), config); !errors.Is(err, ErrConfig) {
		t.Errorf("got %v", err)
	}
}

func TestCaptures(t *testing.T) {
	for _, c := range []struct {
		suffix, module string
		want           bool
	}{
		{"classifier", "classifier.dense", true},
		{"classifier", "pre_classifier", true},
		{"norm", "model.layers.0.input_layernorm", true},
		{"norm", "model.norm", true},
		{"norm", "model.norms", false},
		{"self_attn", "model.layers.0.self_attn.q_proj", true},
		{"model.layers.0", "model.layers.0.self_attn.q_proj", true},
		{"score", "model.layers.0.mlp", false},
	} {
		if got := captures(c.suffix, c.module); got != c.want {
			t.Errorf("%q captures %q: %v", c.suffix, c.module, got)
		}
	}
}

// TestScaling holds alpha/r and alpha/√r.
func TestScaling(t *testing.T) {
	for config, want := range map[string]string{
		`"r":8,"lora_alpha":16`:                                                 "8 2",
		`"r":16,"lora_alpha":8.0,"use_rslora":true`:                             "16 2",
		`"r":8,"lora_alpha":16,"rank_pattern":{"q":4}`:                          "4 4",
		`"r":8,"lora_alpha":16,"alpha_pattern":{"q":4}`:                         "8 0.5",
		`"use_rslora":true,"rank_pattern":{"q":4},"alpha_pattern":{"q":3}`:      "4 1.5",
		`"r":8,"lora_alpha":16,"rank_pattern":{"k":4},"alpha_pattern":{"kq":4}`: "8 2",
	} {
		c, err := ParseConfig([]byte(`{"peft_type":"LORA",` + config + `}`))
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Method.(*lora).rank("q")
		if got := fmt.Sprint(m.r, " ", m.s); err != nil || got != want {
			t.Errorf("%s: %s, %v", config, got, err)
		}
	}
}

func TestRegisterTwicePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	register(family{peftType: "LORA"})
}

func TestPythonText(t *testing.T) {
	c, err := ParseConfig([]byte(`{"peft_type":"LORA","revision":"é\u0007\"\\\n😀\u007f","r":8,"target_modules":["a", "b"],"loftq_config":{},"rank_pattern":{"b":1,"a":2},"runtime_config":{"y":[],"x":null}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"inference_mode\": true,\n  \"loftq_config\": {},\n  \"peft_type\": \"LORA\",\n  \"r\": 8,\n  \"rank_pattern\": {\n    \"b\": 1,\n    \"a\": 2\n  },\n" +
		`  "revision": "\u00e9\u0007\"\\\n\ud83d\ude00\u007f",` + "\n  \"runtime_config\": {\n    \"x\": null,\n    \"y\": []\n  },\n  \"target_modules\": [\n    \"a\",\n    \"b\"\n  ]\n}"
	if got := string(c.JSON()); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if !json.Valid(c.JSON()) {
		t.Error("not JSON")
	}
}

// TestPatience: expressions of one configuration share their time, so that many
// that are slow are refused as one is.
func TestPatience(t *testing.T) {
	p := &patience{} // nothing is left
	slow, err := p.compileFull("(a|aa)*")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slow.matches(strings.Repeat("a", 30) + "b"); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "(a|aa)*") {
		t.Errorf("got %v", err)
	}
	if ok, err := slow.matches("aaa"); !ok || err != nil {
		t.Errorf("a quick match: %v, %v", ok, err)
	}
}

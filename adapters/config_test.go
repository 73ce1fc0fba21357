package adapters_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

var update = flag.Bool("update", false, "write testdata/configs.txt anew")

// TestRealConfigs holds what becomes of 83 configurations found in the wild
// against testdata/configs.txt: the method, or the reason of the refusal.
func TestRealConfigs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(modeltest.Shared(t, "adapters", "configs"), "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	var got bytes.Buffer
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s → %s\n", strings.TrimSuffix(filepath.Base(file), ".json"), outcome(b))
	}
	const path = "testdata/configs.txt"
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got\n%s", got.Bytes())
	}
}

func outcome(config []byte) string {
	c, err := adapters.ParseConfig(config)
	switch {
	case err == nil && c.Method.Rank() > 0:
		return fmt.Sprintf("%s, rank %d", c.Method.Name(), c.Method.Rank())
	case err == nil:
		return c.Method.Name()
	}
	reason, _, _ := strings.Cut(strings.ReplaceAll(err.Error(), "\n", "; "), " (implemented:")
	return "refused: " + reason
}

func TestConfigFaults(t *testing.T) {
	for config, want := range map[string]struct {
		kind error
		name string
	}{
		``:                                           {adapters.ErrConfig, "ends too soon"},
		`{"peft_type":"LORA","target_modules":`:      {adapters.ErrConfig, "ends too soon"},
		`{"peft_type":"LORA"`:                        {adapters.ErrConfig, "ends too soon"},
		`[]`:                                         {adapters.ErrConfig, "not a JSON object"},
		`{"peft_type":"LORA"} x`:                     {adapters.ErrConfig, "after the object"},
		`{"peft_type":"LORA","r":4,"r":8}`:           {adapters.ErrConfig, `"r" occurs twice`},
		`{"peft_type":7}`:                            {adapters.ErrConfig, "peft_type is 7"},
		`{"r":8}`:                                    {adapters.ErrConfig, "peft_type is missing"},
		`{"lora_parameters":{},"model":"m"}`:         {adapters.ErrConfig, "MLX"},
		`{"config":{},"model_class":"m"}`:            {adapters.ErrConfig, "AdapterHub"},
		`{"peft_type":"lora"}`:                       {adapters.ErrMethod, `"lora"`},
		`{"peft_type":"VERA","r":70000}`:             {adapters.ErrConfig, "r is 70000"},
		`{"peft_type":"ADALORA","init_r":70000}`:     {adapters.ErrConfig, "init_r is 70000"},
		`{"peft_type":"LORA","r":0}`:                 {adapters.ErrConfig, "r is 0"},
		`{"peft_type":"LORA","r":1e9}`:               {adapters.ErrConfig, "r is 1e+09"},
		`{"peft_type":"LORA","r":"8"}`:               {adapters.ErrConfig, `r is "8"`},
		`{"peft_type":"LORA","lora_alpha":-1}`:       {adapters.ErrConfig, "lora_alpha is -1"},
		`{"peft_type":"LORA","lora_alpha":1e308}`:    {adapters.ErrConfig, "lora_alpha is 1e+308"},
		`{"peft_type":"LORA","bias":"some"}`:         {adapters.ErrConfig, `bias is "some"`},
		`{"peft_type":"LORA","target_modules":7}`:    {adapters.ErrConfig, "target_modules is 7"},
		`{"peft_type":"LORA","target_modules":"(q"}`: {adapters.ErrConfig, "target_modules"},
		`{"peft_type":"LORA","target_modules":"q","layers_to_transform":1}`:                   {adapters.ErrConfig, "layers_to_transform"},
		`{"peft_type":"LORA","rank_pattern":{"q":0}}`:                                         {adapters.ErrConfig, `"q" is 0`},
		`{"peft_type":"LORA","rank_pattern":{"":1}}`:                                          {adapters.ErrConfig, "rank_pattern has an entry without a name"},
		`{"peft_type":"LORA","rank_pattern":{"(":1}}`:                                         {adapters.ErrConfig, "rank_pattern"},
		`{"peft_type":"LORA","rank_pattern":{"q":1,"q":2}}`:                                   {adapters.ErrConfig, `"q" occurs twice`},
		`{"peft_type":"LORA","use_dora":true,"lora_bias":true}`:                               {adapters.ErrConfig, "lora_bias"},
		`{"peft_type":"LORA","init_lora_weights":"pissa_niter_16"}`:                           {adapters.ErrBase, "pissa_niter_16"},
		`{"peft_type":"LORA","init_lora_weights":"corda"}`:                                    {adapters.ErrBase, "corda"},
		`{"peft_type":"LORA","init_lora_weights":"loftq"}`:                                    {adapters.ErrBase, "loftq"},
		`{"peft_type":"LORA","init_lora_weights":"lora_ga"}`:                                  {adapters.ErrBase, "lora_ga"},
		`{"peft_type":"LORA","init_lora_weights":"tomorrow"}`:                                 {adapters.ErrConfig, "tomorrow"},
		`{"peft_type":"LORA","kasa_config":{"beta":1}}`:                                       {adapters.ErrConfig, "kasa_config"},
		`{"peft_type":"LORA","kasa_config":{}}`:                                               {adapters.ErrConfig, "kasa_config"},
		`{"peft_type":"LORA","use_bdlora":{}}`:                                                {adapters.ErrConfig, "use_bdlora"},
		`{"peft_type":"LORA","init_lora_weights":"true"}`:                                     {adapters.ErrConfig, `init_lora_weights is "true"`},
		`{"peft_type":"LORA","init_lora_weights":1}`:                                          {adapters.ErrConfig, "init_lora_weights is 1"},
		`{"peft_type":"LORA","r":null}`:                                                       {adapters.ErrConfig, "r is null"},
		`{"peft_type":"LORA","lora_alpha":null}`:                                              {adapters.ErrConfig, "lora_alpha is null"},
		`{"peft_type":"LORA","lora_alpha":"16"}`:                                              {adapters.ErrConfig, `lora_alpha is "16"`},
		`{"peft_type":"LORA","lora_alpha":true}`:                                              {adapters.ErrConfig, "lora_alpha is true"},
		`{"peft_type":"LORA","bias":null}`:                                                    {adapters.ErrConfig, "bias is null"},
		`{"peft_type":"LORA","bias":false}`:                                                   {adapters.ErrConfig, "bias is false"},
		`{"peft_type":"LORA","target_modules":[]}`:                                            {adapters.ErrConfig, "target_modules is []"},
		`{"peft_type":"LORA","target_modules":""}`:                                            {adapters.ErrConfig, `target_modules is ""`},
		`{"peft_type":"LORA","target_modules":["q",7]}`:                                       {adapters.ErrConfig, `target_modules is ["q",7]`},
		`{"peft_type":"IA3","target_modules":[]}`:                                             {adapters.ErrConfig, "target_modules is []"},
		`{"peft_type":"TRAINABLE_TOKENS","token_indices":[1],"target_modules":[]}`:            {adapters.ErrConfig, "target_modules is []"},
		`{"peft_type":"IA3","target_modules":["k_proj"],"feedforward_modules":["down_proj"]}`: {adapters.ErrConfig, `feedforward_modules names "down_proj"`},
		`{"peft_type":"LORA","layers_pattern":"layers"}`:                                      {adapters.ErrConfig, "layers_pattern"},
		`{"peft_type":"LORA","fan_in_fan_out":"yes"}`:                                         {adapters.ErrConfig, `fan_in_fan_out is "yes", want true or false`},
		`{"peft_type":"LORA","fan_in_fan_out":1}`:                                             {adapters.ErrConfig, "fan_in_fan_out is 1"},
		`{"peft_type":"LORA","lora_dropout":"0.1"}`:                                           {adapters.ErrConfig, "lora_dropout"},
		`{"peft_type":"LORA","inference_mode":"true"}`:                                        {adapters.ErrConfig, "inference_mode"},
		`{"peft_type":"LORA","use_dora":"false"}`:                                             {adapters.ErrConfig, `use_dora is "false"`},
		`{"peft_type":"LORA","use_qalora":"no"}`:                                              {adapters.ErrConfig, "use_qalora"},
		`{"peft_type":"LORA","eva_config":[1]}`:                                               {adapters.ErrConfig, "eva_config"},
		`{"peft_type":"LORA","base_model_name_or_path":7}`:                                    {adapters.ErrConfig, "base_model_name_or_path"},
		`{"peft_type":"LORA","task_type":"causal_lm"}`:                                        {adapters.ErrConfig, `task_type is "causal_lm"`},
		`{"peft_type":"PREFIX_TUNING","num_virtual_tokens":4,"num_transformer_submodules":2}`: {adapters.ErrConfig, "num_transformer_submodules 2"},
		`{"peft_type":"PROMPT_TUNING","num_virtual_tokens":4,"prefix_projection":true}`:       {adapters.ErrConfig, "prefix_projection"},
		`{"peft_type":"LORA","use_tomorrow":[0]}`:                                             {adapters.ErrConfig, "use_tomorrow"},
		`{"peft_type":"LORA","trainable_token_indices":"all"}`:                                {adapters.ErrConfig, "trainable_token_indices"},
		`{"peft_type":"LORA","target_modules":["q_proj",null]}`:                               {adapters.ErrConfig, `target_modules is ["q_proj",null]`},
		`{"peft_type":"LORA","modules_to_save":[null]}`:                                       {adapters.ErrConfig, "modules_to_save is [null]"},
		`{"peft_type":"LORA","layers_to_transform":[0,null]}`:                                 {adapters.ErrConfig, "layers_to_transform is [0,null]"},
		`{"peft_type":"LORA","alora_invocation_tokens":[1,null]}`:                             {adapters.ErrConfig, "alora_invocation_tokens is [1,null]"},
		`{"peft_type":"LORA","trainable_token_indices":[3,null]}`:                             {adapters.ErrConfig, "trainable_token_indices is [3,null]"},
		`{"peft_type":"LORA","trainable_token_indices":{"embed_tokens":[null]}}`:              {adapters.ErrConfig, `"embed_tokens" is [null]`},
		`{"peft_type":"LORA","trainable_token_indices":{"embed_tokens":null}}`:                {adapters.ErrConfig, `"embed_tokens" is null`},
		`{"peft_type":"ADALORA","init_r":2,"rank_pattern":{"q.lora_E":[true,null]}}`:          {adapters.ErrConfig, `"q.lora_E" is [true,null]`},
		`{"peft_type":"VERA","projection_prng_key":1.5}`:                                      {adapters.ErrConfig, "projection_prng_key is 1.5"},
		`{"peft_type":"VERA","projection_prng_key":null}`:                                     {adapters.ErrConfig, "projection_prng_key is null"},
		`{"peft_type":"VERA","projection_prng_key":18446744073709551616}`:                     {adapters.ErrConfig, "projection_prng_key is 18446744073709551616"},
		`{"peft_type":"BOTTLENECK"}`:                                                          {adapters.ErrConfig, "reduction_factor is missing"},
		`{"peft_type":"BOTTLENECK","reduction_factor":0}`:                                     {adapters.ErrConfig, "reduction_factor of default is 0"},
		`{"peft_type":"BOTTLENECK","reduction_factor":2,"use_gating":true}`:                   {adapters.ErrConfig, "use_gating"},
		`{"peft_type":"BOTTLENECK","reduction_factor":2,"inv_adapter":"nice"}`:                {adapters.ErrConfig, "inv_adapter"},
		`{"peft_type":"BOTTLENECK","reduction_factor":2,"non_linearity":"sinus"}`:             {adapters.ErrConfig, "sinus"},
		`{"peft_type":"PREFIX_TUNING"}`:                                                       {adapters.ErrConfig, "num_virtual_tokens is missing"},
	} {
		_, err := adapters.ParseConfig([]byte(config))
		if err == nil || !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.name) {
			t.Errorf("%s: got %v", config, err)
		}
	}
}

// TestEndTokenFaults: an end token is an id or a list of ids.
func TestEndTokenFaults(t *testing.T) {
	for value, ok := range map[string]bool{"2": true, "[1,2]": true, "null": true, "[1,null]": false, "2.5": false, `"2"`: false} {
		dir := readFolder(t, "llama-gqa", "adapters", "lora").write(t)
		write(t, filepath.Join(dir, "generation_config.json"), []byte(`{"eos_token_id":`+value+`}`))
		_, err := adapters.Open(dir)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "generation_config.json: eos_token_id is "+value) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// FuzzParseConfig demands that no configuration panics, and that what is
// accepted is written and read back as the same.
func FuzzParseConfig(f *testing.F) {
	for _, pattern := range []string{modeltest.Goldens(f, "*", "adapters", "*", adapters.ConfigFile)} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no golden configurations: %v", err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := adapters.ParseConfig(b)
		if err != nil {
			return
		}
		again, err := adapters.ParseConfig(c.JSON())
		if err != nil {
			t.Fatalf("written as %s: %v", c.JSON(), err)
		}
		if again.Method.Name() != c.Method.Name() || again.Method.Rank() != c.Method.Rank() || !bytes.Equal(again.JSON(), c.JSON()) {
			t.Fatalf("%s became %s", c.JSON(), again.JSON())
		}
	})
}

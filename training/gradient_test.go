package training

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/random"
)

// TestFiniteDifferences holds the gradient of every parameter of an adapter,
// in each of its variants, against central differences of the loss, under the
// same dropout masks.
func TestFiniteDifferences(t *testing.T) {
	for name, c := range map[string]struct {
		base    string // empty: all
		config  string
		dropout float64
	}{
		"lora":               {config: `{"peft_type":"LORA","r":2,"target_modules":"all-linear"}`},
		"lora dropout":       {config: `{"peft_type":"LORA","r":2,"target_modules":"all-linear"}`, dropout: 0.3},
		"lora bias":          {config: `{"peft_type":"LORA","r":2,"target_modules":"all-linear","lora_bias":true}`},
		"lora biases":        {base: "gpt2", config: `{"peft_type":"LORA","r":2,"bias":"all"}`},
		"lora embedding":     {base: "llama-gqa", config: `{"peft_type":"LORA","r":2,"target_modules":["embed_tokens","q_proj"]}`},
		"lora head":          {base: "llama-gqa", config: `{"peft_type":"LORA","r":2,"target_modules":["lm_head","v_proj"]}`},
		"lora saved":         {base: "llama-gqa", config: `{"peft_type":"LORA","r":2,"modules_to_save":["lm_head","model.norm","layers.1.mlp.up_proj"]}`},
		"lora tokens":        {base: "llama-gqa", config: `{"peft_type":"LORA","r":2,"trainable_token_indices":[15,38,17]}`},
		"dora":               {config: `{"peft_type":"LORA","r":2,"use_dora":true,"target_modules":"all-linear"}`},
		"dora dropout":       {config: `{"peft_type":"LORA","r":2,"use_dora":true,"target_modules":"all-linear"}`, dropout: 0.3},
		"dora embedding":     {base: "llama-gqa", config: `{"peft_type":"LORA","r":2,"use_dora":true,"target_modules":["embed_tokens"]}`},
		"ia3":                {config: `{"peft_type":"IA3"}`},
		"beft":               {base: "llama-gqa", config: `{"peft_type":"BEFT","target_modules":"all-linear"}`},
		"bitfit":             {base: "gpt2", config: `{"peft_type":"BITFIT"}`},
		"houlsby":            {config: `{"peft_type":"BOTTLENECK","mh_adapter":true,"reduction_factor":4,"non_linearity":"swish"}`},
		"houlsby dropout":    {config: `{"peft_type":"BOTTLENECK","mh_adapter":true,"reduction_factor":4,"non_linearity":"swish"}`, dropout: 0.3},
		"pfeiffer":           {config: `{"peft_type":"BOTTLENECK","reduction_factor":4,"non_linearity":"gelu","original_ln_before":true}`},
		"parallel":           {config: `{"peft_type":"BOTTLENECK","reduction_factor":2,"non_linearity":"gelu","is_parallel":true,"scaling":4.0}`},
		"bottleneck norms":   {config: `{"peft_type":"BOTTLENECK","mh_adapter":true,"reduction_factor":4,"non_linearity":"gelu","ln_before":true,"ln_after":true,"original_ln_before":true,"residual_before_ln":false,"scaling":"learned"}`},
		"bottleneck inside":  {config: `{"peft_type":"BOTTLENECK","mh_adapter":true,"reduction_factor":4,"non_linearity":"gelu","ln_after":true,"adapter_residual_before_ln":true,"original_ln_after":false,"scaling":"channel"}`},
		"bottleneck no skip": {config: `{"peft_type":"BOTTLENECK","reduction_factor":4,"non_linearity":"gelu","original_ln_before":true,"original_ln_after":false,"residual_before_ln":false}`},
		"adalora":            {config: `{"peft_type":"ADALORA","init_r":3}`},
		"vera":               {config: `{"peft_type":"VERA","r":5}`},
		"miss":               {base: "llama-gqa", config: `{"peft_type":"MISS","r":5}`},
		"miss mini":          {base: "llama-gqa", config: `{"peft_type":"MISS","r":5,"mini_r":4,"init_weights":"mini","target_modules":["q_proj","v_proj"]}`},
		"miss dropout":       {base: "llama-gqa", config: `{"peft_type":"MISS","r":5}`, dropout: 0.2},
		"vera dropout":       {config: `{"peft_type":"VERA","r":5}`, dropout: 0.2},
		"norms":              {config: `{"peft_type":"LN_TUNING"}`},
		"prefix":             {config: `{"peft_type":"PREFIX_TUNING","num_virtual_tokens":3}`},
		"prompt":             {config: `{"peft_type":"PROMPT_TUNING","num_virtual_tokens":3}`},
	} {
		for _, base := range []string{"llama-gqa", "gpt2"} { // others are too curved for differences; the goldens hold them
			if c.base == "" || c.base == base {
				t.Run(base+"/"+name, func(t *testing.T) { differences(t, base, c.config, c.dropout) })
			}
		}
	}
}

func differences(t *testing.T, base, config string, dropout float64) {
	m := openGolden(t, base)
	values := map[string]any{}
	if err := json.Unmarshal([]byte(config), &values); err != nil {
		t.Fatal(err)
	}
	parsed, err := adapters.NewConfig(values)
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapters.New(m, parsed)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range a.Params() { // away from every start, where gradients vanish
		shift := make([]float32, p.Len())
		random.Named(11, p.Name).Normal(shift, 0.15)
		v := p.Values().Data
		for i := range v {
			v[i] += shift[i]
			if strings.Contains(p.Name, "magnitude") || strings.Contains(p.Name, "ia3") {
				v[i] += 1
			}
		}
	}
	a.Refresh()
	var run goldenRun
	readJSON(t, "../testdata/goldens/training/"+base+"/full/run.json", &run)
	method := NewAdapted(m, a, adapters.Training{Dropout: dropout, Seed: 5})
	tr := goldenTrainer(t, m, method, &run, 2)
	batch := goldenBatches(t, base)[:1]
	loss := func() float64 {
		r, err := tr.Gradients(batch)
		if err != nil {
			t.Fatal(err)
		}
		return r.Loss
	}
	loss()
	var gradients [][]float32
	for _, p := range method.Parameters() {
		gradients = append(gradients, append([]float32(nil), p.Grad...))
	}
	held := strings.Contains(config, "use_dora") // DoRA holds its norm: gains stay what they are
	for k, p := range method.Parameters() {
		g := gradients[k]
		length := math.Sqrt(float64(dot(g, g)))
		if length == 0 {
			t.Errorf("%s has no gradient", p.Name)
			continue
		}
		was := append([]float32(nil), p.Value...)
		for name, d := range map[string][]float32{"its own": g, "a random": noise(p)} {
			size := math.Sqrt(float64(dot(d, d)))
			at := func(h float64) float64 {
				for i, v := range was {
					p.Value[i] = v + float32(h*float64(d[i])/size)
				}
				if !held || strings.Contains(p.Name, "magnitude") {
					method.Updated()
				}
				return loss()
			}
			const h = 4e-3
			slope := (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
			at(0)
			want := float64(dot(g, d)) / size
			if off := math.Abs(slope - want); off > 2e-2*length+1e-3 {
				t.Errorf("%s: along %s direction the loss changes by %.4g, the gradient says %.4g", p.Name, name, slope, want)
			}
		}
	}
}

func noise(p *Parameter) []float32 {
	d := make([]float32, len(p.Value))
	random.Named(17, p.Name).Normal(d, 1)
	return d
}

func dot(a, b []float32) (sum float32) {
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

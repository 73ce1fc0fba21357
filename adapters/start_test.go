package adapters_test

import (
	"math"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestStartIsNothing: what Start has drawn changes no logit, DoRA on two
// embeddings of one width too, whose magnitudes are not each other's.
func TestStartIsNothing(t *testing.T) {
	pool := modeltest.Pool(t, 1)
	tokens := []int32{3, 14, 15, 9, 2, 6}
	for _, c := range []struct{ base, config string }{
		{"gpt2", `{"peft_type":"LORA","r":2,"use_dora":true,"target_modules":["wte","wpe"]}`},
		{"gpt2", `{"peft_type":"LORA","r":2,"use_dora":true,"target_modules":["wpe","c_attn"]}`},
		{"llama-gqa", `{"peft_type":"LORA","r":2,"target_modules":["embed_tokens","q_proj"]}`},
		{"llama-gqa", `{"peft_type":"IA3"}`},
	} {
		m := modeltest.Open(t, c.base)
		config, err := adapters.ParseConfig([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		a, err := adapters.New(m, config)
		if err != nil {
			t.Fatal(err)
		}
		if err := adapters.Start(a, "", 7); err != nil {
			t.Fatal(err)
		}
		want, got := modeltest.Logits(t, m, pool, tokens, nil), modeltest.Logits(t, m, pool, tokens, a)
		for i, v := range got.Data {
			if d := math.Abs(float64(v - want.Data[i])); !(d < 2e-5) {
				t.Fatalf("%s, %s: a logit is off by %g", c.base, c.config, d)
			}
		}
	}
}

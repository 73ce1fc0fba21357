package plan

import (
	"testing"

	"github.com/peft-serve/peft-serve/models"
)

// FuzzParse reads configurations that anyone may have written: what is not
// refused can be planned for.
func FuzzParse(f *testing.F) {
	for _, p := range published {
		f.Add(p.config)
	}
	f.Add(`{"architectures": ["Qwen3ForCausalLM"], "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 3}`)
	f.Add(`{"model_type": "gpt2", "vocab_size": 1, "n_embd": 3, "n_layer": 1, "n_head": 7, "n_positions": 1}`)
	f.Fuzz(func(t *testing.T, config string) {
		b, err := Parse("config.json", []byte(config), models.Options{})
		if err != nil {
			return
		}
		c := b.Config()
		if c.Layers > 64 || c.Hidden > 8192 || c.Vocabulary > 1<<20 {
			return
		}
		for _, m := range []string{"full", "lora", "houlsby", "ia3"} {
			trained, err := b.Train(Choice{Method: m})
			if err != nil {
				continue
			}
			run := Run{Batch: Batch{Sequences: 1, Length: 8}}
			if a := trained.Account(run); a.Total() <= 0 {
				t.Errorf("%s: an account of %d", m, a.Total())
			}
			trained.FLOPs(run.Batch)
		}
	})
}

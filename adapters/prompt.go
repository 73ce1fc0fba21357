package adapters

import (
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Prompt tuning (Lester et al., 2021), P-tuning (Liu et al., 2021) and prefix
// tuning (Li and Liang, 2021). PEFT saves what their encoders compute in one
// tensor without a prefix, prompt_embeddings: for the first two the embeddings
// of the virtual tokens, [n, hidden]; for the last the keys and values of each
// layer, [n, layers·2·kvHeads·headDim], which are not rotated.

func init() {
	register(family{
		peftType: "PROMPT_TUNING", parse: parsePrompt("prompt-tuning"), wrapped: promptPrefix,
		defaults: `{
			"prompt_tuning_init": "RANDOM", "prompt_tuning_init_text": null, "tokenizer_kwargs": null,
			"tokenizer_name_or_path": null}`,
		keys: promptKeys(keys{
			"prompt_tuning_init": inert(aText, untilTrained), "prompt_tuning_init_text": inert(aText, untilTrained),
			"tokenizer_name_or_path": inert(aText, untilTrained), "tokenizer_kwargs": inert(anObject, untilTrained),
		}),
		recipes: []Recipe{{
			Name: "prompt", Also: []string{"prompt-tuning"}, Rate: 3e-2, Reads: promptReads,
			Kinds: func(*Choice) []string { return []string{"prompt-tuning"} },
			Values: func(m models.Model, c *Choice) map[string]any {
				values := virtualValues(m, c, "PROMPT_TUNING", m.Config().Heads, m.Config().Hidden)
				values["prompt_tuning_init"] = "RANDOM"
				return values
			},
		}},
	})
	register(family{
		peftType: "P_TUNING", parse: parsePrompt("p-tuning"), wrapped: promptPrefix,
		keys: promptKeys(keys{
			"encoder_reparameterization_type": inert(aText, savedComputed), "encoder_hidden_size": inert(aNumber, savedComputed),
			"encoder_num_layers": inert(aNumber, savedComputed), "encoder_dropout": inert(aNumber, savedComputed),
		}),
	})
	register(family{
		peftType: "PREFIX_TUNING", parse: parsePrefix, wrapped: promptPrefix,
		defaults: `{"encoder_hidden_size": null, "init_weights": null, "prefix_projection": false}`,
		keys: promptKeys(keys{
			"encoder_hidden_size": inert(aNumber, savedComputed), "prefix_projection": inert(aFlag, savedComputed),
			"init_weights": inert(aText, untilTrained),
		}),
		recipes: []Recipe{{
			Name: "prefix", Also: []string{"prefix-tuning"}, Rate: 1e-2, Reads: promptReads,
			Kinds: func(*Choice) []string { return []string{"prefix-tuning"} },
			Values: func(m models.Model, c *Choice) map[string]any {
				b := m.Config()
				values := virtualValues(m, c, "PREFIX_TUNING", b.KVHeads, b.KVHeads*b.HeadDim)
				values["prefix_projection"] = false
				return values
			},
		}},
	})
}

// promptPrefix stands before a module's name: under a prompt the base is
// wrapped once, under all else twice.
const promptPrefix = "base_model."

var promptReads = []string{"num-virtual-tokens", "modules-to-save", "set"}

func virtualValues(m models.Model, c *Choice, peftType string, heads, width int) map[string]any {
	return map[string]any{
		"peft_type": peftType, "num_virtual_tokens": c.virtual(), "num_layers": m.Config().Layers,
		"num_attention_heads": heads, "token_dim": width, "num_transformer_submodules": 1,
	}
}

// savedComputed is why an encoder's keys are inert.
const savedComputed = "the file holds what the encoder computes"

// promptKeys adds the keys that all three have.
func promptKeys(k keys) keys {
	for _, name := range []string{
		"num_virtual_tokens", "token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers", "modules_to_save",
	} {
		k[name] = read()
	}
	return k
}

const promptTensor = "prompt_embeddings"

// promptSettings is what a configuration states; a size is 0 where it does not.
type promptSettings struct {
	tokens, dim, layers, heads int
	saved                      []string // modules_to_save
}

func (s *settings) promptSettings() promptSettings {
	size, submodules := promptSettings{saved: s.list("modules_to_save")}, 0
	for _, of := range []struct {
		key string
		to  *int
	}{
		{"num_virtual_tokens", &size.tokens}, {"token_dim", &size.dim}, {"num_layers", &size.layers}, {"num_attention_heads", &size.heads},
		{"num_transformer_submodules", &submodules},
	} {
		if s.raw(of.key) != nil {
			*of.to = s.count(of.key, 1)
		}
	}
	if size.tokens == 0 {
		s.fault(ErrConfig, "num_virtual_tokens is missing")
	}
	if submodules > 1 {
		s.fault(ErrConfig, "num_transformer_submodules %d is not implemented: the base is one decoder", submodules)
	}
	return size
}

func (s promptSettings) stated() string { return fmt.Sprintf("num_virtual_tokens=%d", s.tokens) }

// fits holds a stated size against the base's.
func fits(key string, stated, base int) error {
	if stated != 0 && stated != base {
		return fmt.Errorf("%w: %s is %d, the base's is %d", ErrBase, key, stated, base)
	}
	return nil
}

type prompt struct {
	name string
	promptSettings
}

func parsePrompt(name string) parser {
	return func(s *settings) Method { return &prompt{name, s.promptSettings()} }
}

func (m *prompt) Name() string { return m.name }
func (m *prompt) Rank() int    { return 0 }

func (m *prompt) Build(b *Builder) error {
	hidden := b.Model.Config().Hidden
	if err := fits("token_dim", m.dim, hidden); err != nil {
		return err
	}
	if m.tokens >= b.Model.Config().Context {
		return fmt.Errorf("%w: %d virtual tokens fill the base's context of %d", ErrBase, m.tokens, b.Model.Config().Context)
	}
	if width := b.Sites[b.input()].Embedding.W.Cols; width != hidden {
		return fmt.Errorf("%w: %s on embeddings of %d for blocks of %d is not implemented", ErrBase, m.name, width, hidden)
	}
	input := b.embedding(b.input())
	input.virtual = b.Param(promptTensor, m.tokens, hidden).states(0, m.stated(), "%d rows").startsNormal()
	b.virtual = m.tokens
	if err := b.save(m.saved, false); err != nil {
		return err
	}
	if input.table != nil { // PeftModel.word_embeddings
		return fmt.Errorf("%w: modules_to_save names %q, and PEFT looks tokens up in the base's under %s", ErrConfig, b.Sites[b.input()].Name, m.name)
	}
	return nil
}

type prefixTuning struct{ promptSettings }

func parsePrefix(s *settings) Method { return &prefixTuning{s.promptSettings()} }

func (m *prefixTuning) Name() string { return "prefix-tuning" }
func (m *prefixTuning) Rank() int    { return 0 }

func (m *prefixTuning) Build(b *Builder) error {
	c := b.Model.Config()
	if c.NoPrefix {
		return fmt.Errorf("%w: the attention of %s has no place for keys and values before a text", ErrBase, c.Architecture)
	}
	if err := fits("num_layers", m.layers, c.Layers); err != nil {
		return err
	}
	if err := fits("num_attention_heads", m.heads, c.KVHeads); err != nil {
		return err
	}
	if err := fits("token_dim", m.dim, c.KVHeads*c.HeadDim); err != nil {
		return err
	}
	n, d := m.tokens, c.KVHeads*c.HeadDim
	if n >= c.Context {
		return fmt.Errorf("%w: %d virtual tokens fill the base's context of %d", ErrBase, n, c.Context)
	}
	p := b.Param(promptTensor, n, c.Layers*2*d).states(0, m.stated(), "%d rows").startsNormal()
	b.prefix = p
	for range c.Layers {
		b.prefixes = append(b.prefixes, prefix{
			k: kernels.MatrixOf(n, d, b.Derive(n*d)), v: kernels.MatrixOf(n, d, b.Derive(n*d)),
		})
	}
	b.OnRefresh(func() {
		all := p.Values()
		for i, l := range b.prefixes {
			l.k.Copy(all.Columns(2*i*d, (2*i+1)*d))
			l.v.Copy(all.Columns((2*i+1)*d, (2*i+2)*d))
		}
	})
	return b.save(m.saved, false)
}

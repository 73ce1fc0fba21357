package adapters

import (
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
)

// Prompt tuning (Lester et al., 2021), P-tuning (Liu et al., 2021) and prefix
// tuning (Li and Liang, 2021). PEFT saves what their encoders compute in one
// tensor without a prefix, prompt_embeddings: for the first two the embeddings
// of the virtual tokens, [n, hidden]; for the last the keys and values of each
// layer, [n, layers·2·kvHeads·headDim], which are not rotated.

func init() {
	register("PROMPT_TUNING", parsePrompt("prompt-tuning"), promptKeys(keys{
		"prompt_tuning_init": inert(aText, untilTrained), "prompt_tuning_init_text": inert(aText, untilTrained),
		"tokenizer_name_or_path": inert(aText, untilTrained), "tokenizer_kwargs": inert(anObject, untilTrained),
	}))
	register("P_TUNING", parsePrompt("p-tuning"), promptKeys(keys{
		"encoder_reparameterization_type": inert(aText, savedComputed), "encoder_hidden_size": inert(aNumber, savedComputed),
		"encoder_num_layers": inert(aNumber, savedComputed), "encoder_dropout": inert(aNumber, savedComputed),
	}))
	register("PREFIX_TUNING", parsePrefix, promptKeys(keys{
		"encoder_hidden_size": inert(aNumber, savedComputed), "prefix_projection": inert(aFlag, savedComputed),
		"init_weights": inert(aText, untilTrained),
	}))
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

// NamePrefix stands before a module's name in PEFT's tensor names: under a
// prompt the base is wrapped once, under all else twice.
func (c *Config) NamePrefix() string {
	switch c.Type {
	case "PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING":
		return "base_model."
	}
	return "base_model.model."
}

// promptSettings is what a configuration states; a size is 0 where it does not.
type promptSettings struct {
	tokens, dim, layers, heads int
	saved                      []string // modules_to_save
}

func (s *settings) promptSettings() promptSettings {
	size, submodules := promptSettings{saved: s.list("modules_to_save")}, 0
	for key, to := range map[string]*int{
		"num_virtual_tokens": &size.tokens, "token_dim": &size.dim, "num_layers": &size.layers, "num_attention_heads": &size.heads,
		"num_transformer_submodules": &submodules,
	} {
		if s.raw(key) != nil {
			*to = s.count(key, 1)
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

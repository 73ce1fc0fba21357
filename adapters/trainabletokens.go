package adapters

import (
	"fmt"

	"github.com/peft-serve/peft-serve/models"
)

// Trainable tokens without LoRA, as peft/tuners/trainable_tokens saves them:
// see tokens.go. On a base whose embeddings are tied the file has the rows
// twice.

func init() {
	register(family{
		peftType: "TRAINABLE_TOKENS", parse: parseTrainableTokens,
		keys: keys{
			"target_modules": read(), "token_indices": read(), "init_weights": inert(aFlag, untilTrained),
		},
		tensors: []string{"trainable_tokens_delta"},
	})
}

type trainableTokens struct {
	include names // empty: the input embedding
	tokens  []int
}

func parseTrainableTokens(s *settings) Method {
	m := &trainableTokens{include: s.names("target_modules"), tokens: s.integers("token_indices")}
	if len(m.tokens) == 0 {
		s.fault(ErrConfig, "token_indices is missing")
	}
	if m.include.given && m.include.empty() {
		s.fault(ErrConfig, "target_modules is %s, which names no embedding: name some, or write null for the input's", s.raw("target_modules"))
	}
	return m
}

func (m *trainableTokens) Name() string { return "trainable-tokens" }
func (m *trainableTokens) Rank() int    { return 0 }

func (m *trainableTokens) Build(b *Builder) error {
	sites := []int{b.input()}
	if !m.include.empty() {
		var err error
		if sites, err = (&targets{include: m.include, kinds: []models.SiteKind{models.EmbeddingSite, models.LinearSite}}).find(b.Model); err != nil {
			return err
		}
	}
	lists, adapted := map[int][]int{}, map[int]bool{}
	for _, site := range sites {
		if s := b.Sites[site]; s.Kind != models.EmbeddingSite && !s.Head {
			return fmt.Errorf("%w: trainable tokens on %q, which is no embedding, are not implemented", ErrTarget, s.Name)
		}
		lists[site], adapted[site] = m.tokens, true
	}
	if err := b.placeTokens(lists, "", "token_indices"); err != nil {
		return err
	}
	b.wholeEmbeddings(adapted)
	return nil
}

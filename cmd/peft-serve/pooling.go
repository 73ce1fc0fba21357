package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"

	"github.com/peft-serve/peft-serve/models/pooling"
)

// openRecipe reads how embeddings are made; modes that are given come before those of
// the base's files, and what else those say stays. Files that cannot be followed are a
// fault that is told to whoever asks for an embedding: the base does the rest without.
func (b *base) openRecipe(modes string, log *slog.Logger) error {
	if b.source.GGUF != nil {
		b.recipe, b.recipeFault = pooling.FromGGUF(b.source.GGUF)
	} else {
		b.recipe, b.recipeFault = pooling.Load(b.path)
		if b.recipeFault == nil && b.recipe != nil && modes == "" {
			b.recipeFault = b.recipe.Check(b.model.Config().Hidden)
		}
		if b.recipeFault != nil && !errors.Is(b.recipeFault, pooling.ErrRecipe) {
			return b.recipeFault
		}
	}
	if modes != "" {
		parsed, err := pooling.Parse(modes)
		if err != nil {
			return err
		}
		if b.recipe = cmp.Or(b.recipe, pooling.Default(b.model.Config().Causal)); b.recipeFault != nil {
			log.Warn("the base's files about embeddings are passed over (--pooling)", "error", b.recipeFault)
			b.recipe, b.recipeFault = pooling.Default(b.model.Config().Causal), nil
		}
		b.recipe.Modes = parsed
		if err := b.recipe.Check(b.model.Config().Hidden); err != nil {
			return fmt.Errorf("--pooling: %w", err)
		}
	}
	if b.recipeFault != nil {
		log.Warn("texts are not embedded", "error", b.recipeFault)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// tokenizerCommand learns a tokenizer.
type tokenizerCommand struct {
	Text         []string `arg:"" help:"Texts to learn from: .txt files." type:"path"`
	Format       string   `help:"What a text is: one of documents, or one of books in the form of Project Gutenberg's, whose lines are joined and whose chapters are documents." enum:"documents,books" default:"documents"`
	Vocabulary   int      `help:"Pieces in all: the special tokens, 256 bytes and what is learnt." default:"4096"`
	Special      []string `help:"Special tokens, which have the first ids; <|endoftext|> if none are named." default:"<|endoftext|>" placeholder:"TOKEN"`
	EOS          string   `name:"eos" help:"The one that ends a text; the first if empty." placeholder:"TOKEN"`
	BOS          string   `name:"bos" help:"The one that begins a text." placeholder:"TOKEN"`
	Pad          string   `help:"The one that fills up batches." placeholder:"TOKEN"`
	Digits       bool     `help:"Keep digits apart, so that a number is spelt one way." default:"true" negatable:""`
	ChatTemplate string   `help:"File with a chat template." placeholder:"FILE"`
	Output       string   `help:"Folder to write." placeholder:"DIR"`
	Overwrite    bool     `help:"Replace the tokenizer in --output."`
}

// Run learns, writes and reads back.
func (t *tokenizerCommand) Run(ctx context.Context, c console) error {
	if len(t.Special) > 0 && t.EOS == "" {
		t.EOS = t.Special[0]
	}
	trainer := &tokenizer.Trainer{Vocabulary: t.Vocabulary, Special: t.Special, Digits: t.Digits}
	roles := tokenizer.Roles{BOS: t.BOS, EOS: t.EOS, Pad: t.Pad}
	if err := t.check(trainer, roles); err != nil {
		return err
	}
	template, err := t.template()
	if err != nil {
		return fmt.Errorf("--chat-template: %w", err)
	}
	documents, size := 0, 0
	for _, path := range t.Text {
		texts, err := dataset.Documents(path, t.Format)
		if err != nil {
			return err
		}
		for _, text := range texts {
			documents, size = documents+1, size+len(text)
			if err := trainer.Add(ctx, text); err != nil {
				return err
			}
		}
	}
	c.note("text: %d files, %d documents, %d bytes", len(t.Text), documents, size)
	trained, err := trainer.Train(ctx)
	if err != nil {
		return fmt.Errorf("--vocabulary: %w", err)
	}
	if err := disk.MkdirAll(t.Output); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	if err := trained.Write(t.Output, roles, template); err != nil {
		return err
	}
	own, err := tokenizer.Load(t.Output)
	if err != nil {
		return fmt.Errorf("what was written cannot be read back: %w", err)
	}
	_, err = fmt.Fprintf(c.out, "%s: %d pieces\n", t.Output, own.VocabSize())
	return err
}

// template reads the chat template, and sees that it is one.
func (t *tokenizerCommand) template() (string, error) {
	if t.ChatTemplate == "" {
		return "", nil
	}
	b, err := os.ReadFile(t.ChatTemplate)
	if err != nil {
		return "", err
	}
	source := chat.Source{Text: string(b)}
	if _, err := source.Compile(); err != nil {
		return "", fmt.Errorf("%s: %w", t.ChatTemplate, err)
	}
	return source.Text, nil
}

// check reports everything that is wrong with the settings.
func (t *tokenizerCommand) check(trainer *tokenizer.Trainer, roles tokenizer.Roles) error {
	wrong := []error{trainer.Validate(), roles.Validate(t.Special)}
	if t.Output == "" {
		wrong = append(wrong, errors.New("--output: is missing"))
	} else if _, err := os.Stat(filepath.Join(t.Output, "tokenizer.json")); err == nil && !t.Overwrite {
		wrong = append(wrong, fmt.Errorf("--output: %s holds a tokenizer: choose another folder, or --overwrite replaces it", t.Output))
	}
	return faultsOf(wrong)
}

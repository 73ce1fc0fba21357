package training

import (
	"errors"
	"time"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// BaseConfig is how a base is read. The tags are read by the command line and by
// recipes.
type BaseConfig struct {
	IgnoreConfigKey []string `help:"Keys of the base's config.json, or of its GGUF metadata, to read as if they were not there." placeholder:"NAME" group:"base"`
	SlidingWindow   *int     `help:"Sliding window of the base's attention, in tokens; 0: none; by default its own." placeholder:"TOKENS" group:"base" is:"amount"`
}

// Options are those to open the base with.
func (c BaseConfig) Options() models.Options {
	return models.Options{IgnoreConfigKeys: c.IgnoreConfigKey, SlidingWindow: c.SlidingWindow}
}

// Opened is a base model with its tokenizer and chat template.
type Opened struct {
	Path      string         // what was opened; a name, where it was bytes
	Options   models.Options // with which it was opened
	Name      string         // what an adapter calls it: see models.Source.OwnName
	Revision  string         // of that name, where it was fetched by it and is not the main one
	Model     models.Model
	Source    *models.Source
	Tokenizer *tokenizer.Tokenizer
	Chat      *chat.Template // nil: it has none

	contents []byte // of a GGUF file; nil: Path is a file or a folder

	begun *Pretraining // with random values; nil: the base is one that was trained
}

// Open opens the base at path: a folder or a GGUF file. What is trained of it
// in float32 is trained where it is mapped; the file stays as it is.
func Open(path string, c BaseConfig) (*Opened, error) {
	return (&Opened{Path: path, Options: c.Options()}).open()
}

// OpenBytes is Open of a GGUF file's contents, which stay as they are; name is what
// errors and reports call it.
func OpenBytes(name string, contents []byte, c BaseConfig) (*Opened, error) {
	return (&Opened{Path: name, Options: c.Options(), contents: contents}).open()
}

func (o *Opened) open() (*Opened, error) {
	writable := o.Options
	writable.Private = true
	m, s, err := o.weights(writable)
	if err != nil {
		return nil, err
	}
	o.Name, o.Model, o.Source = s.OwnName(), m, s
	if err := o.text(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return o, nil
}

// weights opens the model of what is at Path or in contents.
func (o *Opened) weights(options models.Options) (models.Model, *models.Source, error) {
	if o.contents != nil {
		return models.OpenGGUFBytes(o.Path, o.contents, options)
	}
	return models.Open(o.Path, options)
}

func (o *Opened) text() (err error) {
	if o.Source != nil && o.Source.GGUF != nil {
		if o.Tokenizer, err = tokenizer.FromGGUF(o.Source.GGUF); err != nil {
			return err
		}
		o.Chat, err = chat.FromGGUF(o.Source.GGUF)
	} else {
		if o.Tokenizer, err = tokenizer.Load(o.Path); err != nil {
			return err
		}
		o.Chat, err = chat.Load(o.Path)
	}
	switch {
	case errors.Is(err, chat.ErrNoTemplate):
		return nil
	case err != nil:
		return err
	}
	o.Chat = o.Chat.WithTokens(o.Tokenizer)
	return nil
}

// End is the token that ends a text, -1 where there is none.
func (o *Opened) End() int32 {
	if id, ok := o.Tokenizer.EOS(); ok {
		return id
	}
	if eos := o.Model.Config().EOS; len(eos) > 0 {
		return eos[0]
	}
	return -1
}

// encoder turns texts into sequences of up to length tokens.
func (o *Opened) encoder(length int) *dataset.Encoder {
	c := o.Model.Config()
	return &dataset.Encoder{Tokenizer: o.Tokenizer, End: o.End(), Vocabulary: c.Vocabulary, MaxLength: length, Types: c.TokenTypes > 1}
}

// conversations says how the base's template renders them, as the server does.
func (o *Opened) conversations(turns string, now time.Time) dataset.Chat {
	return dataset.Chat{Template: o.Chat, Special: o.Tokenizer.SpecialTokens(), Turns: turns, Now: now}
}

// Close unmaps the weights.
func (o *Opened) Close() error { return o.Source.Close() }

// digest is how runs tell bases apart, as they are before a run trains them.
func (o *Opened) digest() string { return models.Digest(o.Model)[:16] }

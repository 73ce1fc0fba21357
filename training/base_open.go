package training

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Opened is a base model with its tokenizer and chat template.
type Opened struct {
	Path      string
	Model     models.Model
	Source    *models.Source
	Tokenizer *tokenizer.Tokenizer
	Chat      *chat.Template // nil: it has none
}

// Open opens the base at path: a folder or a GGUF file. What is trained of it
// in float32 is trained where it is mapped; the file stays as it is.
func Open(path string) (*Opened, error) {
	m, s, err := models.Open(path, models.Options{Private: true})
	if err != nil {
		return nil, err
	}
	o := &Opened{Path: path, Model: m, Source: s}
	if err := o.text(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return o, nil
}

func (o *Opened) text() (err error) {
	if o.Source.GGUF != nil {
		if o.Tokenizer, err = tokenizer.FromGGUF(o.Source.GGUF); err != nil {
			return err
		}
		if template, ok := o.Source.GGUF.String("tokenizer.chat_template"); ok {
			o.Chat, err = chat.New(template)
		}
		return err
	}
	if o.Tokenizer, err = tokenizer.Load(o.Path); err != nil {
		return err
	}
	if o.Chat, err = chat.Load(o.Path); errors.Is(err, chat.ErrNoTemplate) {
		return nil
	}
	return err
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

// Close unmaps the weights.
func (o *Opened) Close() error { return o.Source.Close() }

// digest tells bases apart by the first row of every matrix and the first value
// of every norm, as they are before a run trains them.
func (o *Opened) digest() string {
	h := sha256.New()
	for _, s := range o.Model.Sites() {
		_, _ = h.Write([]byte(s.Name)) // a hash never fails
		switch s.Kind {
		case models.LinearSite:
			_, _ = h.Write(s.Linear.W.Row(0))
		case models.EmbeddingSite:
			_, _ = h.Write(s.Embedding.W.Row(0))
		case models.NormSite:
			_, _ = h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(s.Norm.Weight[0])))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

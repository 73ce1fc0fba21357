package training

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"time"

	"github.com/peft-serve/peft-serve/kernels"
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
	return &dataset.Encoder{Tokenizer: o.Tokenizer, End: o.End(), Vocabulary: o.Model.Config().Vocabulary, MaxLength: length}
}

// conversations says how the base's template renders them, as the server does.
func (o *Opened) conversations(turns string, now time.Time) dataset.Chat {
	return dataset.Chat{Template: o.Chat, Special: o.Tokenizer.SpecialTokens(), Turns: turns, Now: now}
}

// Close unmaps the weights.
func (o *Opened) Close() error { return o.Source.Close() }

// digestRows bounds the rows of a matrix that digest reads, so that it takes
// milliseconds of a large base too.
const digestRows = 16

// digest tells bases apart by rows spread over every matrix and by every norm
// and bias, as they are before a run trains them.
func (o *Opened) digest() string {
	h := sha256.New()
	write := func(b []byte) { _, _ = h.Write(b) } // a hash never fails
	matrix := func(w kernels.Weight) {
		n := min(digestRows, w.Rows)
		for i := range n {
			write(w.Row(i * (w.Rows - 1) / max(n-1, 1))) // the last one too
		}
	}
	var buffer []byte
	vector := func(v []float32) {
		buffer = buffer[:0]
		for _, x := range v {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(x))
		}
		write(buffer)
	}
	for _, s := range o.Model.Sites() {
		write([]byte(s.Name))
		switch s.Kind {
		case models.LinearSite:
			matrix(s.Linear.W)
			vector(s.Linear.Bias)
		case models.EmbeddingSite:
			matrix(s.Embedding.W)
		case models.NormSite:
			vector(s.Norm.Weight)
			vector(s.Norm.Bias)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

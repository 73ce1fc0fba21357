package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/builtin"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/hub"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// base is an opened base model.
type base struct {
	model  models.Model
	source *models.Source
	text   *tokenizer.Tokenizer
	chat   *chat.Template // nil: it has none
	path   string         // its folder or file

	tokenizers *adapters.Tokenizers
	precision  adapters.Precision // of adapters
	sampling   adapters.SamplingDefaults

	recipe      *pooling.Recipe // of embeddings; nil: the default one
	recipeFault error           // why the base's own cannot be followed

	names  []string      // that it goes by
	strict bool          // adapters that name another base are refused
	digest func() string // models.Digest, once
}

// openBase opens a folder, a .gguf file, what is built in or what an hf:// URI
// names, which is fetched first if it has to be.
func openBase(ctx context.Context, uri string, o models.Options, c console) (*base, error) {
	path := uri
	if hub.IsRef(uri) {
		snapshot, err := fetch(ctx, uri, c)
		if err != nil {
			return nil, err
		}
		path = snapshot.Path()
	}
	model, source, err := openModel(path, o)
	if err != nil {
		return nil, err
	}
	b := &base{model: model, source: source, path: path, digest: sync.OnceValue(func() string { return models.Digest(model) })}
	b.names = baseNames(uri, b)
	if err := b.openText(); err != nil {
		return nil, errors.Join(err, source.Close())
	}
	return b, nil
}

func openModel(path string, o models.Options) (models.Model, *models.Source, error) {
	if path == builtin.Base {
		return models.OpenGGUFBytes(path, builtin.GGUF(), o)
	}
	return models.Open(path, o)
}

func (b *base) openText() (err error) {
	if b.source.GGUF == nil {
		if b.text, err = tokenizer.Load(b.path); err != nil {
			return err
		}
		b.chat, err = chat.Load(b.path)
	} else {
		if b.text, err = tokenizer.FromGGUF(b.source.GGUF); err != nil {
			return err
		}
		b.chat, err = chat.FromGGUF(b.source.GGUF)
	}
	if err != nil && !errors.Is(err, chat.ErrNoTemplate) {
		return err
	}
	var files func() (*tokenizer.Source, error)
	if b.source.GGUF == nil {
		files = func() (*tokenizer.Source, error) { return tokenizer.ReadSource(b.path) }
	}
	b.tokenizers = adapters.NewTokenizers(b.text, files)
	return b.openSampling()
}

// openSampling reads what the folder recommends to sample with; a GGUF file
// says nothing of it.
func (b *base) openSampling() error {
	path := filepath.Join(b.path, "generation_config.json")
	file, err := regular.Text(path, regular.Config)
	if b.source.GGUF != nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		b.sampling, err = adapters.ParseSamplingDefaults(file)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// generates reports whether the base generates text; else it encodes it.
func (b *base) generates() bool { return b.model.Config().Architecture.Does(models.Generate) }

// decoder is the tokenizer's, as the engine wants it.
func (b *base) decoder(skipSpecial bool) runtime.Decoder { return b.text.NewDecoder(skipSpecial) }

// load reads an adapter for this base.
func (b *base) load(ctx context.Context, s catalogue.Source) (catalogue.Adapter, error) {
	folder, err := openAdapter(s)
	if err != nil {
		return nil, err
	}
	if stranger := b.stranger(folder.Config.Base); stranger != "" && b.strict {
		return nil, fmt.Errorf("%s: %w: %s (--strict-base)", s.Dir, adapters.ErrBase, stranger)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, err := adapters.LoadIn(b.model, folder, b.precision)
	if err != nil {
		return nil, err
	}
	if err := pinned(s.URI, a.Digest()); err != nil {
		return nil, err
	}
	if err := b.tokenizers.Equip(a, folder, a.Vocabulary()); err != nil {
		return nil, err
	}
	return a, nil
}

func openAdapter(s catalogue.Source) (*adapters.Folder, error) {
	if builtin.Has(s.URI) {
		return builtin.Open(s.URI)
	}
	return adapters.Open(s.Dir)
}

// size tells how much memory it takes to read the adapter in a folder.
func (b *base) size(dir string) int { return adapters.FolderBytes(b.model, dir, b.precision) }

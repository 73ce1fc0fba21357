package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// goldens is where the tiny bases and their adapters lie, from the
// repository's folder.
const goldens = "testdata/goldens"

// silent is for what is expected to go wrong.
var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// base is an open base with its tokenizer, or where it has none, as the golden
// ones, one of single characters.
type base struct {
	model  models.Model
	source *models.Source
	text   *tokenizer.Tokenizer
	words  *adapters.Tokenizers
}

func openBase(dir string) (*base, error) {
	model, source, err := models.Open(dir, models.Options{})
	if err != nil {
		return nil, err
	}
	text, err := textOf(source)
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	return &base{model, source, text, adapters.NewTokenizers(text, nil)}, nil
}

func textOf(source *models.Source) (*tokenizer.Tokenizer, error) {
	if source.GGUF != nil {
		return tokenizer.FromGGUF(source.GGUF)
	}
	text, err := tokenizer.Load(source.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return tokenizer.FromJSON(characters())
	}
	return text, err
}

// decoder is the tokenizer's, as the engine wants it.
func (b *base) decoder(skipSpecial bool) runtime.Decoder { return b.text.NewDecoder(skipSpecial) }

// load reads an adapter as the server does.
func (b *base) load(_ context.Context, s catalogue.Source) (catalogue.Adapter, error) {
	folder, err := adapters.Open(s.Dir)
	if err != nil {
		return nil, err
	}
	a, err := adapters.Load(b.model, folder)
	if err != nil {
		return nil, err
	}
	if err := b.words.Equip(a, folder, a.Vocabulary()); err != nil {
		return nil, err
	}
	return a, nil
}

// size tells how much memory it takes to read the adapter in a folder.
func (b *base) size(dir string) int { return adapters.FolderBytes(b.model, dir, adapters.AsStored) }

// characters is a tokenizer.json of the golden bases' 96 tokens: two special
// ones and 94 characters.
func characters() []byte {
	vocabulary := map[string]int{"<s>": 0, "</s>": 1}
	for c := ' '; c < '~'; c++ {
		vocabulary[string(c)] = len(vocabulary)
	}
	special := func(id int, content string) map[string]any {
		return map[string]any{"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}
	}
	file, err := json.Marshal(map[string]any{
		"added_tokens": []any{special(0, "<s>"), special(1, "</s>")},
		"decoder":      map[string]any{"type": "Fuse"}, // which puts no blanks between them
		"model":        map[string]any{"type": "BPE", "vocab": vocabulary, "merges": []any{}, "unk_token": "</s>"},
	})
	if err != nil {
		panic(err) // there is nothing in it that cannot be written
	}
	return file
}

// goldenBases lists the folders of the golden bases that generate text.
func goldenBases(root string) ([]string, error) { return goldenFolders(root, "*") }

// goldenEncoders lists those of the golden encoders.
func goldenEncoders(root string) ([]string, error) { return goldenFolders(root, "encoders", "*") }

func goldenFolders(root string, pattern ...string) ([]string, error) {
	in := filepath.Join(append([]string{root, goldens}, pattern...)...)
	files, err := filepath.Glob(filepath.Join(in, "golden.safetensors"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s: there is no golden base: run this in the repository's folder", goldens)
	}
	for i, f := range files {
		files[i] = filepath.Dir(f)
	}
	return files, nil
}

// startEngine starts an engine with a pool of its own; stop ends both.
func startEngine(b *base, threads int, o runtime.Options) (e *runtime.Engine, stop func(), err error) {
	pool := kernels.NewPool(threads)
	o.Log, o.Largest = silent, b.source.Largest
	e, err = runtime.New(b.model, b.decoder, pool, o)
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return e, func() {
		_ = e.Close(context.Background()) // which ends when all have ended
		pool.Close()
	}, nil
}

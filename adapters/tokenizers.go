package adapters

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// otherTokenizers are files of tokenizers that are not read. transformers writes a
// tokenizer.json beside them, unless it is told not to.
var otherTokenizers = []string{"tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json"}

// hasTokenizer reports whether there is a tokenizer.json in a folder, and refuses
// a tokenizer in another form alone.
func hasTokenizer(dir string) (bool, error) {
	err := regular.Check(filepath.Join(dir, "tokenizer.json"), math.MaxInt64)
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	for _, name := range otherTokenizers {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return false, fmt.Errorf("%w: %s is of a tokenizer, which is read from a tokenizer.json alone: save one beside it, as transformers' fast tokenizers do; without its files the adapter is served with the base's", ErrConfig, name)
		}
	}
	return false, nil
}

// Tokenizers gives adapters the tokenizers that their folders bring. One that
// does the same as the base's is the base's; another one is the adapter's own,
// shared by all adapters that bring it. What begins and ends a text is what it
// is in the base, unless the folder says otherwise.
type Tokenizers struct {
	base   *tokenizer.Tokenizer
	source func() (*tokenizer.Source, error) // of the base's; nil: it has no files

	// Bytes is what those that are remembered take together at most.
	Bytes int
	// Reserve, if set, sets memory aside that building a tokenizer takes, until
	// release.
	Reserve func(bytes int) (release func(), err error)

	once  sync.Once // the base's own files are looked at when an adapter brings some
	files tokenizer.Key
	same  *lru.Cache[tokenizerID, error]
	own   *lru.Cache[tokenizerID, *tokenizer.Tokenizer]
}

// tokenizerID is what a tokenizer is made from.
type tokenizerID struct {
	key   tokenizer.Key
	roles string
}

// What is remembered: which files are the base's or cannot be used, and the
// tokenizers that were made last, whether or not an adapter in memory has them.
const (
	knownFiles      = 1024
	knownTokenizers = 8
	TokenizerBytes  = 96 << 20 // of these together, where there is room
)

// NewTokenizers returns those for a base whose tokenizer was made from the
// files that source reads; nil: from something else.
func NewTokenizers(base *tokenizer.Tokenizer, source func() (*tokenizer.Source, error)) *Tokenizers {
	same, err := lru.New[tokenizerID, error](knownFiles)
	if err != nil {
		panic(err) // only for a size below 1
	}
	own, err := lru.New[tokenizerID, *tokenizer.Tokenizer](knownTokenizers)
	if err != nil {
		panic(err)
	}
	return &Tokenizers{base: base, source: source, Bytes: TokenizerBytes, same: same, own: own}
}

// Equip gives an adapter, which has so many tokens, the tokenizer and the end
// tokens that its folder names. Files that were seen before cost their reading
// alone.
func (k *Tokenizers) Equip(a *Adapter, f *Folder, vocabulary int) error {
	text, err := k.of(f, vocabulary)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Dir, err)
	}
	a.text = text
	if text == nil {
		text = k.base
	}
	for _, e := range f.ends {
		id, err := e.resolve(text, vocabulary)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Dir, err)
		}
		if !slices.Contains(a.ends, id) {
			a.ends = append(a.ends, id)
		}
	}
	return nil
}

// A tokenizer.json may have so many bytes for each of the adapter's tokens, and
// for all else in it. Known ones have up to 140 a token; building takes a second
// of a processor for every five million bytes, whatever they say.
const (
	bytesPerToken = 256
	bytesBeside   = 4 << 20
)

// of returns a folder's tokenizer; nil: it has none, or the base's.
func (k *Tokenizers) of(f *Folder, vocabulary int) (*tokenizer.Tokenizer, error) {
	if !f.tokenizer {
		return nil, nil
	}
	if err := regular.Check(filepath.Join(f.Dir, "tokenizer.json"), bytesBeside+bytesPerToken*int64(vocabulary)); err != nil {
		return nil, fmt.Errorf("%w: %w for the adapter's %d tokens", ErrConfig, err, vocabulary)
	}
	source, err := tokenizer.ReadSource(f.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	source.Inherit(k.base)
	id := tokenizerID{source.Key(), source.Roles()}
	if err, ok := k.same.Get(id); ok {
		return nil, err
	}
	if text, ok := k.own.Get(id); ok {
		return text, nil
	}
	text, err := k.build(source, id)
	var full *reserveError
	switch {
	case errors.As(err, &full):
		return nil, full.error
	case err != nil:
		err = fmt.Errorf("%w: the adapter's tokenizer cannot be used: %w; without its files the adapter is served with the base's", ErrConfig, err)
		k.same.Add(id, err)
		return nil, err
	case text == nil:
		k.same.Add(id, nil)
		return nil, nil
	}
	k.remember(id, text)
	return text, nil
}

// remember keeps a tokenizer, and as many of those before it as there is room for.
func (k *Tokenizers) remember(id tokenizerID, text *tokenizer.Tokenizer) {
	k.own.Add(id, text)
	bytes := 0
	for _, text := range k.own.Values() {
		bytes += text.Bytes()
	}
	for bytes > k.Bytes {
		_, oldest, ok := k.own.RemoveOldest()
		if !ok {
			return // others have forgotten them
		}
		bytes -= oldest.Bytes()
	}
}

// reserveError is no fault of the files.
type reserveError struct{ error }

// build makes a tokenizer; nil: it is the base's.
func (k *Tokenizers) build(source *tokenizer.Source, id tokenizerID) (*tokenizer.Tokenizer, error) {
	k.once.Do(func() {
		if k.source == nil {
			return
		}
		if s, err := k.source(); err == nil {
			k.files = s.Key()
		}
	})
	if id.key != k.files {
		if k.Reserve != nil {
			release, err := k.Reserve(perTokenizerByte * source.Len())
			if err != nil {
				return nil, &reserveError{err}
			}
			defer release()
		}
		text, err := source.Tokenizer()
		if err != nil || !text.Same(k.base) {
			return text, err
		}
	}
	text := k.base.WithRoles(source)
	if text.SameRoles(k.base) {
		return nil, nil
	}
	return text, nil
}

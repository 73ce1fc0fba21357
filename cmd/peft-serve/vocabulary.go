package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// vocabulary holds the tokenizers that adapters bring against the base's.
//
// Every request is tokenised by the base's. A tokenizer.json that gives one of
// the base's ids another text, as when reserved tokens are put to use, belongs
// to prompts that the base's tokenizer cannot make, and its adapter is refused.
// Ids that the base has no embedding for are passed over: no prompt in training
// had them, since an adapter that resizes the embeddings does not load.
type vocabulary struct {
	text *tokenizer.Tokenizer
	file string // the base's own, if it has one
	rows int32  // of the embedding

	mu    sync.Mutex
	known map[[sha256.Size]byte]error // what was found, by content
}

// errVocabulary is wrapped by what check finds.
var errVocabulary = errors.New("the adapter's tokenizer.json is not the base's")

func newVocabulary(b *base) *vocabulary {
	return &vocabulary{
		text: b.text, file: filepath.Join(b.path, "tokenizer.json"), rows: int32(b.model.Config().Vocabulary),
		known: map[[sha256.Size]byte]error{},
	}
}

// check reads the tokenizer.json at path, if it is not empty. Content that was
// seen before costs its reading alone.
func (v *vocabulary) check(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: %w", errVocabulary, err)
	}
	sum := sha256.Sum256(file)
	v.mu.Lock()
	found, ok := v.known[sum]
	v.mu.Unlock()
	if ok {
		return found
	}
	found = v.compare(file)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxKnown {
		clear(v.known)
	}
	v.known[sum] = found
	return found
}

// maxKnown bounds what is remembered.
const maxKnown = 1024

func (v *vocabulary) compare(file []byte) error {
	if own, err := os.ReadFile(v.file); err == nil && bytes.Equal(own, file) {
		return nil
	}
	other, err := tokenizer.FromJSON(file)
	if err != nil {
		return fmt.Errorf("%w: it cannot be read: %w; without the file the adapter is served with the base's", errVocabulary, err)
	}
	for id := range min(int32(other.VocabSize()), v.rows) {
		if theirs, ours := other.Token(id), v.text.Token(id); theirs != "" && theirs != ours {
			return fmt.Errorf("%w: token %d is %q there and %q in the base, whose tokenizer every prompt is made with", errVocabulary, id, theirs, ours)
		}
	}
	return nil
}

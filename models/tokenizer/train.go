package tokenizer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Trainer learns a byte-level BPE from texts, with the merges that Hugging
// Face tokenizers' BpeTrainer learns from them.
type Trainer struct {
	// Vocabulary is the number of pieces: special tokens, the 256 bytes, merges.
	Vocabulary int
	// Special tokens have the first ids, in this order.
	Special []string
	// Digits makes every digit a word of its own.
	Digits bool

	words map[string]int // how often each was seen
}

// Validate reports what is wrong with the settings.
func (t *Trainer) Validate() error {
	var faults []error
	fault := func(format string, a ...any) { faults = append(faults, fmt.Errorf(format, a...)) }
	for i, token := range t.Special {
		switch {
		case !utf8.ValidString(token):
			fault("special token %q is not UTF-8", token)
		case utf8.RuneCountInString(strings.TrimSpace(token)) < 2 || len(token) > maxAdded:
			fault("special token %q: want 2 characters or more, and at most %d bytes", token, maxAdded)
		case slices.Contains(t.Special[:i], token):
			fault("special token %q is there twice", token)
		}
	}
	if least := len(t.Special) + len(byteToRune); t.Vocabulary < least {
		fault("a vocabulary of %d has no room for %d special tokens and 256 bytes: want at least %d", t.Vocabulary, len(t.Special), least)
	}
	return errors.Join(faults...)
}

// cutsWords is the stage of a tokenizer.json that cuts texts into words.
func cutsWords(digits bool) stage {
	words := stage{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	if !digits {
		return words
	}
	return stage{"type": "Sequence", "pretokenizers": []stage{{"type": "Digits", "individual_digits": true}, words}}
}

// Add counts the words of a text.
func (t *Trainer) Add(ctx context.Context, text string) error {
	raw, err := json.Marshal(cutsWords(t.Digits))
	if err != nil {
		return err
	}
	var pre splitting
	if err := pre.parse(raw, "pre_tokenizer"); err != nil {
		return err
	}
	if t.words == nil {
		t.words = map[string]int{}
	}
	counting := &Tokenizer{splitters: pre.splitters, model: wordCounter(t.words)}
	_, err = counting.AppendEncode(ctx, nil, text, Options{})
	return err
}

// wordCounter is a model that counts words and makes no ids of them.
type wordCounter map[string]int

func (c wordCounter) encode(dst []int32, word string, _ *scratch) []int32 {
	if c[word] == 0 {
		word = strings.Clone(word) // it would keep the whole text
	}
	c[word]++
	return dst
}

func (wordCounter) needed(string) (bytes, longest int) { return 0, 1 }

func (wordCounter) hide(string) {}

// Train learns merges until the vocabulary is full.
func (t *Trainer) Train(ctx context.Context) (*Trained, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	l := newLearner(t)
	for len(l.pieces) < t.Vocabulary {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !l.merge() {
			return nil, fmt.Errorf("the texts come to %d pieces, not %d: more text or a smaller vocabulary is wanted", len(l.pieces), t.Vocabulary)
		}
	}
	return &Trained{special: t.Special, digits: t.Digits, pieces: l.pieces, merges: l.spelled()}, nil
}

package tokenizer

import (
	"context"
	"errors"
	"fmt"
)

// A TooLongError reports a text of more ids than Options.Max.
type TooLongError struct {
	Max int
	// Least is how many ids the text has at least where its length alone told
	// that they are too many, 0 where they were counted.
	Least int
	Bytes int // of the text
}

func (e *TooLongError) Error() string {
	if e.Least > 0 {
		return fmt.Sprintf("the text has %d bytes, which are at least %d tokens: more than %d", e.Bytes, e.Least, e.Max)
	}
	return fmt.Sprintf("the text of %d bytes has more than %d tokens", e.Bytes, e.Max)
}

// ErrStage is wrapped by the error of a text that one of the tokenizer's own
// stages cannot take: the message names the stage.
var ErrStage = errors.New("the tokenizer cannot encode this text")

var (
	errGrows = errors.New("it makes the text too long")
	errSlow  = errors.New("its regular expression takes too long on this text")
)

// maxStages bounds the normalizers, pre-tokenizers and decoders of a file, each
// of which costs a walk over the text.
const maxStages = 256

// maxAround bounds the ids that a template puts around texts: they are part of
// every encoding.
const maxAround = 4096

// grown is the most bytes that the normalizers may make of a text of n. No
// character grows more than elevenfold by itself (NFKC), or to thirtyfold with
// spaces that are written "▁".
func grown(n int) int { return n + min(63*n, 3*n+64<<20) + 64<<10 }

// scratch is the working memory of one encoding, and what bounds it.
type scratch struct {
	ctx     context.Context
	already int // ids there were before
	most    int // the most ids, those included
	bytes   int // of the text
	beats   int // since ctx was looked at
	err     error

	ids     []int32
	few     [fewSymbols]join
	symbols []symbol
	heap    []candidate
	reached []int32
	scores  []float64
}

// maxKept bounds the memory, in elements, that waits for the next encoding.
const maxKept = 1 << 16

// rest lets go of the working memory that a long word took.
func (s *scratch) rest() {
	*s = scratch{ids: kept(s.ids), symbols: kept(s.symbols), heap: kept(s.heap), reached: kept(s.reached), scores: s.scores}
}

func kept[T any](s []T) []T {
	if cap(s) > maxKept {
		return nil
	}
	return s[:0]
}

// beat is called once in a while by whatever may take long: false says stop.
func (s *scratch) beat() bool {
	if s.err == nil && s.ctx.Err() != nil {
		s.err = context.Cause(s.ctx)
	}
	return s.err == nil
}

// beats is how many small pieces of work go by between two looks at the
// context.
const beats = 1 << 12

// tick is beat for small pieces of work.
func (s *scratch) tick() bool {
	if s.beats++; s.beats < beats {
		return s.err == nil
	}
	s.beats = 0
	return s.beat()
}

// fits reports whether n ids are not too many, and makes it an error if they
// are.
func (s *scratch) fits(n int) bool {
	if n > s.most && s.err == nil {
		s.err = &TooLongError{Max: s.most - s.already, Bytes: s.bytes}
	}
	return s.err == nil
}

// least reports whether so many ids and more fit beside n.
func (s *scratch) least(n, more int) bool {
	if least := n + more; least > s.most && s.err == nil {
		s.err = &TooLongError{Max: s.most - s.already, Least: least - s.already, Bytes: s.bytes}
	}
	return s.err == nil
}

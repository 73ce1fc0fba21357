package serve

import (
	"strings"
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// span is the part of a text that a token stands for, in characters.
type span struct{ start, stop int }

// spansOf are the spans of the ids that a text was encoded to. Those that share
// a character all span it. A special token that the text spells is as wide as
// it is spelled there; added tells that the encoding put others around the
// text: they have no width.
func spansOf(t *tokenizer.Tokenizer, text string, ids []int32, added bool) []span {
	before, after := 0, 0
	if added {
		before, after = t.Around()
	}
	spans := make([]span, len(ids))
	decoder, w := t.NewDecoder(false), walk{rest: text}
	for i, id := range ids {
		if i < before || i >= len(ids)-after {
			spans[i] = span{w.at, w.at}
			continue
		}
		if spans[i] = w.take(decoder.Push(id)); decoder.Incomplete() {
			spans[i].stop++
		}
	}
	return spans
}

// walk goes through a text by the pieces that its tokens decode to. These are
// not always the text: a vocabulary may put a space before what follows a
// special token, a special token may take the white space beside it, and a
// normalizer may spell characters in another way.
type walk struct {
	rest string // of the text
	at   int    // the character that it begins at
	lost int    // bytes of the pieces that were not found since one was
}

// take returns the span of the next piece.
func (w *walk) take(piece string) span {
	skip, length := w.find(piece)
	if skip < 0 {
		w.lost += len(piece)
		skip, length = 0, prefixOf(w.rest, utf8.RuneCountInString(piece))
	} else if length > 0 {
		w.lost = 0
	}
	w.pass(skip)
	start := w.at
	w.pass(length)
	return span{start, w.at}
}

// find returns where the piece is in the rest of the text, or near, and how
// many bytes it has there; at -1 it is not.
func (w *walk) find(piece string) (at, length int) {
	bare := strings.TrimPrefix(piece, " ")
	if w.lost == 0 && !strings.HasPrefix(w.rest, piece) && strings.HasPrefix(w.rest, bare) {
		return 0, len(bare)
	}
	near := 16 + 4*min(w.lost, 64) + len(piece)
	return strings.Index(w.rest[:min(len(w.rest), near)], piece), len(piece)
}

func (w *walk) pass(bytes int) {
	w.at += utf8.RuneCountInString(w.rest[:bytes])
	w.rest = w.rest[bytes:]
}

// prefixOf is how many bytes the first characters of s have.
func prefixOf(s string, characters int) int {
	for at := range s {
		if characters == 0 {
			return at
		}
		characters--
	}
	return len(s)
}

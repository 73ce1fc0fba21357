package serve

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime"
)

// tokenText is the text of one token by itself, "bytes:\xe2\x80" where it is
// part of a character.
func tokenText(t *tokenizer.Tokenizer, id int32) string {
	b := t.TokenBytes(id)
	if utf8.Valid(b) {
		return string(b)
	}
	var text strings.Builder
	text.WriteString("bytes:")
	for _, c := range b {
		fmt.Fprintf(&text, `\x%02x`, c)
	}
	return text.String()
}

// placer finds where each token of a text begins in it, in characters.
type placer struct {
	decoder *tokenizer.Decoder
	length  int
}

// newPlacer places tokens from the character at on.
func newPlacer(t *tokenizer.Tokenizer, skipSpecial bool, at int) *placer {
	return &placer{t.NewDecoder(skipSpecial), at}
}

func (p *placer) place(id int32) int {
	at := p.length
	p.length += utf8.RuneCountInString(p.decoder.Push(id))
	return at
}

// likeliest are the tokens to report beside the one chosen: the top ones, and
// the chosen one if it is not among them.
func likeliest(top []runtime.Logprob, chosen runtime.Logprob) []runtime.Logprob {
	for _, t := range top {
		if t.Token == chosen.Token {
			return top
		}
	}
	return append(top[:len(top):len(top)], chosen)
}

// inCharacters counts the spans of a text in characters, as clients do.
func inCharacters(text string, spans []tokenizer.Span) []tokenizer.Span {
	counted, at, n := make([]tokenizer.Span, len(spans)), 0, 0
	for i, s := range spans {
		n += utf8.RuneCountInString(text[at:s.Start])
		at = s.Start
		counted[i] = tokenizer.Span{Start: n, End: n + utf8.RuneCountInString(text[s.Start:s.End])}
	}
	return counted
}

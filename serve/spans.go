package serve

import (
	"unicode/utf8"

	"github.com/peft-serve/peft-serve/models/tokenizer"
)

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

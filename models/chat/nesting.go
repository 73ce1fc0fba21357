package chat

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// What a template may be. Real ones are below 30 KiB and ten levels.
const (
	maxSource  = 256 << 10 // bytes of its source
	maxNesting = 256       // blocks within blocks, or brackets within brackets
)

// blocks are the statements that the engine reads to their end by recursion.
var blocks = []string{"if", "for", "set", "macro", "call", "filter", "generation"}

// check refuses a source that would take the engine's parser too much time or
// stack, before that sees it.
func check(source string) error {
	if err := checkSize(source); err != nil {
		return err
	}
	depth, raw := 0, false
	for {
		open := strings.IndexByte(source, '{')
		if open < 0 || open+1 == len(source) {
			return nil
		}
		source = source[open+1:]
		kind := source[0]
		if kind == '#' {
			if end := strings.Index(source[1:], "#}"); end >= 0 {
				source = source[1+end:]
			}
			continue
		}
		if kind != '{' && kind != '%' {
			continue
		}
		tag := source[1 : 1+engineTagEnd(source[1:], kind)]
		source = source[1+len(tag):]
		word := ""
		if kind == '%' {
			word = keyword(tag)
		}
		switch {
		case raw:
			raw = word != "endraw"
			continue
		case word == "raw":
			raw = true
		case slices.Contains(blocks, word) && (word != "set" || !strings.Contains(tag, "=")):
			depth++
		case strings.HasPrefix(word, "end"):
			depth = max(depth-1, 0)
		}
		if max(depth, brackets(tag)) > maxNesting {
			return fmt.Errorf("chat: template: it is nested too deeply: more than %d levels", maxNesting)
		}
	}
}

func checkSize(source string) error {
	if len(source) > maxSource {
		return fmt.Errorf("chat: template: it is too large: %d bytes, more than %d", len(source), maxSource)
	}
	return nil
}

// engineTagEnd returns the length of the tag's text that s begins with: the
// engine ends a tag at the first closing that is not within a string.
func engineTagEnd(s string, kind byte) int {
	if kind == '{' {
		kind = '}'
	}
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\'' || c == '"':
			i = stringEnd(s, i)
			continue
		case c == kind && i+1 < len(s) && s[i+1] == '}':
			return i
		}
		i++
	}
	return len(s)
}

// keyword is the first word of a statement, as the engine reads it.
func keyword(tag string) string {
	tag = strings.TrimSpace(strings.TrimPrefix(tag, "-"))
	end := strings.IndexFunc(tag, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) })
	if end < 0 {
		return tag
	}
	return tag[:end]
}

// brackets returns how deep a tag's brackets are nested.
func brackets(tag string) int {
	depth, most := 0, 0
	for i := 0; i < len(tag); i++ {
		switch tag[i] {
		case '\'', '"':
			i = stringEnd(tag, i) - 1
		case '(', '[', '{':
			depth++
			most = max(most, depth)
		case ')', ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return most
}

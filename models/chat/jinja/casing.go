package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Python's cases of strings: mappings of Unicode's SpecialCasing, and the final
// sigma, without a language.

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func upper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	var b strings.Builder
	for _, r := range s {
		writeUpper(&b, r)
	}
	return b.String()
}

func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	var b strings.Builder
	for i, r := range s {
		writeLower(&b, s, i, r)
	}
	return b.String()
}

func writeUpper(b *strings.Builder, r rune) {
	if long, ok := longUpper[r]; ok {
		b.WriteString(long)
		return
	}
	b.WriteRune(unicode.ToUpper(r))
}

func writeTitle(b *strings.Builder, r rune) {
	if long, ok := longTitle[r]; ok {
		b.WriteString(long)
		return
	}
	b.WriteRune(unicode.ToTitle(r))
}

// writeLower writes the lower case of the rune at the byte i of s.
func writeLower(b *strings.Builder, s string, i int, r rune) {
	switch r {
	case 'İ':
		b.WriteString("i̇")
	case 'Σ':
		if finalSigma(s[:i], s[i+utf8.RuneLen(r):]) {
			b.WriteRune('ς')
		} else {
			b.WriteRune('σ')
		}
	default:
		b.WriteRune(unicode.ToLower(r))
	}
}

// finalSigma says whether a sigma between two texts ends a word.
func finalSigma(before, after string) bool {
	for before != "" {
		r, n := utf8.DecodeLastRuneInString(before)
		if !unicode.Is(caseIgnorable, r) {
			if !isCased(r) {
				return false
			}
			break
		}
		before = before[:len(before)-n]
	}
	if before == "" {
		return false
	}
	for _, r := range after {
		if !unicode.Is(caseIgnorable, r) {
			return !isCased(r)
		}
	}
	return true
}

func casefold(s string) string {
	var b strings.Builder
	for _, r := range s {
		if folded, ok := foldings[r]; ok {
			b.WriteString(folded)
		} else {
			writeLower(&b, string(r), 0, r)
		}
	}
	return b.String()
}

func capitalize(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i == 0 {
			writeTitle(&b, r)
		} else {
			writeLower(&b, s, i, r)
		}
	}
	return b.String()
}

// titlecase is str.title: each letter after one that has no case begins a word.
func titlecase(s string) string {
	var b strings.Builder
	inWord := false
	for i, r := range s {
		if inWord {
			writeLower(&b, s, i, r)
		} else {
			writeTitle(&b, r)
		}
		inWord = isCased(r)
	}
	return b.String()
}

func swapcase(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case isUppercase(r):
			writeLower(&b, s, i, r)
		case isLowercase(r):
			writeUpper(&b, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// hasCase is str.islower and str.isupper: some characters have the case, and
// none has another.
func hasCase(s string, is func(rune) bool) bool {
	found := false
	for _, r := range s {
		switch {
		case is(r):
			found = true
		case isCased(r):
			return false
		}
	}
	return found
}

func isTitle(s string) bool {
	found, inWord := false, false
	for _, r := range s {
		switch {
		case isUppercase(r) || isTitlecase(r):
			if inWord {
				return false
			}
			found, inWord = true, true
		case isLowercase(r):
			if !inWord {
				return false
			}
			found = true
		default:
			inWord = false
		}
	}
	return found
}

// all says whether s is not empty and all its characters are of a class.
func all(s string, is func(rune) bool) bool {
	for _, r := range s {
		if !is(r) {
			return false
		}
	}
	return s != ""
}

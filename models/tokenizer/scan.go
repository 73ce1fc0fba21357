package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// A scanner returns the end of the word that starts at s[i]. Scanners are
// hand-written forms of the regular expressions that nearly every byte-level
// model uses; the expressions themselves, run by regexp2, are their oracle in
// the tests.
type scanner func(s string, i int) int

// class says which of \p{L}, \p{N}, \p{M}, \s and [\r\n] hold a character.
// The sets are disjoint but for newline, which is also a space.
type class uint8

const (
	letter class = 1 << iota
	number
	mark
	space
	newline
)

var asciiClass = func() (t [utf8.RuneSelf]class) {
	for r := range rune(utf8.RuneSelf) {
		t[r] = runeClass(r)
	}
	return t
}()

func runeClass(r rune) class {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case r == '\r' || r == '\n':
		return space | newline
	case unicode.IsSpace(r):
		return space
	case unicode.IsMark(r):
		return mark
	}
	return 0
}

// classAt returns the class and the width of the character at s[i].
func classAt(s string, i int) (class, int) {
	if c := s[i]; c < utf8.RuneSelf {
		return asciiClass[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return runeClass(r), n
}

// runOf returns the end of the longest run from s[i] of characters in set.
func runOf(s string, i int, set class) int {
	for i < len(s) {
		c, n := classAt(s, i)
		if c&set == 0 {
			break
		}
		i += n
	}
	return i
}

// runOutside returns the end of the longest run of characters not in set.
func runOutside(s string, i int, set class) int {
	for i < len(s) {
		c, n := classAt(s, i)
		if c&set != 0 {
			break
		}
		i += n
	}
	return i
}

// scanGPT2 is
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func scanGPT2(s string, i int) int {
	if n := contraction(s[i:], false); n > 0 {
		return i + n
	}
	start := i
	c, n := classAt(s, i)
	if s[i] == ' ' && i+1 < len(s) {
		start = i + 1
		c, n = classAt(s, start)
	}
	switch {
	case c&letter != 0:
		return runOf(s, start+n, letter)
	case c&number != 0:
		return runOf(s, start+n, number)
	case c&space == 0:
		return runOutside(s, start+n, space|letter|number)
	}
	return blank(s, i)
}

// blank is \s+(?!\S)|\s+ : a run of white space, less its last character if a
// word follows and the run is longer than that.
func blank(s string, i int) int {
	end, last := i, i
	for end < len(s) {
		c, n := classAt(s, end)
		if c&space == 0 {
			if last > i {
				return last
			}
			return end
		}
		last = end
		end += n
	}
	return end
}

// modern describes the expressions that Llama 3 and Qwen 2 brought:
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|
//	 ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// word is the class read as \p{L}, but for the first \p{L}; digits is the
// longest run of numbers, 0 for any.
type modern struct {
	word   class
	digits int
}

func (m modern) scan(s string, i int) int {
	if n := contraction(s[i:], true); n > 0 {
		return i + n
	}
	c, n := classAt(s, i)
	switch {
	case c&m.word != 0:
		return runOf(s, i+n, m.word)
	case c&number != 0:
		return m.number(s, i)
	case c&newline == 0 && i+n < len(s):
		next, width := classAt(s, i+n)
		if next&m.word != 0 {
			return runOf(s, i+n+width, m.word)
		}
		if s[i] == ' ' && next&(space|number) == 0 {
			c, n = next, n+width
		}
	}
	if c&space == 0 {
		end := runOutside(s, i+n, space|number|m.word)
		for end < len(s) && (s[end] == '\r' || s[end] == '\n') {
			end++
		}
		return end
	}
	end := 0
	for j := i; j < len(s); {
		c, n := classAt(s, j)
		if c&space == 0 {
			break
		}
		j += n
		if c&newline != 0 {
			end = j
		}
	}
	if end > 0 {
		return end
	}
	return blank(s, i)
}

func (m modern) number(s string, i int) int {
	for k := 0; i < len(s) && (m.digits == 0 || k < m.digits); k++ {
		c, n := classAt(s, i)
		if c&number == 0 {
			break
		}
		i += n
	}
	return i
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the
// start of s, or 0. With fold, case does not count; U+017F folds to s.
func contraction(s string, fold bool) int {
	if len(s) < 2 || s[0] != '\'' {
		return 0
	}
	lower := func(b byte) byte {
		if fold && 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		return b
	}
	switch c := lower(s[1]); c {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v', 'l':
		if len(s) < 3 {
			return 0
		}
		if second := lower(s[2]); second == 'e' && c != 'l' || second == 'l' && c == 'l' {
			return 3
		}
	case 0xc5:
		if fold && len(s) >= 3 && s[2] == 0xbf {
			return 3
		}
	}
	return 0
}

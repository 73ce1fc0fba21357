package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// isSpace is Python's str.isspace of one character, and \s of its regular
// expressions.
func isSpace(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r >= 0x1c && r <= ' ', r == 0x85, r == 0xa0:
		return true
	case r < 0x1680:
		return false
	}
	return unicode.Is(unicode.Zs, r) || r == 0x2028 || r == 0x2029
}

// isLineEnd says whether str.splitlines ends a line here.
func isLineEnd(r rune) bool {
	switch r {
	case '\n', '\r', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		return true
	}
	return false
}

// inName says whether Jinja's lexer takes the rune as part of a name.
func inName(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	return unicode.IsLetter(r) || unicode.IsNumber(r) || identifierPart(r)
}

func identifierStart(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.Is(unicode.Nl, r) || unicode.Is(unicode.Other_ID_Start, r)
}

func identifierPart(r rune) bool {
	return identifierStart(r) || unicode.In(r, unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc, unicode.Other_ID_Continue)
}

// isIdentifier is Python's str.isidentifier.
func isIdentifier(s string) bool {
	for i, r := range s {
		if i == 0 && !identifierStart(r) || i > 0 && !identifierPart(r) {
			return false
		}
	}
	return s != ""
}

// isDecimal, isDigit and isNumeric are the three classes of Python's numbers,
// each within the next.
func isDecimal(r rune) bool { return unicode.Is(unicode.Nd, r) }

func isDigit(r rune) bool { return isDecimal(r) || unicode.Is(digits, r) }

func isNumeric(r rune) bool {
	return isDigit(r) || unicode.In(r, unicode.Nl, unicode.No) || unicode.Is(ideographicNumbers, r)
}

func isAlphanumeric(r rune) bool { return unicode.IsLetter(r) || isNumeric(r) }

// isWord is \w of Python's regular expressions.
func isWord(r rune) bool { return r == '_' || isAlphanumeric(r) }

func isLowercase(r rune) bool { return unicode.In(r, unicode.Ll, unicode.Other_Lowercase) }
func isUppercase(r rune) bool { return unicode.In(r, unicode.Lu, unicode.Other_Uppercase) }
func isTitlecase(r rune) bool { return unicode.Is(unicode.Lt, r) }
func isCased(r rune) bool     { return isLowercase(r) || isUppercase(r) || isTitlecase(r) }

// reprString is Python's repr of a string.
func reprString(s string) string {
	quote := byte('\'')
	if strings.IndexByte(s, '\'') >= 0 && strings.IndexByte(s, '"') < 0 {
		quote = '"'
	}
	b := make([]byte, 0, len(s)+2)
	b = append(b, quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\r':
			b = append(b, '\\', 'r')
		case r == '\t':
			b = append(b, '\\', 't')
		case r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r):
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, asciiEscape(r)...)
		}
	}
	return string(append(b, quote))
}

// asciiDigits gives the decimal digits of every script as ASCII.
func asciiDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return r
		}
		// Each range of decimal digits begins with a zero.
		for _, g := range unicode.Nd.R16 {
			if r >= rune(g.Lo) && r <= rune(g.Hi) {
				return '0' + (r-rune(g.Lo))%10
			}
		}
		for _, g := range unicode.Nd.R32 {
			if r >= rune(g.Lo) && r <= rune(g.Hi) {
				return '0' + (r-rune(g.Lo))%10
			}
		}
		return r
	}, s)
}

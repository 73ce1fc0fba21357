package jinja

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	floatLiteral   = regexp.MustCompile(`^(?i)(\d+_)*\d+((\.(\d+_)*\d+)?e[+-]?(\d+_)*\d+|\.(\d+_)*\d+)`)
	integerLiteral = regexp.MustCompile(`^(?i)(0b(_?[01])+|0o(_?[0-7])+|0x(_?[\da-f])+|[1-9](_?\d)*|0(_?0)*)`)
)

// maxDigits is how many decimal digits Python reads and prints of a whole number.
const maxDigits = 4300

// number takes the literal of a number.
func (l *lexer) number(rest string) bool {
	if rest[0] < '0' || rest[0] > '9' {
		return false
	}
	end := 1
	for end < len(rest) && (inName(rune(rest[end])) || strings.IndexByte(".+-", rest[end]) >= 0) {
		end++
	}
	rest = rest[:end]
	afterDot := l.pos > 0 && l.source[l.pos-1] == '.'
	if text := floatLiteral.FindString(rest); text != "" && !afterDot {
		f, _ := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64) // out of range: an infinity, as in Python
		l.tokens = append(l.tokens, token{line: l.line, kind: tokenFloat, num: float(f)})
		l.take(len(text))
		return true
	}
	text := integerLiteral.FindString(rest)
	if len(text) > maxDigits {
		failSyntax(l.line, "a number of %d digits", len(text))
	}
	i, _ := new(big.Int).SetString(strings.ReplaceAll(text, "_", ""), 0)
	if strings.Trim(text, "0_") == "" {
		i = new(big.Int)
	}
	l.tokens = append(l.tokens, token{line: l.line, kind: tokenInteger, num: BigInt(i)})
	l.take(len(text))
	return true
}

// quoted takes a string literal.
func (l *lexer) quoted(rest string) bool {
	quote := rest[0]
	if quote != '\'' && quote != '"' {
		return false
	}
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case quote:
			l.add(tokenString, l.unescape(rest[1:i]))
			l.take(i + 1)
			return true
		}
	}
	return false
}

var escapes = map[byte]string{
	'\n': "", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f",
	'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

// unescape reads the escapes of a string literal as Python's codec
// unicode-escape does.
func (l *lexer) unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		c := s[i+1]
		if text, ok := escapes[c]; ok {
			b.WriteString(text)
			i += 2
			continue
		}
		switch {
		case c >= '0' && c <= '7':
			n := 1
			for n < 3 && i+1+n < len(s) && s[i+1+n] >= '0' && s[i+1+n] <= '7' {
				n++
			}
			code, _ := strconv.ParseUint(s[i+1:i+1+n], 8, 32)
			b.WriteRune(rune(code))
			i += 1 + n
		case c == 'x', c == 'u', c == 'U':
			n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			b.WriteRune(l.codePoint(s[i:], n))
			i += 2 + n
		case c == 'N':
			failSyntax(l.line, "\\N{…} in a string is not supported")
		case c >= utf8.RuneSelf:
			// Jinja escapes what is not ASCII first: the backslash meets the
			// one of that escape.
			r, n := utf8.DecodeRuneInString(s[i+1:])
			b.WriteString(asciiEscape(r))
			i += 1 + n
		default:
			b.WriteString(s[i : i+2])
			i += 2
		}
	}
	return b.String()
}

// codePoint reads the n digits of an escape.
func (l *lexer) codePoint(s string, n int) rune {
	if len(s) >= 2+n {
		if code, err := strconv.ParseUint(s[2:2+n], 16, 32); err == nil {
			if !utf8.ValidRune(rune(code)) {
				failSyntax(l.line, "illegal Unicode character")
			}
			return rune(code)
		}
	}
	shape := map[int]string{2: `\xXX`, 4: `\uXXXX`, 8: `\UXXXXXXXX`}[n]
	failSyntax(l.line, "truncated %s escape", shape)
	return 0
}

// asciiEscape is Python's backslashreplace of a rune.
func asciiEscape(r rune) string {
	digits := strconv.FormatInt(int64(r), 16)
	pad := func(n int) string { return strings.Repeat("0", n-len(digits)) + digits }
	switch {
	case r < 0x100:
		return `\x` + pad(2)
	case r < 0x10000:
		return `\u` + pad(4)
	}
	return `\U` + pad(8)
}

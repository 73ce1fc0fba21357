package jinja

import (
	"strings"
	"unicode/utf8"
)

// A lexer cuts a template into tokens by the rules of Jinja's lexer with
// trim_blocks and lstrip_blocks.
type lexer struct {
	source string
	pos    int
	line   int
	// lineStart says whether what was matched last ends with a newline.
	lineStart bool
	tokens    []token
}

var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// tokenize returns the tokens of the source, the last of kind eof.
func tokenize(source string) []token {
	if !utf8.ValidString(source) {
		failSyntax(1, "the template is not UTF-8")
	}
	l := &lexer{source: strings.TrimSuffix(newlines.Replace(source), "\n"), line: 1, lineStart: true}
	if err := l.run(); err != nil {
		l.tokens = append(l.tokens, token{line: l.line, kind: tokenFailure, err: err})
	}
	end := token{line: 1, kind: tokenEOF}
	if n := len(l.tokens); n > 0 {
		end.line = l.tokens[n-1].line
	}
	return append(l.tokens, end)
}

// run takes all tokens up to the first that is none.
func (l *lexer) run() (err error) {
	defer catch(&err)
	for l.pos < len(l.source) {
		l.root()
	}
	return nil
}

func (l *lexer) rest() string { return l.source[l.pos:] }

func (l *lexer) add(kind, text string) {
	l.tokens = append(l.tokens, token{line: l.line, kind: kind, text: text})
}

// take moves over n bytes and counts their lines.
func (l *lexer) take(n int) string {
	text := l.source[l.pos : l.pos+n]
	l.pos += n
	l.line += strings.Count(text, "\n")
	return text
}

// root takes text up to a tag, and the tag.
func (l *lexer) root() {
	rest := l.rest()
	at := 0
	for {
		i := strings.IndexByte(rest[at:], '{')
		if i < 0 {
			l.add(tokenData, rest)
			l.take(len(rest))
			return
		}
		at += i
		if strings.HasPrefix(rest[at:], "{%") || strings.HasPrefix(rest[at:], "{{") || strings.HasPrefix(rest[at:], "{#") {
			break
		}
		at++
	}
	kind := rest[at : at+2]
	sign := signAt(rest[at+2:])
	l.text(rest[:at], sign, kind != "{{")
	if n := rawBegin(rest[at:]); n > 0 {
		l.lineStart = strings.HasSuffix(l.take(n), "\n")
		l.raw()
		return
	}
	begin := l.line
	l.take(2 + len(sign))
	l.lineStart = false
	switch kind {
	case "{#":
		l.comment()
	case "{%":
		l.tokens = append(l.tokens, token{line: begin, kind: tokenBlockBegin})
		l.tag(tokenBlockEnd)
	case "{{":
		l.tokens = append(l.tokens, token{line: begin, kind: tokenVariableBegin})
		l.tag(tokenVariableEnd)
	}
}

func signAt(s string) string {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[:1]
	}
	return ""
}

// text takes the data before a tag, less what the tag strips of it.
func (l *lexer) text(text, sign string, strips bool) {
	kept := text
	switch {
	case sign == "-":
		kept = strings.TrimRightFunc(text, isSpace)
	case sign == "" && strips:
		last := strings.LastIndexByte(text, '\n') + 1
		indent := text[last:]
		if (last > 0 || l.lineStart) && strings.TrimLeftFunc(indent, isSpace) == "" {
			kept = text[:last]
		}
	}
	if kept != "" {
		l.add(tokenData, kept)
	}
	l.take(len(text))
}

// rawBegin is the length of {% raw %} at the start of s, or 0.
func rawBegin(s string) int {
	if !strings.HasPrefix(s, "{%") {
		return 0
	}
	n := 2 + len(signAt(s[2:]))
	n += spaces(s[n:])
	if !strings.HasPrefix(s[n:], "raw") {
		return 0
	}
	n += len("raw")
	n += spaces(s[n:])
	switch {
	case strings.HasPrefix(s[n:], "-%}"):
		n += len("-%}")
		return n + spaces(s[n:])
	case strings.HasPrefix(s[n:], "%}"):
		return n + len("%}")
	}
	return 0
}

// spaces is the length of the white space that s begins with.
func spaces(s string) int { return len(s) - len(strings.TrimLeftFunc(s, isSpace)) }

// raw takes everything up to {% endraw %} as data.
func (l *lexer) raw() {
	rest := l.rest()
	for at := 0; ; at++ {
		i := strings.Index(rest[at:], "{%")
		if i < 0 {
			if rest != "" {
				failSyntax(l.line, "Missing end of raw directive")
			}
			return
		}
		at += i
		n := 2 + len(signAt(rest[at+2:]))
		n += spaces(rest[at+n:])
		if !strings.HasPrefix(rest[at+n:], "endraw") {
			continue
		}
		n += len("endraw")
		n += spaces(rest[at+n:])
		end := tagEnd(rest[at+n:], "%}", true)
		if end == 0 {
			continue
		}
		l.text(rest[:at], signAt(rest[at+2:]), true)
		l.lineStart = strings.HasSuffix(l.take(n+end), "\n")
		return
	}
}

// tagEnd is the length of a tag's end at the start of s, with what it strips,
// or 0.
func tagEnd(s, end string, plus bool) int {
	switch {
	case plus && strings.HasPrefix(s, "+"+end):
		return len(end) + 1
	case strings.HasPrefix(s, "-"+end):
		n := len(end) + 1
		return n + spaces(s[n:])
	case strings.HasPrefix(s, end):
		n := len(end)
		if plus && strings.HasPrefix(s[n:], "\n") {
			n++
		}
		return n
	}
	return 0
}

func (l *lexer) comment() {
	rest := l.rest()
	if rest == "" {
		return
	}
	at := strings.Index(rest, "#}")
	if at < 0 {
		failSyntax(l.line, "Missing end of comment tag")
	}
	if at > 0 && (rest[at-1] == '-' || rest[at-1] == '+') {
		at--
	}
	l.lineStart = strings.HasSuffix(l.take(at+tagEnd(rest[at:], "#}", true)), "\n")
}

// tag takes the tokens of an expression or a statement and its end.
func (l *lexer) tag(endKind string) {
	end := "%}"
	if endKind == tokenVariableEnd {
		end = "}}"
	}
	var open []byte // the closing brackets that are due
	for l.pos < len(l.source) {
		rest := l.rest()
		if len(open) == 0 {
			if n := tagEnd(rest, end, endKind == tokenBlockEnd); n > 0 {
				l.add(endKind, "")
				l.lineStart = strings.HasSuffix(l.take(n), "\n")
				return
			}
		}
		if n := spaces(rest); n > 0 {
			l.take(n)
			continue
		}
		if l.number(rest) || l.name(rest) || l.quoted(rest) {
			continue
		}
		open = l.operator(rest, open)
	}
}

// name takes a name.
func (l *lexer) name(rest string) bool {
	n := len(rest) - len(strings.TrimLeftFunc(rest, inName))
	if n == 0 {
		return false
	}
	if !isIdentifier(rest[:n]) {
		failSyntax(l.line, "Invalid character in identifier")
	}
	l.add(tokenName, rest[:n])
	l.take(n)
	return true
}

// operator takes an operator and returns the closing brackets that are due now.
func (l *lexer) operator(rest string, open []byte) []byte {
	n := 2
	if len(rest) < 2 || operatorNames[rest[:2]] == "" {
		n = 1
	}
	symbol := rest[:n]
	name := operatorNames[symbol]
	if name == "" {
		r, _ := utf8.DecodeRuneInString(rest)
		failSyntax(l.line, "unexpected char %s at %d", reprString(string(r)), utf8.RuneCountInString(l.source[:l.pos]))
	}
	switch symbol {
	case "{":
		open = append(open, '}')
	case "(":
		open = append(open, ')')
	case "[":
		open = append(open, ']')
	case "}", ")", "]":
		if len(open) == 0 {
			failSyntax(l.line, "unexpected '%s'", symbol)
		}
		if due := open[len(open)-1]; due != symbol[0] {
			failSyntax(l.line, "unexpected '%s', expected '%c'", symbol, due)
		}
		open = open[:len(open)-1]
	}
	l.add(name, "")
	l.take(n)
	return open
}

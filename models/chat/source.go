package chat

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// prepare adapts a template's source to the engine: its tojson filter becomes
// ours, escapes that it does not know become what they stand for, macros count
// their calls, and a line break at the very end goes, as in Python. Text outside
// of tags stays as it is.
func prepare(source string) string {
	const filter = "tojson"
	source = strings.TrimSuffix(source, "\n")
	var b strings.Builder
	for {
		open := strings.IndexByte(source, '{')
		if open < 0 || open+1 == len(source) {
			break
		}
		b.WriteString(source[:open+1])
		source = source[open+1:]
		kind := source[0]
		if kind == '#' {
			end := strings.Index(source, "#}")
			if end < 0 {
				break
			}
			b.WriteString(source[:end])
			source = source[end:]
			continue
		}
		if kind != '{' && kind != '%' {
			continue
		}
		end := tagEnd(source, kind)
		tag := source[:end]
		source = source[end:]
		for i := 0; i < len(tag); {
			switch tag[i] {
			case '\'', '"':
				n := stringEnd(tag, i)
				b.WriteString(unescape(tag[i:n]))
				i = n
			case '|':
				rest := tag[i+1:]
				name := strings.TrimLeft(rest, " \t\r\n")
				b.WriteString(tag[i : i+1+len(rest)-len(name)])
				i += 1 + len(rest) - len(name)
				if strings.HasPrefix(name, filter) && (len(name) == len(filter) || !isIdentifier(name[len(filter)])) {
					b.WriteString(jsonFilter)
					i += len(filter)
				}
			default:
				b.WriteByte(tag[i])
				i++
			}
		}
		b.WriteString(counted(tag))
	}
	b.WriteString(source)
	return b.String()
}

// counted is a tag to put after one that begins a macro, to count its calls; it
// trims the white space that the macro's own would.
func counted(tag string) string {
	words := strings.Fields(strings.TrimLeft(tag, "%-+"))
	if tag[0] != '%' || len(words) == 0 || words[0] != "macro" {
		return ""
	}
	end := " %}"
	if strings.HasSuffix(tag, "-%}") {
		end = " -%}"
	}
	return "{% set macro_calls = " + macroCall + "()" + end
}

// unescape writes out the \xhh and \uhhhh of a string literal, but for those
// that would end it or begin an escape.
func unescape(literal string) string {
	if !strings.Contains(literal, `\u`) && !strings.Contains(literal, `\x`) {
		return literal
	}
	var b strings.Builder
	for i := 0; i < len(literal); {
		if literal[i] != '\\' || i+1 == len(literal) {
			b.WriteByte(literal[i])
			i++
			continue
		}
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[literal[i+1]]
		if end := i + 2 + digits; digits > 0 && end <= len(literal) {
			r, err := strconv.ParseUint(literal[i+2:end], 16, 21)
			if err == nil && utf8.ValidRune(rune(r)) && !strings.ContainsRune("\"'\\", rune(r)) {
				b.WriteRune(rune(r))
				i = end
				continue
			}
		}
		b.WriteString(literal[i : i+2])
		i += 2
	}
	return b.String()
}

// tagEnd returns where the tag that s begins in ends, its closing bracket
// included; kind is its opening one.
func tagEnd(s string, kind byte) int {
	if kind == '{' {
		kind = '}'
	}
	depth := 0 // of braces inside the tag
	for i := 1; i < len(s); {
		switch c := s[i]; {
		case c == '\'' || c == '"':
			i = stringEnd(s, i)
			continue
		case depth == 0 && c == kind && i+1 < len(s) && s[i+1] == '}':
			return i + 2
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		}
		i++
	}
	return len(s)
}

// stringEnd returns the end of the string literal that starts at s[i].
func stringEnd(s string, i int) int {
	quote := s[i]
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case quote:
			return i + 1
		}
	}
	return len(s)
}

func isIdentifier(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

package tokenizer

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// linear matches in time proportional to the text, whatever the expression:
// with a [dfa] where a match begins, with Go's regexp to find the place. Two
// things that regexp lacks are made up for: \s, \d and \w mean Unicode's
// classes, and the end of nearly every expression of byte-level vocabularies,
//
//	\s+(?!\S)|\s+
//
// is a scanner of its own, which has its turn where nothing before it matches.
type linear struct {
	re    *regexp.Regexp // without that end; nil: there is nothing else
	blank bool           // there is that end
	dfas  *sync.Pool     // nil: it looks for the ends of lines, which a dfa does not
}

const blankEnd = `\s+(?!\S)|\s+`

// newLinear translates an expression, if that can be done exactly.
func newLinear(expr string) (expression, bool) {
	var x linear
	if rest, ends := strings.CutSuffix(expr, blankEnd); ends && (rest == "" || strings.HasSuffix(rest, "|")) {
		if x.blank = true; rest == "" {
			return x, true
		}
		expr = strings.TrimSuffix(rest, "|")
	}
	translated, ok := translate(expr)
	if !ok {
		return nil, false
	}
	parsed, err := syntax.Parse(translated, syntax.Perl)
	if err != nil {
		return nil, false
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, false
	}
	if x.re, err = regexp.Compile(translated); err != nil {
		return nil, false
	}
	if !slices.ContainsFunc(prog.Inst, func(in syntax.Inst) bool { return in.Op == syntax.InstEmptyWidth }) {
		x.dfas = &sync.Pool{New: func() any { return newDFA(prog) }}
	}
	return x, true
}

func (x linear) each(s string, found func(start, end int) bool) error {
	f := finder{linear: x, s: s}
	if x.dfas != nil {
		f.dfa = x.dfas.Get().(*dfa)
		defer x.dfas.Put(f.dfa)
	}
	for at := 0; at <= len(s); {
		start, end, ok := f.from(at)
		if !ok || !found(start, end) {
			return nil
		}
		if at = end; start == end { // nothing was matched: go on behind the next character
			_, n := utf8.DecodeRuneInString(s[at:])
			at += max(n, 1)
		}
	}
	return nil
}

// A finder walks the matches of one text.
type finder struct {
	linear
	s   string
	dfa *dfa
	// next is where re's next match begins if that has been looked for: it is
	// not looked for again before it is reached.
	next int
}

// from returns the first match at or after the byte at.
func (f *finder) from(at int) (start, end int, ok bool) {
	start = len(f.s)
	if f.re != nil {
		if end, ok := f.measure(at); ok {
			return at, end, true
		}
		if f.next <= at {
			f.next = len(f.s) + 1
			if m := f.re.FindStringIndex(f.s[at:]); m != nil {
				f.next = at + m[0]
			}
		}
		start = min(start, f.next)
	}
	if f.blank {
		if i := strings.IndexFunc(f.s[at:start], unicode.IsSpace); i >= 0 {
			return at + i, blank(f.s, at+i), true
		}
	}
	if f.re == nil || f.next > len(f.s) {
		return 0, 0, false
	}
	end, ok = f.measure(start)
	return start, end, ok
}

// measure returns the end of the match of re that begins at the byte at.
func (f *finder) measure(at int) (end int, ok bool) {
	if f.next > at {
		return 0, false
	}
	if f.dfa != nil {
		return f.dfa.match(f.s, at)
	}
	if m := f.re.FindStringIndex(f.s[at:]); m != nil {
		f.next = at + m[0]
		return at + m[1], m[0] == 0
	}
	f.next = len(f.s) + 1
	return 0, false
}

// What \s, \d and \w stand for, between brackets.
var classes = map[byte]string{
	's': `\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}`,
	'd': `\p{Nd}`,
	'w': `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189}`,
	'S': `\x{0}-\x{8}\x{e}-\x{1f}!-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}` +
		`\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff}`,
	'D': `\P{Nd}`,
}

// translate writes an expression of Oniguruma as one of Go, or reports that
// there is something in it that the two may read differently.
func translate(expr string) (string, bool) {
	var b strings.Builder
	inClass := false
	for i := 0; i < len(expr); i++ {
		c := expr[i]
		switch {
		case c == '\\':
			if i++; i == len(expr) {
				return "", false
			}
			switch c := expr[i]; {
			case classes[c] != "" && inClass:
				b.WriteString(classes[c])
			case classes[c] != "":
				b.WriteString("[" + classes[c] + "]")
			case c == 'W' && !inClass:
				b.WriteString("[^" + classes['w'] + "]")
			case c == 'p' || c == 'P' || strings.IndexByte("rntfv", c) >= 0 || c < utf8.RuneSelf && !isWordByte(c):
				b.WriteString(`\` + string(c))
			default:
				return "", false
			}
		case inClass:
			inClass = c != ']'
			b.WriteByte(c)
		case c == '[':
			b.WriteByte(c)
			if strings.HasPrefix(expr[i+1:], "^") {
				i++
				b.WriteByte('^')
			}
			if i+1 < len(expr) && expr[i+1] == ']' {
				return "", false // empty for the one, a bracket for the other
			}
			inClass = true
		case c == '^':
			return "", false
		case c == '$': // before every line's end
			b.WriteString("(?m:$)")
		case c == '(' && strings.HasPrefix(expr[i:], "(?"):
			head, _, ok := strings.Cut(expr[i:], ":")
			if !ok || head != "(?" && head != "(?i" {
				return "", false
			}
			b.WriteString(head + ":")
			i += len(head)
		case c == '{' && strings.HasPrefix(expr[i:], "{,"):
			return "", false
		case (c == '+' || c == '*' || c == '?') && i+1 < len(expr) && expr[i+1] == '+':
			return "", false // possessive
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), !inClass
}

func isWordByte(c byte) bool {
	return c == '_' || unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c))
}

// literal matches itself alone.
type literal string

func (x literal) each(s string, found func(start, end int) bool) error {
	for at := 0; ; {
		i := strings.Index(s[at:], string(x))
		if i < 0 || !found(at+i, at+i+len(x)) {
			return nil
		}
		at += i + len(x)
	}
}

package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxJSONDepth is how deep FromJSON reads containers inside each other.
const maxJSONDepth = 900

// FromJSON reads what Python's json.loads reads: keys keep their order, whole
// numbers stay whole and of any size, NaN and Infinity are numbers. Lone
// surrogates are refused.
func FromJSON(raw []byte) (v Value, err error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("the JSON is not UTF-8")
	}
	p := &jsonReader{s: string(raw)}
	defer catch(&err)
	p.space()
	v = p.value(0)
	if p.space(); p.pos < len(p.s) {
		p.fail("extra data")
	}
	return v, nil
}

type jsonReader struct {
	s   string
	pos int
}

func (p *jsonReader) fail(what string) {
	panic(thrown{fmt.Errorf("the JSON at byte %d: %s", p.pos, what)})
}

func (p *jsonReader) space() {
	for p.pos < len(p.s) && strings.IndexByte(" \t\n\r", p.s[p.pos]) >= 0 {
		p.pos++
	}
}

// take moves over a text if it comes next.
func (p *jsonReader) take(text string) bool {
	if strings.HasPrefix(p.s[p.pos:], text) {
		p.pos += len(text)
		return true
	}
	return false
}

func (p *jsonReader) value(depth int) Value {
	if depth > maxJSONDepth {
		p.fail("containers nest too deeply")
	}
	if p.pos == len(p.s) {
		p.fail("a value is missing")
	}
	switch p.s[p.pos] {
	case '"':
		return str(p.text())
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	}
	for text, v := range map[string]Value{"null": None, "true": Bool(true), "false": Bool(false)} {
		if p.take(text) {
			return v
		}
	}
	return p.number()
}

func (p *jsonReader) object(depth int) Value {
	d := &dict{}
	p.pos++
	p.space()
	if p.take("}") {
		return d
	}
	for {
		if !strings.HasPrefix(p.s[p.pos:], `"`) {
			p.fail("a key in double quotes is missing")
		}
		key := p.text()
		p.space()
		if !p.take(":") {
			p.fail("a ':' is missing")
		}
		p.space()
		d.set(key, p.value(depth+1))
		p.space()
		if p.take("}") {
			return d
		}
		if !p.take(",") {
			p.fail("a ',' is missing")
		}
		p.space()
	}
}

func (p *jsonReader) array(depth int) Value {
	l := &list{}
	p.pos++
	p.space()
	if p.take("]") {
		return l
	}
	for {
		l.items = append(l.items, p.value(depth+1))
		p.space()
		if p.take("]") {
			return l
		}
		if !p.take(",") {
			p.fail("a ',' is missing")
		}
		p.space()
	}
}

func (p *jsonReader) number() Value {
	rest := p.s[p.pos:]
	for _, special := range []string{"NaN", "Infinity", "-Infinity"} {
		if p.take(special) {
			f, _ := strconv.ParseFloat(special, 64)
			return float(f)
		}
	}
	digits := func(i int) int {
		for i < len(rest) && isDigitByte(rest[i]) {
			i++
		}
		return i
	}
	begin := 0
	if strings.HasPrefix(rest, "-") {
		begin = 1
	}
	end := digits(begin)
	if end == begin {
		p.fail("a value is missing")
	}
	if rest[begin] == '0' {
		end = begin + 1
	}
	isFloat := false
	if end+1 < len(rest) && rest[end] == '.' && digits(end+1) > end+1 {
		end, isFloat = digits(end+1), true
	}
	if end < len(rest) && (rest[end] == 'e' || rest[end] == 'E') {
		at := end + 1
		if at < len(rest) && (rest[at] == '+' || rest[at] == '-') {
			at++
		}
		if digits(at) > at {
			end, isFloat = digits(at), true
		}
	}
	p.pos += end
	text := rest[:end]
	if isFloat {
		f, _ := strconv.ParseFloat(text, 64) // out of range: an infinity, as in Python
		return float(f)
	}
	if len(text)-begin > maxDigits {
		p.fail("a number of more than 4300 digits")
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return integer(i)
	}
	i, _ := new(big.Int).SetString(text, 10)
	return whole(i)
}

// text reads a string.
func (p *jsonReader) text() string {
	p.pos++
	start := p.pos
	var b []byte
	for {
		if p.pos == len(p.s) {
			p.fail("a string does not end")
		}
		switch c := p.s[p.pos]; {
		case c == '"':
			text := p.s[start:p.pos]
			p.pos++
			if b == nil {
				return text
			}
			return string(append(b, text...))
		case c < ' ':
			p.fail("a control character in a string")
		case c == '\\':
			if b == nil {
				b = []byte{}
			}
			b = append(b, p.s[start:p.pos]...)
			b = p.escape(b)
			start = p.pos
		default:
			p.pos++
		}
	}
}

func (p *jsonReader) escape(b []byte) []byte {
	p.pos++
	if p.pos == len(p.s) {
		p.fail("a string does not end")
	}
	c := p.s[p.pos]
	p.pos++
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		return append(b, "\"\\/\b\f\n\r\t"[i])
	}
	if c != 'u' {
		p.fail("an unknown escape in a string")
	}
	r := p.hex()
	if utf16.IsSurrogate(r) {
		if !p.take(`\u`) {
			p.fail("a lone surrogate")
		}
		if r = utf16.DecodeRune(r, p.hex()); r == utf8.RuneError {
			p.fail("a lone surrogate")
		}
	}
	return utf8.AppendRune(b, r)
}

func (p *jsonReader) hex() rune {
	if p.pos+4 > len(p.s) {
		p.fail("a string does not end")
	}
	v, err := strconv.ParseUint(p.s[p.pos:p.pos+4], 16, 32)
	if err != nil {
		p.fail("four digits of an escape are missing")
	}
	p.pos += 4
	return rune(v)
}

package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// percent is Python's format % args for strings. With escape it is that of
// Markup.
func (r *rendering) percent(format string, escape bool, args Value) Value {
	p := &percentFormat{r: r, s: format, escape: escape, given: args}
	if t, ok := args.(*tuple); ok {
		p.args = t.items
	} else {
		p.args = []Value{args}
		switch args.(type) {
		case str, markup:
		case *dict, *list, *rangeValue, bytesValue, *undefined:
			p.mapping = true
		}
	}
	text := p.run()
	if escape {
		return markup(text)
	}
	return str(text)
}

type percentFormat struct {
	r       *rendering
	s       string
	escape  bool
	given   Value
	args    []Value
	next    int
	mapping bool // the argument may be asked for items
}

func (p *percentFormat) run() string {
	var b strings.Builder
	write := func(s string) {
		p.r.hold(len(s))
		b.WriteString(s)
	}
	p.r.work(len(p.s))
	for p.s != "" {
		i := strings.IndexByte(p.s, '%')
		if i < 0 {
			i = len(p.s)
		}
		write(p.s[:i])
		p.s = p.s[i:]
		if p.s != "" {
			p.s = p.s[1:]
			write(p.conversion())
		}
	}
	if p.next < len(p.args) && !p.mapping {
		raise("TypeError", "not all arguments converted during string formatting")
	}
	return b.String()
}

// take returns the next argument.
func (p *percentFormat) take() Value {
	if p.next >= len(p.args) {
		raise("TypeError", "not enough arguments for format string")
	}
	p.next++
	return p.args[p.next-1]
}

func (p *percentFormat) char() byte {
	if p.s == "" {
		raise("ValueError", "incomplete format")
	}
	c := p.s[0]
	p.s = p.s[1:]
	return c
}

// conversion formats what follows a '%': [(key)][flags][width][.precision]type.
func (p *percentFormat) conversion() string {
	if strings.HasPrefix(p.s, "(") {
		p.args, p.next = []Value{p.key()}, 0
	}
	sp := spec{fill: " ", sign: '-', precision: -1, align: '>'}
	zero, left := false, false
flags:
	for p.s != "" {
		switch p.s[0] {
		case '-':
			left = true
		case '+':
			sp.sign = '+'
		case ' ':
			if sp.sign != '+' {
				sp.sign = ' '
			}
		case '#':
			sp.alternate = true
		case '0':
			zero = true
		default:
			break flags
		}
		p.s = p.s[1:]
	}
	if n, ok := p.size("width"); ok {
		if n < 0 {
			left, n = true, -n
		}
		sp.width = n
	}
	if strings.HasPrefix(p.s, ".") {
		p.s = p.s[1:]
		n, _ := p.size("precision")
		sp.precision = max(0, n)
	}
	for p.s != "" && strings.IndexByte("hlL", p.s[0]) >= 0 {
		p.s = p.s[1:]
	}
	verb := p.char()
	if verb == '%' {
		return "%"
	}
	text, numeric := p.value(verb, p.take(), &sp)
	if left {
		sp.align = '<'
	}
	sign := ""
	if numeric {
		if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") || strings.HasPrefix(text, " ") {
			sign, text = text[:1], text[1:]
		}
		if zero && !left {
			sp.fill, sp.align = "0", '='
			if sp.alternate && len(text) > 2 && text[0] == '0' && strings.IndexByte("xXo", text[1]) >= 0 {
				sign, text = sign+text[:2], text[2:]
			}
		}
	}
	return sp.padded(p.r, sign, text, '>')
}

// key reads (key) and returns the item of the mapping.
func (p *percentFormat) key() Value {
	if !p.mapping {
		raise("TypeError", "format requires a mapping")
	}
	depth, i := 0, 0
	for ; i < len(p.s); i++ {
		if p.s[i] == '(' {
			depth++
		} else if p.s[i] == ')' {
			if depth--; depth == 0 {
				break
			}
		}
	}
	if i == len(p.s) {
		raise("ValueError", "incomplete format key")
	}
	key := str(p.s[1:i])
	p.s = p.s[i+1:]
	v := p.r.subscript(p.given, key)
	if v == nil {
		if _, ok := p.given.(*dict); ok {
			raise("KeyError", "%s", reprString(string(key)))
		}
		raise("TypeError", "indices of a %s must be integers or slices, not str", p.given.typeName())
	}
	return v
}

// size reads a width or a precision.
func (p *percentFormat) size(what string) (int, bool) {
	if strings.HasPrefix(p.s, "*") {
		p.s = p.s[1:]
		v := p.take()
		if !isWhole(v) {
			raise("TypeError", "* wants int")
		}
		n := countArg(v)
		if n > math.MaxInt32 && what == "precision" {
			raise("OverflowError", "Python int too large to convert to C int")
		}
		return n, true
	}
	n := 0
	for n < len(p.s) && p.s[n] >= '0' && p.s[n] <= '9' {
		n++
	}
	if n == 0 {
		return 0, false
	}
	v, err := strconv.ParseInt(p.s[:n], 10, 64)
	if err != nil || what == "precision" && v > math.MaxInt32 {
		raise("ValueError", "%s too big", what)
	}
	p.s = p.s[n:]
	return int(v), true
}

// value converts an argument; numeric says whether zeros may fill it.
func (p *percentFormat) value(verb byte, v Value, sp *spec) (text string, numeric bool) {
	r := p.r
	switch verb {
	case 's', 'r', 'a':
		switch verb {
		case 's':
			text = r.str(v)
		case 'r':
			text = r.repr(v)
		default:
			text = asciiOnly(r.repr(v))
		}
		if p.escape {
			if verb != 's' {
				v = str(text)
			}
			text = string(r.escape(v))
		}
		if sp.precision >= 0 {
			r.scan(len(text))
			if utf8.RuneCountInString(text) > sp.precision {
				text = text[:runeOffset(text, sp.precision)]
			}
		}
		return text, false
	case 'c':
		if s, ok := Text(v); ok && !p.escape {
			if utf8.RuneCountInString(s) != 1 {
				raise("TypeError", "%%c requires int or char")
			}
			return s, false
		}
		if !isWhole(v) || p.escape {
			raise("TypeError", "%%c requires int or char")
		}
		i, _ := asBig(v)
		return runeText(i), false
	case 'd', 'i', 'u', 'x', 'X', 'o':
		return p.whole(verb, v, sp), true
	case 'e', 'E', 'f', 'F', 'g', 'G':
		var f float64
		switch {
		case isNumber(v):
			f = toFloat(v)
		case isUndefined(v):
			failIfUndefined(v)
		case p.escape:
			f = r.parseFloatOrRaise(v)
		default:
			raise("TypeError", "must be real number, not %s", v.typeName())
		}
		if sp.precision > 1<<20 {
			r.hold(sp.precision)
			raise("ValueError", "precision too big")
		}
		r.stepFloat(sp.precision)
		text = floatDigits(math.Abs(f), verb, sp.precision, sp.alternate)
		if verb < 'a' {
			text = strings.ToUpper(text)
		}
		return sp.signOf(math.Signbit(f) && !math.IsNaN(f)) + text, true
	}
	raise("ValueError", "unsupported format character '%c' (0x%x)", verb, verb)
	return "", false
}

func (p *percentFormat) whole(verb byte, v Value, sp *spec) string {
	var i *big.Int
	decimal := verb == 'd' || verb == 'i' || verb == 'u'
	switch f, isFloat := v.(float); {
	case isWhole(v):
		i, _ = asBig(v)
	case isUndefined(v) && decimal:
		failIfUndefined(v)
	case isFloat && decimal:
		i, _ = asBig(truncate(float64(f)))
	case p.escape && decimal:
		i, _ = asBig(p.r.parseIntOrRaise(v))
	case decimal:
		raise("TypeError", "%%%c format: a real number is required, not %s", verb, v.typeName())
	default:
		raise("TypeError", "%%%c format: an integer is required, not %s", verb, v.typeName())
	}
	base, prefix := 10, ""
	if !decimal {
		base = map[byte]int{'x': 16, 'X': 16, 'o': 8}[verb]
		if sp.alternate {
			prefix = "0" + string(verb)
		}
	}
	digits := p.r.digits(i, base)
	if verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	if n := sp.precision - len(digits); n > 0 {
		p.r.hold(n)
		digits = strings.Repeat("0", n) + digits
	}
	return sp.signOf(i.Sign() < 0) + prefix + digits
}

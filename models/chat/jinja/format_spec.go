package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A spec is a format specification of Python: [[fill]align][sign][z][#][0]
// [width][grouping][.precision][type].
type spec struct {
	fill      string
	align     byte // 0, '<', '>', '=' or '^'
	zeros     bool // a number without an alignment is filled after its sign
	sign      byte // '-', '+' or ' '
	alternate bool
	noNegZero bool
	width     int
	grouping  byte // 0, ',' or '_'
	precision int  // -1: not given
	verb      byte // 0: not given
}

func parseSpec(s string) spec {
	p := spec{fill: " ", sign: '-', precision: -1}
	invalid := func() { raise("ValueError", "Invalid format specifier") }
	isAlign := func(i int) bool { return i < len(s) && strings.IndexByte("<>=^", s[i]) >= 0 }
	filled := false
	if _, n := utf8.DecodeRuneInString(s); n > 0 && isAlign(n) {
		p.fill, p.align, filled = s[:n], s[n], true
		s = s[n+1:]
	} else if isAlign(0) {
		p.align = s[0]
		s = s[1:]
	}
	take := func(chars string) byte {
		if s != "" && strings.IndexByte(chars, s[0]) >= 0 {
			c := s[0]
			s = s[1:]
			return c
		}
		return 0
	}
	number := func() int {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		if n == 0 {
			return -1
		}
		v, err := strconv.ParseInt(s[:n], 10, 64)
		if err != nil {
			raise("ValueError", "Too many decimal digits in format string")
		}
		s = s[n:]
		return int(v)
	}
	if c := take("+- "); c != 0 {
		p.sign = c
	}
	p.noNegZero = take("z") != 0
	p.alternate = take("#") != 0
	if !filled && strings.HasPrefix(s, "0") {
		p.fill, p.zeros = "0", p.align == 0
		s = s[1:]
	}
	p.width = max(number(), 0)
	p.grouping = take(",_")
	if p.grouping != 0 && take(",_") != 0 {
		raise("ValueError", "Cannot specify both ',' and '_'.")
	}
	if take(".") != 0 {
		if p.precision = number(); p.precision < 0 {
			raise("ValueError", "Format specifier missing precision")
		}
	}
	if len(s) > 1 {
		if _, n := utf8.DecodeRuneInString(s); n != len(s) {
			invalid()
		}
		raise("ValueError", "Unknown format code %s", reprString(s))
	}
	if s != "" {
		p.verb = s[0]
	}
	return p
}

// formatValue is Python's format(v, spec).
func (r *rendering) formatValue(v Value, s string) string {
	r.step(1)
	if s == "" {
		return r.str(v)
	}
	switch v := v.(type) {
	case str:
		return r.formatText(string(v), parseSpec(s))
	case markup:
		return r.formatText(string(v), parseSpec(s))
	case boolean, integer, bigint:
		return r.formatWhole(v, parseSpec(s))
	case float:
		return r.formatFloat(float64(v), parseSpec(s))
	}
	raise("TypeError", "unsupported format string passed to %s.__format__", v.typeName())
	return ""
}

func (p spec) unknown(typeName string) {
	raise("ValueError", "Unknown format code '%c' for object of type '%s'", p.verb, typeName)
}

// padded fills text up to the width; sign and prefix stay in front of the fill
// where the alignment is '='.
func (p spec) padded(r *rendering, prefix, text string, align byte) string {
	switch {
	case p.align != 0:
		align = p.align
	case p.zeros && align == '>':
		align = '='
	}
	n := utf8.RuneCountInString(prefix) + utf8.RuneCountInString(text)
	pad := max(0, p.width-n)
	r.hold(len(text) + times(pad, len(p.fill)))
	fill := strings.Repeat(p.fill, pad)
	switch align {
	case '>':
		return fill + prefix + text
	case '=':
		return prefix + fill + text
	case '^':
		left := pad / 2 * len(p.fill)
		return fill[:left] + prefix + text + fill[left:]
	}
	return prefix + text + fill
}

func (r *rendering) formatText(s string, p spec) string {
	if p.verb != 0 && p.verb != 's' {
		p.unknown("str")
	}
	if p.sign != '-' || p.alternate || p.grouping != 0 || p.noNegZero {
		raise("ValueError", "a sign, '#', 'z' or grouping is not allowed in string format specifier")
	}
	if p.align == '=' {
		raise("ValueError", "'=' alignment not allowed in string format specifier")
	}
	if p.precision >= 0 {
		r.scan(len(s))
		if utf8.RuneCountInString(s) > p.precision {
			s = s[:runeOffset(s, p.precision)]
		}
	}
	return p.padded(r, "", s, '<')
}

// signOf is what stands in front of a number.
func (p spec) signOf(negative bool) string {
	switch {
	case negative:
		return "-"
	case p.sign == '-':
		return ""
	}
	return string(p.sign)
}

func (r *rendering) formatWhole(v Value, p spec) string {
	if strings.IndexByte("eEfFgG%", p.verb) >= 0 && p.verb != 0 {
		return r.formatFloat(toFloat(v), p)
	}
	if p.precision >= 0 {
		raise("ValueError", "Precision not allowed in integer format specifier")
	}
	if p.noNegZero {
		raise("ValueError", "Negative zero coercion (z) not allowed in format specifier with integer")
	}
	i, _ := asBig(v)
	base, prefix := 10, ""
	switch p.verb {
	case 0, 'd', 'n':
		if p.verb == 'n' && p.grouping != 0 {
			raise("ValueError", "Cannot specify ',' with 'n'.")
		}
	case 'c':
		return r.formatCharacter(i, p)
	case 'b':
		base, prefix = 2, "0b"
	case 'o':
		base, prefix = 8, "0o"
	case 'x':
		base, prefix = 16, "0x"
	case 'X':
		base, prefix = 16, "0X"
	default:
		p.unknown(v.typeName())
	}
	if base != 10 && p.grouping == ',' {
		raise("ValueError", "Cannot specify ',' with '%c'.", p.verb)
	}
	digits := r.digits(i, base)
	if p.verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	sign := p.signOf(i.Sign() < 0)
	if p.alternate {
		sign += prefix
	}
	size := 3
	if base != 10 {
		size = 4
	}
	return p.padded(r, sign, p.grouped(r, digits, "", len(sign), size), '>')
}

// digits are the digits of a whole number, without its sign.
func (r *rendering) digits(i *big.Int, base int) string {
	if base == 10 {
		return strings.TrimPrefix(bigText(i), "-")
	}
	r.hold(i.BitLen())
	return new(big.Int).Abs(i).Text(base)
}

func (r *rendering) formatCharacter(i *big.Int, p spec) string {
	if p.sign != '-' || p.alternate {
		raise("ValueError", "Sign or alternate form not allowed with integer format specifier 'c'")
	}
	if p.grouping != 0 {
		raise("ValueError", "Cannot specify '%c' with 'c'.", p.grouping)
	}
	return p.padded(r, "", runeText(i), '>')
}

// runeText is the character of a number.
func runeText(i *big.Int) string {
	if !i.IsInt64() || i.Int64() < 0 || i.Int64() > utf8.MaxRune {
		raise("OverflowError", "%%c arg not in range(0x110000)")
	}
	if !utf8.ValidRune(rune(i.Int64())) {
		raise("NotImplementedError", "a lone surrogate")
	}
	return string(rune(i.Int64()))
}

// grouped puts the separators between digits, and zeros in front as far as the
// width asks for them.
func (p spec) grouped(r *rendering, digits, rest string, before, size int) string {
	if p.grouping == 0 {
		return digits + rest
	}
	width := 0
	if p.fill == "0" && (p.align == '=' || p.zeros) {
		width = p.width - before - len(rest)
		r.hold(2 * max(0, width))
	}
	r.hold(2 * len(digits))
	var parts []string
	n := 0 // characters so far, without a separator in front
	for digits != "" || n < width {
		separator := min(n, 1)
		take := min(size, len(digits))
		part := digits[len(digits)-take:]
		digits = digits[:len(digits)-take]
		if digits == "" {
			// A separator stands behind a digit, even if that makes one too many.
			zeros := max(width-n-separator-len(part), 1-len(part), 0)
			part = strings.Repeat("0", min(zeros, size-len(part))) + part
		}
		parts = append(parts, part)
		n += separator + len(part)
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(parts[i])
		if i > 0 {
			b.WriteByte(p.grouping)
		}
	}
	return b.String() + rest
}

func (r *rendering) formatFloat(f float64, p spec) string {
	precision := p.precision
	verb := p.verb
	if verb != 0 && strings.IndexByte("eEfFgGn%", verb) < 0 {
		p.unknown("float")
	}
	if verb == 'n' && p.grouping != 0 {
		raise("ValueError", "Cannot specify ',' with 'n'.")
	}
	if precision > 1<<20 {
		r.hold(precision)
		raise("ValueError", "precision too big")
	}
	r.stepFloat(precision)
	if verb == '%' {
		f *= 100
	}
	negative := math.Signbit(f) && !math.IsNaN(f)
	text := floatDigits(math.Abs(f), verb, precision, p.alternate)
	if p.noNegZero && negative && strings.Trim(text, "0.%e+-") == "" {
		negative = false
	}
	if verb == '%' {
		text += "%"
	}
	if verb == 'E' || verb == 'F' || verb == 'G' {
		text = strings.ToUpper(text)
	}
	end := strings.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' })
	if end < 0 {
		end = len(text)
	}
	sign := p.signOf(negative)
	if end == 0 { // inf, nan
		return p.padded(r, sign, text, '>')
	}
	r.hold(len(text))
	return p.padded(r, sign, p.grouped(r, text[:end], text[end:], len(sign), 3), '>')
}

// stepFloat counts the formatting of a float, which may have 300 digits in front
// of its point.
func (r *rendering) stepFloat(precision int) { r.step(50 + max(0, precision)) }

// floatDigits formats a positive float as Python does for a type letter.
func floatDigits(f float64, verb byte, precision int, alternate bool) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return "inf"
	}
	given := precision >= 0
	if !given {
		precision = 6
	}
	switch verb {
	case 'e', 'E':
		s := strconv.FormatFloat(f, 'e', precision, 64)
		if alternate && precision == 0 {
			s = strings.Replace(s, "e", ".e", 1)
		}
		return s
	case 'f', 'F', '%':
		s := strconv.FormatFloat(f, 'f', precision, 64)
		if alternate && precision == 0 {
			s += "."
		}
		return s
	case 0:
		if !given {
			return floatText(f)
		}
		return general(f, max(precision, 1), alternate, true)
	}
	return general(f, max(precision, 1), alternate, false)
}

// general is the format g. Where there is no type letter, a whole number keeps
// a ".0", and the exponent comes one digit earlier.
func general(f float64, precision int, alternate, noLetter bool) string {
	s := strconv.FormatFloat(f, 'e', precision-1, 64)
	mantissa, exponent, _ := strings.Cut(s, "e")
	e, _ := strconv.Atoi(exponent)
	limit := precision
	if noLetter && precision > 1 {
		limit--
	}
	trim := func(s string) string {
		if alternate {
			if !strings.Contains(s, ".") {
				s += "."
			}
			return s
		}
		if strings.Contains(s, ".") {
			s = strings.TrimRight(s, "0")
		}
		return strings.TrimSuffix(s, ".")
	}
	if e < -4 || e >= limit {
		return trim(mantissa) + "e" + exponent
	}
	s = trim(strconv.FormatFloat(f, 'f', max(0, precision-1-e), 64))
	if noLetter && !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

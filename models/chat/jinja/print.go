package jinja

import (
	"context"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// ToString is Python's str(v). It fails where that raises or prints an address,
// and at the default Limits.
func ToString(v Value) (s string, err error) {
	r := newRendering(context.Background(), nil, Limits{})
	defer r.catch(&err)
	return r.str(v), nil
}

// str is Python's str(v).
func (r *rendering) str(v Value) string {
	switch v := v.(type) {
	case str:
		return string(v)
	case markup:
		return string(v)
	case *undefined:
		return ""
	}
	return r.repr(v)
}

// repr is Python's repr(v).
func (r *rendering) repr(v Value) string {
	p := printer{r: r}
	p.value(v)
	return string(p.b)
}

// A printer builds the repr of nested values.
type printer struct {
	r       *rendering
	b       []byte
	charged int
}

// charge counts what was written since the last time.
func (p *printer) charge() {
	p.r.hold(len(p.b) - p.charged)
	p.r.step(1)
	p.charged = len(p.b)
}

func (p *printer) write(s string) {
	p.b = append(p.b, s...)
	p.charge()
}

func (p *printer) value(v Value) {
	switch v := v.(type) {
	case noneType:
		p.write("None")
	case boolean:
		if v {
			p.write("True")
		} else {
			p.write("False")
		}
	case integer:
		p.b = strconv.AppendInt(p.b, int64(v), 10)
		p.charge()
	case bigint:
		p.write(bigText(v.Int))
	case float:
		p.write(floatText(float64(v)))
	case str:
		p.r.hold(len(v))
		p.r.work(len(v))
		p.write(reprString(string(v)))
	case markup:
		p.r.hold(len(v))
		p.r.work(len(v))
		p.write("Markup(" + reprString(string(v)) + ")")
	case bytesValue:
		p.r.work(len(v))
		p.write(reprBytes(string(v)))
	case *undefined:
		p.write("Undefined")
	case *list:
		p.items("[", v.items, "]")
	case *tuple:
		if len(v.items) == 1 {
			p.items("(", v.items, ",)")
		} else {
			p.items("(", v.items, ")")
		}
	case *dict:
		p.dict(v)
	case *dictView:
		p.write(v.typeName() + "(")
		p.items("[", p.r.collect(v), "]")
		p.write(")")
	case *rangeValue:
		p.write("range(" + strconv.FormatInt(v.start, 10) + ", " + strconv.FormatInt(v.stop, 10))
		if v.step != 1 {
			p.write(", " + strconv.FormatInt(v.step, 10))
		}
		p.write(")")
	case *namespace:
		p.write("<Namespace ")
		p.dict(v.attrs)
		p.write(">")
	case *macro:
		if v.name == "" {
			p.write("<Macro anonymous>")
		} else {
			p.write("<Macro " + reprString(v.name) + ">")
		}
	case *loop:
		p.write("<LoopContext " + strconv.Itoa(v.index+1) + "/" + strconv.Itoa(v.length()) + ">")
	default:
		raise("NotImplementedError", "printing a %s, which prints an address in memory", v.typeName())
	}
}

func (p *printer) items(open string, items []Value, end string) {
	p.r.enter()
	defer p.r.leave()
	p.write(open)
	for i, item := range items {
		if i > 0 {
			p.write(", ")
		}
		p.value(item)
	}
	p.write(end)
}

func (p *printer) dict(d *dict) {
	p.r.enter()
	defer p.r.leave()
	p.write("{")
	for i, key := range d.keys {
		if i > 0 {
			p.write(", ")
		}
		p.value(key)
		p.write(": ")
		p.value(d.values[i])
	}
	p.write("}")
}

// bigText is the decimal digits of a whole number, of as many as Python prints.
func bigText(i *big.Int) string {
	if i.BitLen() <= 14285 { // as many as 4300 digits can have
		if s := i.String(); len(strings.TrimPrefix(s, "-")) <= maxDigits {
			return s
		}
	}
	raise("ValueError", "Exceeds the limit (%d digits) for integer string conversion", maxDigits)
	return ""
}

// floatText is Python's repr of a float.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mantissa, exponent, _ := strings.Cut(s, "e")
	if e, _ := strconv.Atoi(exponent); f == 0 || e >= -4 && e < 16 {
		s = strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	return mantissa + "e" + exponent
}

// reprBytes is Python's repr of bytes.
func reprBytes(s string) string {
	quote := byte('\'')
	if strings.IndexByte(s, '\'') >= 0 && strings.IndexByte(s, '"') < 0 {
		quote = '"'
	}
	b := []byte{'b', quote}
	for i := range len(s) {
		switch c := s[i]; {
		case c == quote || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ' || c >= 0x7f:
			b = append(b, asciiEscape(rune(c))...)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, quote))
}

package jinja

import "strings"

var operatorSymbols = map[string]string{
	"add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "pow": "**",
}

// binary applies one of Python's arithmetic operators.
func (r *rendering) binary(op string, a, b Value) Value {
	r.step(1)
	if format, ok := Text(a); ok && op == "mod" {
		return r.percent(format, isMarkup(a), b)
	}
	failIfUndefined(a, b)
	if isNumber(a) && isNumber(b) {
		return r.arithmetic(op, a, b)
	}
	switch op {
	case "add":
		if v := r.concatenate(a, b); v != nil {
			return v
		}
	case "mul":
		if isWhole(b) {
			if v := r.repeat(a, b); v != nil {
				return v
			}
		}
		if isWhole(a) {
			if v := r.repeat(b, a); v != nil {
				return v
			}
		}
	case "sub":
		if isView(a) || isView(b) {
			raise("NotImplementedError", "sets of a dictionary's keys")
		}
	}
	raise("TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", operatorSymbols[op], a.typeName(), b.typeName())
	return nil
}

func isView(v Value) bool {
	d, ok := v.(*dictView)
	return ok && d.what != "values"
}

func isMarkup(v Value) bool {
	_, ok := v.(markup)
	return ok
}

// concatenate is a + b of strings and containers, or nil.
func (r *rendering) concatenate(a, b Value) Value {
	if s, ok := Text(a); ok {
		t, ok := Text(b)
		if !ok {
			return nil
		}
		if isMarkup(a) || isMarkup(b) {
			return r.markup(string(r.escape(a)) + string(r.escape(b)))
		}
		r.hold(len(s) + len(t))
		return str(s + t)
	}
	switch a := a.(type) {
	case *list:
		if b, ok := b.(*list); ok {
			return &list{r.joinItems(a.items, b.items)}
		}
	case *tuple:
		if b, ok := b.(*tuple); ok {
			return &tuple{items: r.joinItems(a.items, b.items)}
		}
	case bytesValue:
		if b, ok := b.(bytesValue); ok {
			r.hold(len(a) + len(b))
			return a + b
		}
	}
	return nil
}

func (r *rendering) joinItems(a, b []Value) []Value {
	r.holdItems(len(a) + len(b))
	all := make([]Value, 0, len(a)+len(b))
	return append(append(all, a...), b...)
}

// repeat is a sequence times a number, or nil if v is no sequence.
func (r *rendering) repeat(v, times Value) Value {
	switch v.(type) {
	case str, markup, *list, *tuple, bytesValue:
	default:
		return nil
	}
	n := max(0, countArg(times))
	switch v := v.(type) {
	case str:
		return str(r.repeatText(string(v), n))
	case markup:
		return markup(r.repeatText(string(v), n))
	case bytesValue:
		return bytesValue(r.repeatText(string(v), n))
	case *list:
		return &list{r.repeatItems(v.items, n)}
	case *tuple:
		return &tuple{items: r.repeatItems(v.items, n)}
	}
	return nil
}

func (r *rendering) repeatText(s string, n int) string {
	if s == "" {
		return ""
	}
	r.hold(times(len(s), n))
	return strings.Repeat(s, n)
}

func (r *rendering) repeatItems(items []Value, n int) []Value {
	if len(items) == 0 {
		return nil
	}
	r.holdItems(times(len(items), n))
	all := make([]Value, 0, len(items)*n)
	for range n {
		all = append(all, items...)
	}
	return all
}

// text makes a new string.
func (r *rendering) text(s string) Value {
	r.hold(len(s))
	return str(s)
}

func (r *rendering) markup(s string) Value {
	r.hold(len(s))
	return markup(s)
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", `"`, "&#34;")

// escape is markupsafe.escape.
func (r *rendering) escape(v Value) markup {
	if m, ok := v.(markup); ok {
		return m
	}
	s := r.str(v)
	r.hold(times(len(s), 5)) // as long as it can become
	return markup(htmlEscapes.Replace(s))
}

package jinja

import "strings"

// attributePath splits the name of an attribute at its dots. Digits are an
// index.
func attributePath(attribute Value) []Value {
	if attribute == nil || attribute == None {
		return nil
	}
	s, ok := Text(attribute)
	if !ok {
		return []Value{attribute}
	}
	var path []Value
	for part := range strings.SplitSeq(s, ".") {
		if all(part, isDigit) {
			i := parseInt(part, 10)
			if i == nil {
				raise("ValueError", "invalid literal for int() with base 10: %s", reprString(part))
			}
			path = append(path, i)
		} else {
			path = append(path, str(part))
		}
	}
	return path
}

// getter looks up an attribute by the rules of items. What it lacks is the
// default, if there is one.
func (r *rendering) getter(attribute, otherwise Value, ignoreCase bool) func(Value) Value {
	path := attributePath(attribute)
	return func(v Value) Value {
		for _, part := range path {
			v = r.item(v, part)
			if otherwise != nil && otherwise != None && isUndefined(v) {
				v = otherwise
			}
		}
		if ignoreCase {
			v = r.ignoreCase(v)
		}
		return v
	}
}

// multiGetter looks up attributes between commas, as a list.
func (r *rendering) multiGetter(attribute Value, ignoreCase bool) func(Value) Value {
	attribute = orNone(attribute)
	parts := []Value{attribute}
	if s, ok := Text(attribute); ok {
		parts = nil
		for part := range strings.SplitSeq(s, ",") {
			parts = append(parts, str(part))
		}
	}
	gets := make([]func(Value) Value, len(parts))
	for i, part := range parts {
		gets[i] = r.getter(part, nil, ignoreCase)
	}
	return func(v Value) Value {
		r.holdItems(len(gets))
		l := &list{make([]Value, len(gets))}
		for i, get := range gets {
			l.items[i] = get(v)
		}
		return l
	}
}

func (r *rendering) ignoreCase(v Value) Value {
	if _, ok := Text(v); ok {
		return r.callMethod(v, "lower")
	}
	return v
}

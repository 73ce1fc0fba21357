package jinja

import "unicode/utf8"

// next returns the items of a value one after the other.
type next func() (item Value, ok bool)

// A generator is what Python computes as it is asked for: of a filter, a loop's
// condition, reversed. It is used up once.
type generator struct {
	class string // the name of its Python class
	next  next
}

func (g *generator) typeName() string { return g.class }

func newGenerator(n next) *generator { return &generator{"generator", n} }

// A rangeValue is what range returns.
type rangeValue struct {
	start, stop, step int64
	n                 int
}

func (*rangeValue) typeName() string { return "range" }

func (g *rangeValue) at(i int) Value { return integer(g.start + int64(i)*g.step) }

// A dictView is what a dictionary's keys, values and items return.
type dictView struct {
	*dict
	what string
}

func (v *dictView) typeName() string { return "dict_" + v.what }

func (v *dictView) at(i int) Value {
	switch v.what {
	case "keys":
		return v.keys[i]
	case "values":
		return v.values[i]
	}
	return &tuple{items: []Value{v.keys[i], v.values[i]}}
}

func sliceItems(items []Value) next {
	return count(len(items), func(i int) Value { return items[i] })
}

// count returns n items by their place.
func count(n int, item func(int) Value) next {
	i := 0
	return func() (Value, bool) {
		if i >= n {
			return nil, false
		}
		i++
		return item(i - 1), true
	}
}

// iterate returns the items of v, each counted as a step.
func (r *rendering) iterate(v Value) next {
	n := r.items(v)
	if n == nil {
		raise("TypeError", "'%s' object is not iterable", v.typeName())
	}
	return func() (Value, bool) {
		r.step(1)
		r.enter() // a generator may ask another one
		item, ok := n()
		r.leave()
		return item, ok
	}
}

// items returns the items of v, or nil if it has none to iterate over.
func (r *rendering) items(v Value) next {
	switch v := v.(type) {
	case *list:
		return sliceItems(v.items)
	case *tuple:
		return sliceItems(v.items)
	case *dict:
		return sliceItems(v.keys)
	case *dictView:
		return count(len(v.keys), v.at)
	case *rangeValue:
		return count(v.n, v.at)
	case *generator:
		return v.next
	case str:
		return runes(string(v), func(s string) Value { return str(s) })
	case markup:
		return runes(string(v), func(s string) Value { return str(s) })
	case bytesValue:
		return count(len(v), func(i int) Value { return integer(v[i]) })
	case *undefined:
		return sliceItems(nil)
	case *loop:
		raise("NotImplementedError", "iterating over loop itself")
	}
	return nil
}

// runes returns the characters of a string.
func runes(s string, value func(string) Value) next {
	return func() (Value, bool) {
		if s == "" {
			return nil, false
		}
		_, n := utf8.DecodeRuneInString(s)
		c := s[:n]
		s = s[n:]
		return value(c), true
	}
}

// collect returns all items of v.
func (r *rendering) collect(v Value) []Value {
	switch v := v.(type) {
	case *list:
		r.holdItems(len(v.items))
		return append([]Value(nil), v.items...)
	case *tuple:
		r.holdItems(len(v.items))
		return append([]Value(nil), v.items...)
	}
	var all []Value
	for n := r.iterate(v); ; {
		item, ok := n()
		if !ok {
			return all
		}
		r.hold(itemSize)
		all = append(all, item)
	}
}

// length is len(v); ok is false where Python has none.
func (r *rendering) length(v Value) (n int, ok bool) {
	switch v := v.(type) {
	case str:
		r.scan(len(v))
		return utf8.RuneCountInString(string(v)), true
	case markup:
		r.scan(len(v))
		return utf8.RuneCountInString(string(v)), true
	case *list:
		return len(v.items), true
	case *tuple:
		return len(v.items), true
	case *dict:
		return len(v.keys), true
	case *dictView:
		return len(v.keys), true
	case *rangeValue:
		return v.n, true
	case bytesValue:
		return len(v), true
	case *undefined:
		return 0, true
	case *loop:
		return v.length(), true
	}
	return 0, false
}

func (r *rendering) len(v Value) int {
	n, ok := r.length(v)
	if !ok {
		raise("TypeError", "object of type '%s' has no len()", v.typeName())
	}
	return n
}

// truth is Python's bool(v).
func (r *rendering) truth(v Value) bool {
	switch v := v.(type) {
	case boolean:
		return bool(v)
	case noneType:
		return false
	case str:
		return v != ""
	case markup:
		return v != ""
	case integer:
		return v != 0
	case float:
		return v != 0
	case *loop:
		return v.length() != 0
	}
	if n, ok := r.length(v); ok {
		return n != 0
	}
	return true
}

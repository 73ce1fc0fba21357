package jinja

import (
	"math"
	"math/big"
	"strings"
)

// equal is Python's a == b.
func (r *rendering) equal(a, b Value) bool {
	switch a := a.(type) {
	case str, markup:
		s, _ := Text(a)
		t, ok := Text(b)
		r.scan(min(len(s), len(t)))
		return ok && s == t
	case boolean, integer, bigint, float:
		c, ok := compareNumbers(a, b)
		return ok && c == 0
	case *undefined:
		return isUndefined(b)
	case *list:
		b, ok := b.(*list)
		return ok && r.equalItems(a.items, b.items)
	case *tuple:
		b, ok := b.(*tuple)
		return ok && r.equalItems(a.items, b.items)
	case *dict:
		b, ok := b.(*dict)
		return ok && r.equalDicts(a, b)
	case *dictView:
		b, ok := b.(*dictView)
		return ok && a.what == b.what && a.what != "values" && r.equalDicts(a.dict, b.dict)
	case *rangeValue:
		b, ok := b.(*rangeValue)
		return ok && a.n == b.n && (a.n == 0 || a.start == b.start && (a.n == 1 || a.step == b.step))
	case bytesValue:
		b, ok := b.(bytesValue)
		return ok && a == b
	case *method:
		b, ok := b.(*method)
		return ok && a.routine == b.routine && r.same(a.self, b.self)
	}
	return a == b
}

func (r *rendering) equalItems(a, b []Value) bool {
	if len(a) != len(b) {
		return false
	}
	r.enter()
	defer r.leave()
	for i := range a {
		r.step(1)
		if !r.same(a[i], b[i]) && !r.equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func (r *rendering) equalDicts(a, b *dict) bool {
	if len(a.keys) != len(b.keys) {
		return false
	}
	r.enter()
	defer r.leave()
	for i, h := range a.hashes {
		r.step(1)
		other, ok := b.get(h)
		if !ok || !r.same(a.values[i], other) && !r.equal(a.values[i], other) {
			return false
		}
	}
	return true
}

// same is Python's a is b, as far as that does not depend on how the
// interpreter keeps numbers and strings: those are the same if they are equal
// and of one type.
func (r *rendering) same(a, b Value) bool {
	switch a := a.(type) {
	case float:
		b, ok := b.(float)
		return ok && (a == b || math.IsNaN(float64(a)) && math.IsNaN(float64(b)))
	case bigint:
		b, ok := b.(bigint)
		return ok && a.Cmp(b.Int) == 0
	case *undefined, *list, *dict, *tuple:
		if t, ok := a.(*tuple); ok && len(t.items) == 0 {
			u, ok := b.(*tuple)
			return ok && len(u.items) == 0
		}
		return a == b
	case str:
		b, ok := b.(str)
		r.scan(min(len(a), len(b)))
		return ok && a == b
	case bytesValue:
		b, ok := b.(bytesValue)
		return ok && a == b
	}
	return a == b
}

// compareNumbers compares two numbers exactly; ok is false where they are not
// both numbers or one is not a number.
func compareNumbers(a, b Value) (c int, ok bool) {
	if i, ok := small(a); ok {
		if j, ok := small(b); ok {
			switch {
			case i < j:
				return -1, true
			case i > j:
				return 1, true
			}
			return 0, true
		}
	}
	f, aIsFloat := a.(float)
	g, bIsFloat := b.(float)
	if aIsFloat && bIsFloat {
		switch {
		case f < g:
			return -1, true
		case f > g:
			return 1, true
		}
		return 0, f == g
	}
	if aIsFloat {
		c, ok := compareNumbers(b, a)
		return -c, ok
	}
	i, ok := asBig(a)
	if !ok {
		return 0, false
	}
	if bIsFloat {
		switch {
		case math.IsNaN(float64(g)):
			return 0, false
		case math.IsInf(float64(g), 1):
			return -1, true
		case math.IsInf(float64(g), -1):
			return 1, true
		}
		exact := new(big.Float).SetInt(i)
		return exact.Cmp(big.NewFloat(float64(g))), true
	}
	j, ok := asBig(b)
	if !ok {
		return 0, false
	}
	return i.Cmp(j), true
}

// order compares a and b by one of the operators lt, lteq, gt and gteq.
func (r *rendering) order(op string, a, b Value) bool {
	r.step(1)
	failIfUndefined(a, b)
	decide := func(c int) bool {
		switch op {
		case "lt":
			return c < 0
		case "lteq":
			return c <= 0
		case "gt":
			return c > 0
		}
		return c >= 0
	}
	if isNumber(a) && isNumber(b) {
		c, ok := compareNumbers(a, b)
		return ok && decide(c)
	}
	if s, ok := Text(a); ok {
		if t, ok := Text(b); ok {
			r.scan(min(len(s), len(t)))
			return decide(strings.Compare(s, t))
		}
	}
	switch a := a.(type) {
	case *list:
		if b, ok := b.(*list); ok {
			return r.orderItems(op, a.items, b.items, decide)
		}
	case *tuple:
		if b, ok := b.(*tuple); ok {
			return r.orderItems(op, a.items, b.items, decide)
		}
	case bytesValue:
		if b, ok := b.(bytesValue); ok {
			return decide(strings.Compare(string(a), string(b)))
		}
	case *dictView:
		if b, ok := b.(*dictView); ok && a.what != "values" && b.what != "values" {
			raise("NotImplementedError", "comparing views of dictionaries as sets")
		}
	}
	symbol := map[string]string{"lt": "<", "lteq": "<=", "gt": ">", "gteq": ">="}[op]
	raise("TypeError", "'%s' not supported between instances of '%s' and '%s'", symbol, a.typeName(), b.typeName())
	return false
}

func (r *rendering) orderItems(op string, a, b []Value, decide func(int) bool) bool {
	r.enter()
	defer r.leave()
	for i := range min(len(a), len(b)) {
		r.step(1)
		if !r.same(a[i], b[i]) && !r.equal(a[i], b[i]) {
			return r.order(op, a[i], b[i])
		}
	}
	return decide(len(a) - len(b))
}

// contains is Python's item in container.
func (r *rendering) contains(container, item Value) bool {
	r.step(1)
	if s, ok := Text(container); ok {
		t, ok := Text(item)
		if !ok {
			raise("TypeError", "'in <string>' requires string as left operand, not %s", item.typeName())
		}
		r.scan(len(s))
		return strings.Contains(s, t)
	}
	switch c := container.(type) {
	case *dict:
		return r.hasKey(c, item)
	case *dictView:
		if c.what == "keys" {
			return r.hasKey(c.dict, item)
		}
	case *rangeValue:
		if isNumber(item) {
			return r.rangeIndex(c, item) >= 0
		}
	case bytesValue:
		raise("NotImplementedError", "searching in bytes")
	}
	n := r.items(container)
	if n == nil {
		raise("TypeError", "argument of type '%s' is not iterable", container.typeName())
	}
	for {
		r.step(1)
		other, ok := n()
		if !ok {
			return false
		}
		if r.same(other, item) || r.equal(other, item) {
			return true
		}
	}
}

func (r *rendering) hasKey(d *dict, key Value) bool {
	_, ok := d.find(r.mustHash(key))
	return ok
}

// mustHash is hash, and an exception where Python cannot hash the value.
func (r *rendering) mustHash(v Value) any {
	h, ok := r.hash(v)
	if !ok {
		raise("TypeError", "unhashable type: '%s'", v.typeName())
	}
	return h
}

// rangeIndex is the place of a number in a range, or -1.
func (r *rendering) rangeIndex(g *rangeValue, v Value) int {
	if f, ok := v.(float); ok {
		i, ok := floatHash(float64(f)).(int64)
		if !ok {
			return -1
		}
		v = integer(i)
	}
	i, ok := small(v)
	if !ok || g.n == 0 {
		return -1
	}
	first, last := g.start, g.start+int64(g.n-1)*g.step
	if i < min(first, last) || i > max(first, last) || (i-first)%g.step != 0 {
		return -1
	}
	return int((i - first) / g.step)
}

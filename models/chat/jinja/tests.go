package jinja

// tests are the built-in tests. Those that Jinja knows by several names follow
// in init.
var tests map[string]*routine

func init() {
	is := func(f func(r *rendering, v Value) bool) func(*rendering, []Value) Value {
		return func(r *rendering, a []Value) Value { return boolean(f(r, a[0])) }
	}
	compare := func(op string) func(*rendering, []Value) Value {
		return func(r *rendering, a []Value) Value { return boolean(r.compare(op, a[0], a[1])) }
	}
	remainder := func(r *rendering, v, n Value) Value { return r.binary("mod", v, n) }
	tests = routines(map[string]func(r *rendering, a []Value) Value{
		"odd(value)":  is(func(r *rendering, v Value) bool { return r.equal(remainder(r, v, integer(2)), integer(1)) }),
		"even(value)": is(func(r *rendering, v Value) bool { return r.equal(remainder(r, v, integer(2)), integer(0)) }),
		"divisibleby(value, num)": func(r *rendering, a []Value) Value {
			return boolean(r.equal(remainder(r, a[0], a[1]), integer(0)))
		},
		"defined(value)":   is(func(_ *rendering, v Value) bool { return !isUndefined(v) }),
		"undefined(value)": is(func(_ *rendering, v Value) bool { return isUndefined(v) }),
		"filter(value)":    is(func(r *rendering, v Value) bool { return r.isNamed(filters, v) }),
		"test(value)":      is(func(r *rendering, v Value) bool { return r.isNamed(tests, v) }),
		"none(value)":      is(func(_ *rendering, v Value) bool { return v == None }),
		"boolean(value)":   is(func(_ *rendering, v Value) bool { _, ok := v.(boolean); return ok }),
		"false(value)":     is(func(_ *rendering, v Value) bool { return v == Bool(false) }),
		"true(value)":      is(func(_ *rendering, v Value) bool { return v == Bool(true) }),
		"integer(value)": is(func(_ *rendering, v Value) bool {
			_, isBool := v.(boolean)
			return isWhole(v) && !isBool
		}),
		"float(value)":  is(func(_ *rendering, v Value) bool { _, ok := v.(float); return ok }),
		"lower(value)":  is(func(r *rendering, v Value) bool { return hasCase(r.worked(v), isLowercase) }),
		"upper(value)":  is(func(r *rendering, v Value) bool { return hasCase(r.worked(v), isUppercase) }),
		"string(value)": is(func(_ *rendering, v Value) bool { _, ok := Text(v); return ok }),
		"mapping(value)": is(func(_ *rendering, v Value) bool {
			_, ok := v.(*dict)
			return ok
		}),
		"number(value)":   is(func(_ *rendering, v Value) bool { return isNumber(v) }),
		"sequence(value)": is(isSequence),
		"iterable(value)": is(func(r *rendering, v Value) bool {
			_, isLoop := v.(*loop)
			return isLoop || r.items(v) != nil
		}),
		"callable(obj, /)": is(func(_ *rendering, v Value) bool {
			_, ok := v.(callable)
			return ok || isUndefined(v)
		}),
		"sameas(value, other)": func(r *rendering, a []Value) Value { return boolean(r.same(a[0], a[1])) },
		"escaped(value)":       is(func(_ *rendering, v Value) bool { return isMarkup(v) }),
		"in(value, seq)":       compare("in"),
		"eq(a, b, /)":          compare("eq"),
		"ne(a, b, /)":          compare("ne"),
		"gt(a, b, /)":          compare("gt"),
		"ge(a, b, /)":          compare("gteq"),
		"lt(a, b, /)":          compare("lt"),
		"le(a, b, /)":          compare("lteq"),
	})
	for other, name := range map[string]string{
		"==": "eq", "equalto": "eq", "!=": "ne", ">": "gt", "greaterthan": "gt",
		">=": "ge", "<": "lt", "lessthan": "lt", "<=": "le",
	} {
		tests[other] = tests[name]
	}
}

// worked is str(v), counted as looked at character by character.
func (r *rendering) worked(v Value) string {
	s := r.str(v)
	r.work(len(s))
	return s
}

// isNamed says whether v is the name of a filter or test.
func (r *rendering) isNamed(table map[string]*routine, v Value) bool {
	name, ok := r.mustHash(v).(string)
	return ok && table[name] != nil
}

// isSequence says whether v has a length and items.
func isSequence(_ *rendering, v Value) bool {
	switch v.(type) {
	case str, markup, bytesValue, *list, *tuple, *dict, *rangeValue, *undefined:
		return true
	}
	return false
}

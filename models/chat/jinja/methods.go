package jinja

import (
	"encoding/hex"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

// The methods of containers and numbers that templates reach.

var sequenceMethods = map[string]func(r *rendering, a []Value) Value{
	"count(self, value, /)": func(r *rendering, a []Value) Value {
		n := 0
		for _, item := range itemsOf(a[0]) {
			r.step(1)
			if r.same(item, a[1]) || r.equal(item, a[1]) {
				n++
			}
		}
		return integer(n)
	},
	"index(self, value, start=, stop=, /)": func(r *rendering, a []Value) Value {
		items := itemsOf(a[0])
		from, to, _ := sliceBounds(len(items), orDefault(a[2], integer(0)), orDefault(a[3], integer(math.MaxInt64)), None)
		for i := from; i < to; i++ {
			r.step(1)
			if r.same(items[i], a[1]) || r.equal(items[i], a[1]) {
				return integer(i)
			}
		}
		raise("ValueError", "the value is not in the %s", a[0].typeName())
		return nil
	},
}

func orDefault(v, otherwise Value) Value {
	if v == nil {
		return otherwise
	}
	return v
}

func itemsOf(v Value) []Value {
	switch v := v.(type) {
	case *list:
		return v.items
	case *tuple:
		return v.items
	}
	return nil
}

var tupleMethods = routines(sequenceMethods)

var listMethods = func() map[string]*routine {
	m := routines(sequenceMethods)
	m["copy"] = &routine{name: "copy", params: params("self, /"), run: func(r *rendering, a []Value) Value {
		return &list{r.collect(a[0])}
	}}
	return m
}()

var dictMethods = func() map[string]*routine {
	view := func(what string) func(*rendering, []Value) Value {
		return func(_ *rendering, a []Value) Value { return &dictView{a[0].(*dict), what} }
	}
	m := routines(map[string]func(r *rendering, a []Value) Value{
		"get(self, key, default=, /)": func(r *rendering, a []Value) Value {
			if v, ok := a[0].(*dict).get(r.mustHash(a[1])); ok {
				return v
			}
			return orNone(a[2])
		},
		"keys(self, /)":   view("keys"),
		"values(self, /)": view("values"),
		"items(self, /)":  view("items"),
		"copy(self, /)": func(r *rendering, a []Value) Value {
			d := &dict{}
			r.fill(d, a[0])
			return d
		},
	})
	fromKeys := dictClassMethods["fromkeys"]
	m["fromkeys"] = fromKeys
	return m
}()

var rangeMethods = routines(map[string]func(r *rendering, a []Value) Value{
	"count(self, value, /)": func(r *rendering, a []Value) Value {
		if r.contains(a[0], a[1]) {
			return integer(1)
		}
		return integer(0)
	},
	"index(self, value, /)": func(r *rendering, a []Value) Value {
		if isNumber(a[1]) {
			if i := r.rangeIndex(a[0].(*rangeValue), a[1]); i >= 0 {
				return integer(i)
			}
		}
		raise("ValueError", "the value is not in range")
		return nil
	},
})

var bytesMethods = routines(map[string]func(r *rendering, a []Value) Value{
	"decode(self, encoding=, errors=)": func(r *rendering, a []Value) Value {
		for i, usual := range []string{"utf-8", "strict"} {
			if v := a[1+i]; v != nil && strings.ReplaceAll(strings.ToLower(r.textArg("decode", v)), "_", "-") != usual {
				raise("NotImplementedError", "decode(%s)", reprString(textOf(v)))
			}
		}
		s := string(a[0].(bytesValue))
		if !utf8.ValidString(s) {
			raise("UnicodeDecodeError", "'utf-8' codec can't decode the bytes")
		}
		return r.text(s)
	},
	"hex(self, /)": func(r *rendering, a []Value) Value {
		return r.text(hex.EncodeToString([]byte(a[0].(bytesValue))))
	},
})

var intMethods = routines(map[string]func(r *rendering, a []Value) Value{
	"bit_length(self, /)": func(_ *rendering, a []Value) Value {
		i, _ := asBig(a[0])
		return integer(i.BitLen())
	},
	"bit_count(self, /)": func(r *rendering, a []Value) Value {
		i, _ := asBig(a[0])
		r.step(bigWords(a[0]))
		n := 0
		for _, w := range i.Bits() {
			for ; w != 0; w &= w - 1 {
				n++
			}
		}
		return integer(n)
	},
	"conjugate(self, /)": func(_ *rendering, a []Value) Value { return plus(a[0]) },
	"as_integer_ratio(self, /)": func(_ *rendering, a []Value) Value {
		return Tuple(plus(a[0]), integer(1))
	},
	"to_bytes(self, *args, **kwargs)": func(*rendering, []Value) Value {
		raise("NotImplementedError", "int.to_bytes")
		return nil
	},
	"from_bytes(self, *args, **kwargs)": func(*rendering, []Value) Value {
		raise("NotImplementedError", "int.from_bytes")
		return nil
	},
})

var floatMethods = routines(map[string]func(r *rendering, a []Value) Value{
	"is_integer(self, /)": func(_ *rendering, a []Value) Value {
		f := float64(a[0].(float))
		return boolean(f == math.Trunc(f) && !math.IsInf(f, 0))
	},
	"conjugate(self, /)": func(_ *rendering, a []Value) Value { return a[0] },
	"as_integer_ratio(self, /)": func(_ *rendering, a []Value) Value {
		f := float64(a[0].(float))
		if math.IsInf(f, 0) {
			raise("OverflowError", "cannot convert Infinity to integer ratio")
		}
		if math.IsNaN(f) {
			raise("ValueError", "cannot convert NaN to integer ratio")
		}
		ratio := new(big.Rat)
		ratio.SetFloat64(f)
		return Tuple(whole(ratio.Num()), whole(ratio.Denom()))
	},
	"hex(self, /)": func(*rendering, []Value) Value {
		raise("NotImplementedError", "float.hex")
		return nil
	},
	"fromhex(self, string, /)": func(*rendering, []Value) Value {
		raise("NotImplementedError", "float.fromhex")
		return nil
	},
})

// markupMethods are the methods of str that Markup overrides: what they take in
// is escaped, and what they return is Markup.
var markupMethods map[string]*routine

func init() {
	makeStringMethods()
	// Which argument, if any, is escaped.
	escaped := map[string]int{"replace": 2, "ljust": 2, "rjust": 2, "center": 2}
	markupMethods = map[string]*routine{}
	for name := range words("split rsplit splitlines capitalize title lower upper replace ljust rjust center lstrip rstrip strip translate expandtabs swapcase zfill casefold removeprefix removesuffix partition rpartition") {
		base := *stringMethods[name]
		run, at := base.run, escaped[name]
		base.run = func(r *rendering, a []Value) Value {
			if at > 0 && a[at] != nil {
				a[at] = str(r.escape(a[at]))
			}
			return asMarkup(run(r, a))
		}
		markupMethods[name] = &base
	}
	for name, f := range routines(map[string]func(r *rendering, a []Value) Value{
		"join(self, iterable, /)": func(r *rendering, a []Value) Value {
			return markup(r.join(textOf(a[0]), a[1], func(_ int, v Value) string { return string(r.escape(v)) }))
		},
		"format(*args, **kwargs)": func(r *rendering, a []Value) Value {
			all := a[0].(*tuple).items
			return markup(r.format(textOf(all[0]), all[1:], a[1].(*dict), r.escape))
		},
		"format_map(self, mapping)": func(r *rendering, a []Value) Value {
			d, ok := a[1].(*dict)
			if !ok {
				raise("TypeError", "format_map() of a %s", a[1].typeName())
			}
			return markup(r.format(textOf(a[0]), nil, d, r.escape))
		},
		"escape(self, s, /)": func(r *rendering, a []Value) Value { return r.escape(a[1]) },
		"striptags(self, /)": func(r *rendering, a []Value) Value { return r.stripTags(textOf(a[0])) },
		"unescape(self, /)":  func(r *rendering, a []Value) Value { return r.unescapeHTML(textOf(a[0])) },
	}) {
		markupMethods[name] = f
	}
}

// asMarkup makes the strings in a result Markup.
func asMarkup(v Value) Value {
	switch v := v.(type) {
	case str:
		return markup(v)
	case *list:
		for i, item := range v.items {
			v.items[i] = asMarkup(item)
		}
	case *tuple:
		for i, item := range v.items {
			v.items[i] = asMarkup(item)
		}
	}
	return v
}

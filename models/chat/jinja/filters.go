package jinja

// filters are the built-in filters. Each file of filters adds its own in an
// init.
var filters = map[string]*routine{}

func addFilters(table map[string]func(r *rendering, a []Value) Value) {
	for name, f := range routines(table) {
		filters[name] = f
	}
}

func init() {
	addFilters(map[string]func(r *rendering, a []Value) Value{
		"attr(obj, name)": func(r *rendering, a []Value) Value {
			name, ok := Text(a[1])
			if !ok {
				raise("TypeError", "attribute name must be string, not '%s'", a[1].typeName())
			}
			if v := r.ownAttribute(a[0], name); v != nil {
				return v
			}
			return undefinedItem(a[0], a[1])
		},
		"default(value, default_value=, boolean=)": func(r *rendering, a []Value) Value {
			if !isUndefined(a[0]) && (a[2] == nil || !r.truth(a[2]) || r.truth(a[0])) {
				return a[0]
			}
			return orDefault(a[1], str(""))
		},
		"length(obj, /)": func(r *rendering, a []Value) Value { return integer(r.len(a[0])) },
		"list(value)":    func(r *rendering, a []Value) Value { return &list{r.collect(a[0])} },
		"string(s, /)":   func(r *rendering, a []Value) Value { return r.soft(a[0]) },
		"safe(value)": func(r *rendering, a []Value) Value {
			return markup(r.str(a[0]))
		},
		"escape(s, /)":       func(r *rendering, a []Value) Value { return r.escape(a[0]) },
		"forceescape(value)": func(r *rendering, a []Value) Value { return r.escape(str(r.str(a[0]))) },
		"pprint(value)":      func(r *rendering, a []Value) Value { return r.text(r.prettyPrint(a[0])) },
		"tojson(x, ensure_ascii=, indent=, separators=, sort_keys=)": func(r *rendering, a []Value) Value {
			return str(r.toJSON(a[0], jsonOptions(r, a[1], a[2], a[3], a[4])))
		},
		"random(seq)": func(r *rendering, a []Value) Value {
			switch n := r.len(a[0]); {
			case n == 0:
				return undefinedBecause("No random item, sequence was empty.")
			case n > 1:
				raise("NotImplementedError", "a random item of several")
			}
			if v := r.subscript(a[0], integer(0)); v != nil {
				return v
			}
			raise("KeyError", "0")
			return nil
		},
	})
	filters["d"] = filters["default"]
	filters["count"] = filters["length"]
	filters["e"] = filters["escape"]
}

// soft is markupsafe.soft_str: a string as it is, anything else by str.
func (r *rendering) soft(v Value) Value {
	switch v.(type) {
	case str, markup:
		return v
	}
	return str(r.str(v))
}

package jinja

import "sort"

func init() {
	one := func(f func(v Value) Value) func(*rendering, []Value) Value {
		return func(_ *rendering, a []Value) Value { return f(a[0]) }
	}
	addFilters(map[string]func(r *rendering, a []Value) Value{
		"first(seq)": func(r *rendering, a []Value) Value {
			if v, ok := r.iterate(a[0])(); ok {
				return v
			}
			return undefinedBecause("No first item, sequence was empty.")
		},
		"last(seq)": func(r *rendering, a []Value) Value {
			if v, ok := r.reversed(a[0])(); ok {
				return v
			}
			return undefinedBecause("No last item, sequence was empty.")
		},
		"reverse(value)": func(r *rendering, a []Value) Value {
			if _, ok := Text(a[0]); ok {
				return r.sliceText(a[0], None, None, integer(-1))
			}
			if n := r.reversible(a[0]); n != nil {
				return newIterator("reversed", n)
			}
			if r.items(a[0]) == nil {
				raise("FilterArgumentError", "argument must be iterable")
			}
			items := r.collect(a[0])
			for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
				items[i], items[j] = items[j], items[i]
			}
			return &list{items}
		},
		"items(value)": one(itemPairs),
		"sum(iterable, attribute=, start=)": func(r *rendering, a []Value) Value {
			get := r.getter(a[1], nil, false)
			total := orDefault(a[2], integer(0))
			if _, ok := Text(total); ok {
				raise("TypeError", "sum() can't sum strings [use ''.join(seq) instead]")
			}
			for n := r.iterate(a[0]); ; {
				v, ok := n()
				if !ok {
					return total
				}
				total = r.binary("add", total, get(v))
			}
		},
		"min(value, case_sensitive=, attribute=)": func(r *rendering, a []Value) Value { return r.extreme(a, "lt") },
		"max(value, case_sensitive=, attribute=)": func(r *rendering, a []Value) Value { return r.extreme(a, "gt") },
		"unique(value, case_sensitive=, attribute=)": func(r *rendering, a []Value) Value {
			return newGenerator(r.unique(a))
		},
		"batch(value, linecount, fill_with=)": func(r *rendering, a []Value) Value { return newGenerator(r.batch(a)) },
		"slice(value, slices, fill_with=)":    func(r *rendering, a []Value) Value { return newGenerator(r.slices(a)) },
		"sort(value, reverse=, case_sensitive=, attribute=)": func(r *rendering, a []Value) Value {
			get := r.multiGetter(a[3], !r.given(a[2]))
			return &list{r.sorted(r.collect(a[0]), get, r.given(a[1]))}
		},
		"dictsort(value, case_sensitive=, by=, reverse=)": dictSort,
		"groupby(value, attribute, default=, case_sensitive=)": func(r *rendering, a []Value) Value {
			return r.groupBy(a)
		},
		"map(value, *args, **kwargs)": func(r *rendering, a []Value) Value {
			return newGenerator(r.mapItems(a[0], a[1].(*tuple).items, a[2].(*dict)))
		},
		"select(value, *args, **kwargs)":     func(r *rendering, a []Value) Value { return r.selectItems(a, true, false) },
		"reject(value, *args, **kwargs)":     func(r *rendering, a []Value) Value { return r.selectItems(a, false, false) },
		"selectattr(value, *args, **kwargs)": func(r *rendering, a []Value) Value { return r.selectItems(a, true, true) },
		"rejectattr(value, *args, **kwargs)": func(r *rendering, a []Value) Value { return r.selectItems(a, false, true) },
	})
}

// newIterator is a generator of another class of Python's.
func newIterator(class string, n next) *generator { return &generator{class, n} }

// given says whether an optional argument was given and is true.
func (r *rendering) given(v Value) bool { return v != nil && r.truth(v) }

// reversible returns the items of v from the last to the first, or nil where
// Python cannot reverse it.
func (r *rendering) reversible(v Value) next {
	back := func(n int, at func(int) Value) next {
		return count(n, func(i int) Value { return at(n - 1 - i) })
	}
	switch v := v.(type) {
	case *list:
		return back(len(v.items), func(i int) Value { return v.items[i] })
	case *tuple:
		return back(len(v.items), func(i int) Value { return v.items[i] })
	case *dict:
		return back(len(v.keys), func(i int) Value { return v.keys[i] })
	case *dictView:
		return back(len(v.keys), v.at)
	case *rangeValue:
		return back(v.n, v.at)
	case bytesValue:
		return back(len(v), func(i int) Value { return integer(v[i]) })
	case str, markup:
		items := r.collect(v)
		return back(len(items), func(i int) Value { return items[i] })
	case *undefined:
		return sliceItems(nil)
	}
	return nil
}

func (r *rendering) reversed(v Value) next {
	n := r.reversible(v)
	if n == nil {
		raise("TypeError", "'%s' object is not reversible", v.typeName())
	}
	return n
}

// itemPairs are the entries of a dictionary, none of what is undefined. It fails
// as the first is asked for.
func itemPairs(v Value) Value {
	var pairs next
	return newGenerator(func() (Value, bool) {
		if pairs == nil {
			switch v := v.(type) {
			case *dict:
				pairs = count(len(v.keys), (&dictView{v, "items"}).at)
			case *undefined:
				pairs = sliceItems(nil)
			default:
				raise("TypeError", "Can only get item pairs from a mapping.")
			}
		}
		return pairs()
	})
}

// sorted sorts items by their keys, those of equal keys in their order.
func (r *rendering) sorted(items []Value, key func(Value) Value, reverse bool) []Value {
	type entry struct{ key, item Value }
	r.holdItems(2 * len(items))
	entries := make([]entry, len(items))
	for i, item := range items {
		r.step(1)
		entries[i] = entry{key(item), item}
	}
	sort.SliceStable(entries, func(i, j int) bool {
		if reverse {
			i, j = j, i
		}
		return r.order("lt", entries[i].key, entries[j].key)
	})
	for i, e := range entries {
		items[i] = e.item
	}
	return items
}

// extreme is min and max: the first item whose key no other one precedes.
func (r *rendering) extreme(a []Value, op string) Value {
	n := r.iterate(a[0])
	best, ok := n()
	if !ok {
		return undefinedBecause("No aggregated item, sequence was empty.")
	}
	get := r.getter(a[2], nil, !r.given(a[1]))
	bestKey := get(best)
	for {
		item, ok := n()
		if !ok {
			return best
		}
		if key := get(item); r.order(op, key, bestKey) {
			best, bestKey = item, key
		}
	}
}

// unique returns the items whose key was not seen before.
func (r *rendering) unique(a []Value) next {
	var items next
	var get func(Value) Value
	seen := map[any]bool{}
	return func() (Value, bool) {
		if items == nil {
			get = r.getter(a[2], nil, !r.given(a[1]))
			items = r.iterate(a[0])
		}
		for {
			item, ok := items()
			if !ok {
				return nil, false
			}
			if h := r.mustHash(get(item)); !seen[h] {
				r.hold(entrySize)
				seen[h] = true
				return item, true
			}
		}
	}
}

func (r *rendering) batch(a []Value) next {
	var items next
	var row []Value
	done := false
	return func() (Value, bool) {
		if items == nil {
			items = r.iterate(a[0])
		}
		for !done {
			item, ok := items()
			if !ok {
				done = true
				break
			}
			full := r.equal(integer(len(row)), a[1])
			made := &list{row}
			if full {
				row = nil
			}
			r.hold(itemSize)
			row = append(row, item)
			if full {
				return made, true
			}
		}
		if len(row) == 0 {
			return nil, false
		}
		if a[2] != nil && a[2] != None && r.order("lt", integer(len(row)), a[1]) {
			missing := r.binary("sub", a[1], integer(len(row)))
			row = append(row, r.repeat(&list{[]Value{a[2]}}, missing).(*list).items...)
		}
		made := &list{row}
		row = nil
		return made, true
	}
}

// slices returns the items in so many lists of about one length.
func (r *rendering) slices(a []Value) next {
	var items []Value
	started := false
	i, n, at := 0, 0, 0
	return func() (Value, bool) {
		if !started {
			started = true
			items = r.collect(a[0])
			r.binary("floordiv", integer(len(items)), a[1])
			n = index(a[1])
		}
		if i >= n {
			return nil, false
		}
		size := len(items) / n
		short := i >= len(items)%n
		if !short {
			size++
		}
		row := r.joinItems(items[at:at+size], nil)
		if short && a[2] != nil && a[2] != None {
			row = append(row, a[2])
		}
		at += size
		i++
		return &list{row}, true
	}
}

func dictSort(r *rendering, a []Value) Value {
	by := orDefault(a[2], str("key"))
	at := 0
	switch {
	case r.equal(by, str("key")):
	case r.equal(by, str("value")):
		at = 1
	default:
		raise("FilterArgumentError", `You can only sort by either "key" or "value"`)
	}
	failIfUndefined(a[0])
	d, ok := a[0].(*dict)
	if !ok {
		raise("AttributeError", "'%s' object has no attribute 'items'", a[0].typeName())
	}
	ignoreCase := !r.given(a[1])
	return &list{r.sorted(r.collect(&dictView{d, "items"}), func(v Value) Value {
		key := v.(*tuple).items[at]
		if ignoreCase {
			key = r.ignoreCase(key)
		}
		return key
	}, r.given(a[3]))}
}

func (r *rendering) groupBy(a []Value) Value {
	ignoreCase := !r.given(a[3])
	key := r.getter(a[1], a[2], ignoreCase)
	name := r.getter(a[1], a[2], false)
	groups := &list{}
	var current *list
	var currentKey Value
	for _, item := range r.sorted(r.collect(a[0]), key, false) {
		r.step(1)
		k := key(item)
		if current == nil || !r.same(k, currentKey) && !r.equal(k, currentKey) {
			r.hold(entrySize)
			current, currentKey = &list{}, k
			groups.items = append(groups.items, &tuple{items: []Value{name(item), current}, group: true})
		}
		current.items = append(current.items, item)
	}
	return groups
}

// mapItems applies a filter to each item, or looks up an attribute.
func (r *rendering) mapItems(value Value, args []Value, kwargs *dict) next {
	var items next
	var f func(Value) Value
	return func() (Value, bool) {
		if items == nil {
			items = sliceItems(nil)
			if r.truth(value) {
				f = r.mapping(args, kwargs)
				items = r.iterate(value)
			}
		}
		item, ok := items()
		if !ok {
			return nil, false
		}
		return f(item), true
	}
}

func (r *rendering) mapping(args []Value, kwargs *dict) func(Value) Value {
	if attribute, ok := kwargs.get("attribute"); ok && len(args) == 0 {
		otherwise, _ := kwargs.get("default")
		for _, k := range kwargs.keys {
			if name := textOf(k); name != "attribute" && name != "default" {
				raise("FilterArgumentError", "Unexpected keyword argument %s", reprString(name))
			}
		}
		return r.getter(attribute, otherwise, false)
	}
	if len(args) == 0 {
		raise("FilterArgumentError", "map requires a filter argument")
	}
	return func(v Value) Value {
		return r.named(filters, "filter", args[0]).call(r, append([]Value{v}, args[1:]...), keywordsOf(kwargs))
	}
}

// named finds a filter or test by its name as it runs.
func (r *rendering) named(table map[string]*routine, what string, name Value) *routine {
	r.step(4)
	s, ok := r.mustHash(name).(string)
	if !ok || table[s] == nil {
		raise("TemplateRuntimeError", "No %s named %s.", what, shortRepr(name))
	}
	return table[s]
}

func keywordsOf(d *dict) []named {
	var kwargs []named
	for i, k := range d.keys {
		kwargs = append(kwargs, named{textOf(k), d.values[i]})
	}
	return kwargs
}

// selectItems keeps the items that a test, or their truth, is keep for.
func (r *rendering) selectItems(a []Value, keep, byAttribute bool) Value {
	value, args, kwargs := a[0], a[1].(*tuple).items, a[2].(*dict)
	var items next
	get := func(v Value) Value { return v }
	return newGenerator(func() (Value, bool) {
		if items == nil {
			items = sliceItems(nil)
			if r.truth(value) {
				if byAttribute {
					if len(args) == 0 {
						raise("FilterArgumentError", "Missing parameter for attribute name")
					}
					get = r.getter(args[0], nil, false)
					args = args[1:]
				}
				items = r.iterate(value)
			}
		}
		for {
			item, ok := items()
			if !ok {
				return nil, false
			}
			v := get(item)
			if len(args) > 0 {
				v = r.named(tests, "test", args[0]).call(r, append([]Value{v}, args[1:]...), keywordsOf(kwargs))
			}
			if r.truth(v) == keep {
				return item, true
			}
		}
	})
}

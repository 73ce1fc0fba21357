package jinja

import "math"

// globals are the variables that every template has.
var globals map[string]Value

func init() {
	globals = map[string]Value{}
	for name, f := range routines(map[string]func(r *rendering, a []Value) Value{
		"range(*args)":            makeRange,
		"dict(*args, **kwargs)":   makeDict,
		"lipsum(*args, **kwargs)": func(*rendering, []Value) Value { raise("NotImplementedError", "lipsum, which is random"); return nil },
		"cycler(*args)":           makeCycler,
		"joiner(sep=)":            makeJoiner,
		"namespace(*args, **kwargs)": func(r *rendering, a []Value) Value {
			return &namespace{makeDict(r, a).(*dict)}
		},
	}) {
		f.isClass = name != "lipsum" && name != "range"
		globals[name] = f
	}
}

// maxRange is how many items the sandbox lets a range have.
const maxRange = 100000

func makeRange(_ *rendering, a []Value) Value {
	args := a[0].(*tuple).items
	if len(args) < 1 || len(args) > 3 {
		raise("TypeError", "range expected 1 to 3 arguments, got %d", len(args))
	}
	var bounds [3]int64
	for i, arg := range args {
		if _, ok := arg.(bigint); ok {
			raise("OverflowError", "a range beyond 64 bits")
		}
		bounds[i] = int64(index(arg))
	}
	switch len(args) {
	case 1:
		bounds = [3]int64{0, bounds[0], 1}
	case 2:
		bounds[2] = 1
	}
	if bounds[2] == 0 {
		raise("ValueError", "range() arg 3 must not be zero")
	}
	g := newRange(bounds[0], bounds[1], bounds[2])
	if g.n > maxRange {
		raise("OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
	}
	return g
}

// newRange makes a range. Its length is right up to maxRange, and beyond that
// only larger.
func newRange(start, stop, step int64) *rangeValue {
	g := &rangeValue{start: start, stop: stop, step: step}
	distance := float64(stop) - float64(start)
	if n := distance / float64(step); n > 0 {
		g.n = math.MaxInt32
		if n < math.MaxInt32 && !math.IsInf(distance, 0) && math.Abs(distance) < 1<<62 {
			g.n = sliceLength(int(start), int(stop), int(step))
		}
	}
	return g
}

// makeDict is the class dict: a mapping or pairs, and keywords.
func makeDict(r *rendering, a []Value) Value {
	d := &dict{}
	args := a[0].(*tuple).items
	if len(args) > 1 {
		raise("TypeError", "dict expected at most 1 argument, got %d", len(args))
	}
	for _, arg := range args {
		r.fill(d, arg)
	}
	for i, key := range a[1].(*dict).keys {
		r.hold(entrySize)
		d.put(a[1].(*dict).hashes[i], key, a[1].(*dict).values[i])
	}
	return d
}

// fill adds the entries of a mapping, or pairs.
func (r *rendering) fill(d *dict, from Value) {
	if u, ok := from.(*undefined); ok {
		u.fail() // where Python asks for its keys
	}
	if m, ok := from.(*dict); ok {
		r.hold(times(len(m.keys), entrySize))
		for i, key := range m.keys {
			d.put(m.hashes[i], key, m.values[i])
		}
		return
	}
	for n := r.iterate(from); ; {
		item, ok := n()
		if !ok {
			return
		}
		if r.items(item) == nil {
			raise("TypeError", "cannot convert dictionary update sequence element to a sequence")
		}
		pair := r.collect(item)
		if len(pair) != 2 {
			raise("ValueError", "dictionary update sequence element has length %d; 2 is required", len(pair))
		}
		r.hold(entrySize)
		d.put(r.mustHash(pair[0]), pair[0], pair[1])
	}
}

var dictClassMethods = routines(map[string]func(r *rendering, a []Value) Value{
	"fromkeys(class, iterable, value=, /)": func(r *rendering, a []Value) Value {
		d := &dict{}
		value := a[2]
		if value == nil {
			value = None
		}
		for n := r.iterate(a[1]); ; {
			key, ok := n()
			if !ok {
				return d
			}
			r.hold(entrySize)
			d.put(r.mustHash(key), key, value)
		}
	},
})

// A namespace holds what a template assigns to its attributes.
type namespace struct{ attrs *dict }

func (*namespace) typeName() string { return "Namespace" }

func (n *namespace) set(r *rendering, attr string, v Value) {
	r.hold(entrySize)
	n.attrs.set(attr, v)
}

// A cycler returns its items in turn.
type cycler struct {
	items []Value
	pos   int
}

func (*cycler) typeName() string { return "Cycler" }

func makeCycler(_ *rendering, a []Value) Value {
	items := a[0].(*tuple).items
	if len(items) == 0 {
		raise("RuntimeError", "at least one item has to be provided")
	}
	return &cycler{items: items}
}

var cyclerMethods = routines(map[string]func(r *rendering, a []Value) Value{
	"next(self)": func(_ *rendering, a []Value) Value {
		c := a[0].(*cycler)
		item := c.items[c.pos]
		c.pos = (c.pos + 1) % len(c.items)
		return item
	},
	"reset(self)": func(_ *rendering, a []Value) Value {
		a[0].(*cycler).pos = 0
		return None
	},
})

// A joiner returns nothing the first time, and its separator from then on.
type joiner struct {
	separator Value
	used      bool
}

func (*joiner) typeName() string { return "Joiner" }

func makeJoiner(_ *rendering, a []Value) Value {
	if a[0] == nil {
		return &joiner{separator: str(", ")}
	}
	return &joiner{separator: a[0]}
}

func (j *joiner) call(r *rendering, args []Value, kwargs []named) Value {
	noArguments.bind(r, "joiner", args, kwargs)
	if !j.used {
		j.used = true
		return str("")
	}
	return j.separator
}

// attribute is a public attribute of a macro, nil if it has none of that name.
func (m *macro) attribute(attr string) Value {
	switch attr {
	case "name":
		if m.name == "" {
			return None
		}
		return str(m.name)
	case "arguments":
		t := &tuple{}
		for _, p := range m.params {
			t.items = append(t.items, str(p))
		}
		return t
	case "catch_kwargs":
		return boolean(m.readsKwargs)
	case "catch_varargs":
		return boolean(m.readsArgs)
	case "caller":
		return boolean(m.readsCaller)
	case "explicit_caller":
		for _, p := range m.params {
			if p == "caller" {
				return Bool(true)
			}
		}
		return Bool(false)
	}
	return nil
}

package jinja

// maxLoops is how many loops Python compiles inside each other.
const maxLoops = 20

func (c *compiler) forStatement(n *forNode, s scope) executor {
	walk(n, func(n node) bool {
		if n, ok := n.(*name); ok && n.use == store && n.name == "loop" {
			failSyntax(n.line(), "Can't assign to special loop variable in for-loop target")
		}
		return true
	})
	inner, orElse := s.inner(), s.inner()
	if n.recursive {
		inner = s.innerFunction()
		orElse.fn, orElse.loops = inner.fn, 0
	}
	if inner.loops++; inner.loops > maxLoops {
		failSyntax(n.line(), "too many statically nested blocks")
	}
	extended := n.recursive || undeclared(n.body, "loop")["loop"] || hasScopedBlock(n)
	setLoop := func(*activation, Value) {}
	if extended {
		setLoop = inner.set(inner.symbols.parameter("loop"))
	}
	inner.symbols.scanTarget(n.target)
	inner.symbols.scan(n.body...)
	orElse.symbols.scan(n.orElse...)

	p := &loopParts{line: n.line(), setLoop: setLoop, extended: extended}
	p.filter = c.loopFilter(n, s)
	p.set, _ = c.target(n.target, inner)
	p.enter, p.leave = c.enter(inner), c.leave(inner)
	p.body = c.statements(n.body, inner)
	p.orElse = c.scoped(orElse, c.statements(n.orElse, orElse))
	iter := c.expression(n.iter, s)
	if n.recursive {
		return func(a *activation) signal {
			v := iter(a)
			a.r.line = n.line()
			a.write(p.recurse(a, inner.fn, v, 0))
			return signalNone
		}
	}
	return func(a *activation) signal {
		v := iter(a)
		a.r.line = n.line()
		return p.run(a, p.filter(a, v), nil, 0)
	}
}

func hasScopedBlock(n node) bool {
	found := false
	walk(n, func(n node) bool {
		b, ok := n.(*blockNode)
		found = found || ok && b.scoped
		return true
	})
	return found
}

// loopFilter compiles the condition of a loop: a function of its own, which
// takes the items as the loop asks for them.
func (c *compiler) loopFilter(n *forNode, s scope) func(*activation, Value) Value {
	if n.test == nil {
		return func(_ *activation, v Value) Value { return v }
	}
	inner := s.innerFunction()
	inner.symbols.scanTarget(n.target)
	inner.symbols.scan(n.test)
	enter := c.enter(inner)
	set, _ := c.target(n.target, inner)
	get := c.targetValue(n.target, inner)
	test := c.expression(n.test, inner)
	return func(outer *activation, v Value) Value {
		r := outer.r
		var a *activation
		var items next
		return newGenerator(func() (Value, bool) {
			if a == nil {
				a = inner.fn.activate(r, outer, outer.env, outer.out)
				enter(a)
				items = r.iterate(v)
			}
			for {
				item, ok := items()
				if !ok {
					return nil, false
				}
				set(a, item)
				if r.truth(test(a)) {
					return get(a), true
				}
			}
		})
	}
}

// targetValue reads back what was assigned to a target.
func (c *compiler) targetValue(n node, s scope) evaluator {
	switch n := n.(type) {
	case *name:
		return s.get(s.ref(n, n.name))
	case *tupleNode:
		gets := make([]evaluator, len(n.items))
		for i, item := range n.items {
			gets[i] = c.targetValue(item, s)
		}
		return func(a *activation) Value {
			items := make([]Value, len(gets))
			for i, get := range gets {
				items[i] = get(a)
			}
			return &tuple{items: items}
		}
	}
	panic("jinja: a target of an unknown kind")
}

// loopParts is a compiled loop.
type loopParts struct {
	line         int
	filter       func(*activation, Value) Value
	set, setLoop func(*activation, Value)
	enter, leave func(*activation)
	body, orElse executor
	extended     bool
}

// run runs the loop over a value. Its else runs if no round came to its end.
func (p *loopParts) run(a *activation, v Value, recurse func(Value, int) string, depth int) signal {
	r := a.r
	items := r.iterate(v)
	var l *loop
	if p.extended {
		l = &loop{r: r, iterable: v, rest: items, index: -1, recurse: recurse, depth: depth}
		items = l.next
	}
	empty := true
rounds:
	for {
		item, ok := items()
		if !ok {
			break
		}
		p.set(a, item)
		if p.extended {
			p.setLoop(a, l)
		}
		p.enter(a)
		switch p.body(a) {
		case signalNone:
			empty = false
		case signalBreak:
			break rounds
		}
		r.line = p.line
	}
	p.leave(a)
	if empty {
		return p.orElse(a)
	}
	return signalNone
}

// recurse runs a recursive loop as a function of its own and returns its output.
func (p *loopParts) recurse(outer *activation, f *fn, v Value, depth int) string {
	r := outer.r
	r.enter()
	defer r.leave()
	a := f.activate(r, outer, outer.env, &buffer{})
	again := func(v Value, depth int) string { return p.recurse(outer, f, v, depth) }
	p.run(a, p.filter(outer, v), again, depth)
	return a.out.text()
}

// A loop is the variable loop.
type loop struct {
	r        *rendering
	iterable Value
	rest     next
	index    int // from 0
	known    bool
	n        int // the length, where known
	// ahead is the next item, where it was looked at.
	ahead           Value
	before, current Value
	changed         *tuple // what changed was called with
	recurse         func(Value, int) string
	depth           int // from 0
}

func (*loop) typeName() string { return "LoopContext" }

func (l *loop) next() (Value, bool) {
	item := l.ahead
	l.ahead = nil
	if item == nil {
		var ok bool
		if item, ok = l.rest(); !ok {
			return nil, false
		}
	}
	l.index++
	l.before, l.current = l.current, item
	return item, true
}

func (l *loop) peek() Value {
	if l.ahead == nil {
		if item, ok := l.rest(); ok {
			l.ahead = item
		}
	}
	return l.ahead
}

func (l *loop) length() int {
	if l.known {
		return l.n
	}
	n, ok := l.r.length(l.iterable)
	if !ok {
		var items []Value
		for {
			item, ok := l.rest()
			if !ok {
				break
			}
			l.r.hold(itemSize)
			items = append(items, item)
		}
		l.rest = sliceItems(items)
		n = len(items) + l.index + 1
		if l.ahead != nil {
			n++
		}
	}
	l.known, l.n = true, n
	return n
}

// call runs the loop again, inside itself, over other items.
func (l *loop) call(r *rendering, args []Value, kwargs []named) Value {
	bound := loopCall.bind(r, "loop", args, kwargs)
	if l.recurse == nil {
		raise("TypeError", "The loop must have the 'recursive' marker to be called recursively.")
	}
	return str(l.recurse(bound[0], l.depth+1))
}

var loopCall = params("iterable")

// attribute is an attribute of the variable loop, nil if it has none of that
// name.
func (l *loop) attribute(name string) Value {
	switch name {
	case "index":
		return integer(l.index + 1)
	case "index0":
		return integer(l.index)
	case "first":
		return boolean(l.index == 0)
	case "last":
		return boolean(l.peek() == nil)
	case "length":
		return integer(l.length())
	case "revindex":
		return integer(l.length() - l.index)
	case "revindex0":
		return integer(l.length() - l.index - 1)
	case "depth":
		return integer(l.depth + 1)
	case "depth0":
		return integer(l.depth)
	case "previtem":
		if l.index == 0 {
			return undefinedBecause("there is no previous item")
		}
		return l.before
	case "nextitem":
		if item := l.peek(); item != nil {
			return item
		}
		return undefinedBecause("there is no next item")
	case "cycle", "changed":
		return &method{l, loopMethods[name]}
	}
	return nil
}

var loopMethods = routines(map[string]func(r *rendering, a []Value) Value{
	"cycle(self, *args)": func(_ *rendering, a []Value) Value {
		items := a[1].(*tuple).items
		if len(items) == 0 {
			raise("TypeError", "no items for cycling given")
		}
		return items[a[0].(*loop).index%len(items)]
	},
	"changed(self, *args)": func(r *rendering, a []Value) Value {
		l, value := a[0].(*loop), a[1].(*tuple)
		if l.changed != nil && r.equal(l.changed, value) {
			return Bool(false)
		}
		l.changed = value
		return Bool(true)
	},
})
